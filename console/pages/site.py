"""SCAFFOLD."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import jinja2
from litestar import MediaType, Response
from litestar.response import Redirect

from console.pages.filters import FILTERS
from shared.config import Settings
from shared.store import Store

T = TypeVar("T")
ENV = jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent.parent / "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined)
ENV.filters.update(FILTERS)
FL: list[Any] = []


class Site:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    async def read(self, fn: Callable[..., T], *args: Any, **kw: Any) -> T:
        def go() -> T:
            store = Store.connect(self.settings.redis_url)
            try:
                return fn(store, *args, **kw)
            finally:
                store.close()
        return await asyncio.to_thread(go)

    who = "dev@host"

    def may(self, scope: str) -> bool:
        return True

    def page(self, template: str, *, status: int = 200, **context: Any) -> Response[str]:
        global FL
        fl, FL = FL, []
        text = ENV.get_template(template).render(
            static=lambda n: f"/static/{n}", workspace=self.settings.workspace, who=self.who, may=self.may, csrf="x", flashes=fl,
            dead_count=context.pop("dead_count", 0), **context,
        )
        return Response(text, status_code=status, media_type=MediaType.HTML, headers={"content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"})

    def go(self, to: str, level: str, text: str, todo: str = "") -> Redirect:
        FL.append({"level": level, "text": text, "todo": todo})
        return Redirect(to, status_code=303)

    def needs(self, scope: str) -> None:
        pass

    def back(self, form: Any, otherwise: str) -> str:
        back = str(form.get("back") or otherwise)
        return back if back.startswith("/") and not back.startswith("//") else otherwise
