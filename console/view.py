"""How a page is made. A handler names `view` and returns what one of its methods gives.

    @get("/runs", opt=needs("read"), include_in_schema=False)
    async def runs_page(view: View) -> Template:
        return view.page("runs.html", title="Runs", runs=…)

    @post("/runs/{run_id:str}/cancel", opt=needs("operate"), include_in_schema=False)
    async def cancel(run_id: str, view: View, note: Note) -> Redirect:
        note.tell("cancel run", run_id, before="queued", after="cancelled")
        return view.redirect(f"/runs/{run_id}", "The run is cancelled.")

Templates know `caller`, `is_known`, `csrf`, `flashes`, `may(scope)`, `workspace`, and `static('app.css')`, the address
of a static file. A form that writes holds `{{ csrf_field() }}`. Who is not logged in is sent to `/login`, errors
become `error.html`. There may be no script, style or
`style=` in a page: the headers forbid them.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from litestar import MediaType, Request
from litestar.datastructures import Cookie
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.response import Redirect, Template
from litestar.status_codes import HTTP_200_OK, HTTP_303_SEE_OTHER
from litestar.template import TemplateConfig
from markupsafe import Markup

from console.access import CSRF_FIELD
from console.authentication import is_secure
from console.callers import Caller, Nobody, Person
from console.pages.filters import FILTERS
from shared.config import Settings
from shared.tokens import Scope

Level = Literal["good", "warn", "bad"]

_FOLDER = Path(__file__).parent
STATIC: Final = _FOLDER / "static"
REFUSED: Final = "refused"
"""In the state of a request: what a form has asked for was not done."""
_FLASHES: Final = "headrace_flash"
_LONGEST_FLASH: Final = 1000


class Flash(msgspec.Struct, frozen=True):
    """What an action says on the next page; `todo`: what is to be done about it."""

    text: str
    level: Level = "good"
    todo: str = ""


class View:
    """The page that a request asks for."""

    def __init__(self, request: Request[Caller, None, Any], settings: Settings) -> None:
        self.caller: Caller = request.user
        self._request = request
        self._settings = settings
        self.who = request.user.name
        self._flashes = _read(request.cookies.get(_FLASHES, ""))

    @property
    def csrf(self) -> str:
        """What writes have to bring along; '' where nobody is logged in."""
        return self.caller.csrf if isinstance(self.caller, Person) else ""

    def page(self, template: str, status: int = HTTP_200_OK, **context: Any) -> Template:
        """A whole page, made of a template that extends `base.html`; it shows what the last action said."""
        shown = self._context() | {"flashes": self._flashes} | context
        page = Template(template, context=shown, status_code=status, media_type=MediaType.HTML)
        if self._flashes:
            page.set_cookie(self._cookie("", 0))
        return page

    def redirect(self, to: str, say: str = "", level: Level = "good", todo: str = "") -> Redirect:
        """To another page of the console, which shows what is said. `bad` says that nothing was changed."""
        answer = Redirect(to if is_own_path(to) else "/", status_code=HTTP_303_SEE_OTHER)
        self._request.state[REFUSED] = level == "bad"
        if say:
            flash = msgspec.json.encode([Flash(say[:_LONGEST_FLASH], level, todo[:_LONGEST_FLASH])])
            answer.set_cookie(self._cookie(base64.urlsafe_b64encode(flash).decode(), 60))
        return answer

    def _context(self) -> dict[str, Any]:
        return {
            "caller": self.caller,
            "is_known": not isinstance(self.caller, Nobody),
            "csrf": self.csrf,
            "flashes": [],
            "may": self._may,
            "workspace": self._settings.workspace,
        }

    def _may(self, scope: Scope) -> bool:
        return self.caller.may(scope)

    def _cookie(self, value: str, life_s: int) -> Cookie:
        secure = is_secure(self._settings)
        return Cookie(_FLASHES, value=value, max_age=life_s, httponly=True, samesite="strict", secure=secure, path="/")


def provide_view(request: Request[Caller, None, Any], settings: Settings) -> View:
    """For handlers that name `view`."""
    return View(request, settings)


def make_templates() -> TemplateConfig[JinjaTemplateEngine]:
    """Jinja with everything escaped; a name that is not there is an error."""
    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters |= FILTERS
    environment.globals |= {"static": static_url, "csrf_field": _csrf_field}
    return TemplateConfig(instance=JinjaTemplateEngine.from_environment(environment))


@cache
def static_root() -> str:
    """Where the static files are served. It changes with their content: browsers keep them for ever, and modules that
    import each other find those of the same release.
    """
    digest = hashlib.sha256()
    for file in sorted(path for path in STATIC.rglob("*") if path.is_file()):
        digest.update(file.relative_to(STATIC).as_posix().encode() + b"\0" + file.read_bytes())
    return f"/static/{digest.hexdigest()[:12]}"


def static_url(name: str) -> str:
    """The address of a static file."""
    return f"{static_root()}/{name}"


def is_own_path(path: str) -> bool:
    r"""Whether an address is a path of the console: browsers take `//name` and `/\name` for other hosts."""
    return path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()


@pass_context
def _csrf_field(context: Context) -> Markup:
    return Markup('<input type="hidden" name="{}" value="{}">').format(CSRF_FIELD, context["csrf"])


def _read(cookie: str) -> list[Flash]:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(cookie), type=list[Flash]) if cookie else []
    except (ValueError, msgspec.DecodeError):
        return []
