"""The editor of triggers: a form, or the file itself. What it makes is checked, shown and deployed as a push is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import unified_diff
from hashlib import sha256
from typing import Any, Final

import msgspec
from litestar import Router
from litestar.datastructures import FormMultiDict
from litestar.response import Redirect, Template
from litestar.status_codes import HTTP_200_OK, HTTP_409_CONFLICT, HTTP_422_UNPROCESSABLE_ENTITY

from console.api.trying import examined
from console.auditing import Note
from console.blocking import Blocking
from console.pages.forms import Asked, answer, page, text
from console.pages.trigger_files import Choices, edits_of, problem_text, typed_broker, wanted_of
from console.pages.trigger_form import TopicRow, TriggerForm, form_of, read_form
from console.view import View
from console.workspace import Workspace
from shared import asking, deploy, keys
from shared.asking import Draft, Report
from shared.config import Settings
from shared.definitions import File
from shared.deploy import Pushed, read_now
from shared.deployment import read_all
from shared.errors import HeadraceError, NotThere, UserError, WorkspaceError
from shared.left_page import left_lines
from shared.plan_page import SIGNS
from shared.store import AsyncStore, Store
from shared.workspace.layout import TRIGGER
from shared.workspace.problems import Problem
from shared.workspace.yaml_lines import read_document


class Checked(msgspec.Struct, frozen=True):
    """What came of a check: what is wrong, what is worth knowing, and what would change. `is_overtaken`: somebody has
    deployed the trigger since the form was opened.
    """

    problems: Sequence[Problem] = ()
    message: str = ""
    hint: str = ""
    pushed: Pushed | None = None
    diff: Sequence[str] = ()
    is_overtaken: bool = False

    @property
    def is_good(self) -> bool:
        """Whether it can be deployed."""
        return self.pushed is not None


EXTRA: Final = (
    "message", "make_script", "broker_host", "broker_port", "broker_username", "broker_password", "broker_tls",
)  # fmt: skip
"""Fields of the form that are not the trigger's."""


class Said(msgspec.Struct, frozen=True):
    """What the page says beside the form: the file that is edited itself ('' for the form), fields that are not the
    trigger's, what came of a check or a try, the digest of the file that the form was made from ('': the newest).
    """

    is_new: bool
    text: str = ""
    extra: Mapping[str, str] = msgspec.field(default_factory=lambda: dict.fromkeys(EXTRA, ""))
    checked: Checked | None = None
    report: Report | None = None
    problem: str = ""
    made_from: str = ""


def read_choices(store: Store, path: str) -> Choices:
    """Ask Redis."""
    deployed = read_now(store)
    file, files = path + TRIGGER, deployed.of_kind("file")
    found = read_all(store, {file: files[file]}, File) if file in files else {}
    return Choices(
        list(deployed.of_kind("script")), list(deployed.of_kind("flow")), list(deployed.of_kind("broker")),
        found[file].text if file in found else "", store.command("ZCARD", keys.DEAD),
    )  # fmt: skip


def check(store: Store, settings: Settings, form: FormMultiDict) -> tuple[TriggerForm, Choices, Checked]:
    """Check what the form wants; nothing is written."""
    choices = read_choices(store, text(form, "path"))
    wanted = wanted_of(form, choices)
    if not wanted.path:
        hint = "f/FOLDER/NAME or u/USER/NAME"
        return wanted, choices, Checked([Problem(wanted.file, 0, "path", "missing", hint)])
    try:
        edits = edits_of(form, wanted, choices)
        pushed = deploy.edit(store, settings, edits, "", options=deploy.EditOptions(dry_run=True))
    except WorkspaceError as error:
        problems: Any = error.fields.get("problems") or ()
        return wanted, choices, Checked(problems, error.message.partition("\n")[0], error.hint)
    except UserError as error:
        return wanted, choices, Checked(message=error.message, hint=error.hint)
    new = edits[wanted.file] or ""
    diff = unified_diff(choices.text.splitlines(), new.splitlines(), "deployed", "new", lineterm="")
    return wanted, choices, Checked(pushed=pushed, diff=list(diff)[2:])


@page("/triggers/new", "deploy")
async def new_trigger(view: View, work: Blocking) -> Template:
    """An empty form."""
    choices = await work(read_choices, "")
    broker = choices.brokers[0] if len(choices.brokers) == 1 else ""
    form = TriggerForm(topics=[TopicRow()], mqtt_resource_path=broker)
    return _editor(view, form, choices, Said(is_new=True))


@page("/triggers/edit/{path:path}", "deploy")
async def edit_trigger(path: str, request: Asked, view: View, work: Blocking) -> Template:
    """The form for a trigger that is deployed; `?as=file`: its file."""
    name = path.strip("/")
    choices = await work(read_choices, name)
    if not choices.text:
        raise NotThere(f"no trigger {name} is deployed from a file", hint="headrace push deploys one with its file")
    form = form_of(name, read_document("", choices.text))
    as_file = choices.text if request.query_params.get("as") == "file" else ""
    return _editor(view, form, choices, Said(is_new=False, text=as_file))


@answer("/triggers/check", "deploy")
async def check_trigger(request: Asked, view: View, work: Blocking, settings: Settings) -> Template:
    """What deploying it would change, or what is wrong with it."""
    form = await request.form()
    wanted, choices, checked = await work(check, settings, form)
    return _editor(view, wanted, choices, _sent(form, checked))


@answer("/triggers/try", "deploy")
async def try_trigger(request: Asked, view: View, work: Blocking, content: Workspace, store: AsyncStore) -> Template:
    """What the broker answers to these topics, one that is deployed or one that is typed; nothing is deployed."""
    form = await request.form()
    choices = await work(read_choices, text(form, "path"))
    wanted = read_form(form, choices.flows)
    version: Any = wanted.client_version or None
    report, problem = None, ""
    try:
        broker = None if wanted.mqtt_resource_path in choices.brokers else typed_broker(form)
        draft = Draft(wanted.mqtt_resource_path, wanted.draft_topics(), version, broker)
        report = await examined(store, asking.new_ask("test", draft=content.sealed(draft)))
    except HeadraceError as error:
        problem = error.message
    return _editor(view, wanted, choices, _sent(form, None, report, problem))


@answer("/triggers/deploy", "deploy", audited=True)
async def deploy_trigger(
    request: Asked, view: View, work: Blocking, settings: Settings, note: Note
) -> Template | Redirect:
    """Deploy it."""
    form = await request.form()
    wanted, choices, checked = await work(check, settings, form)
    if checked.is_good and _is_new(form) and choices.text:
        checked = Checked(
            message=f"there is a trigger {wanted.path} already", hint="choose another path, or edit that one"
        )
    elif checked.is_good and not _is_new(form) and text(form, "made_from") != digest_of(choices.text):
        checked = msgspec.structs.replace(checked, is_overtaken=True)
    if not checked.is_good or checked.is_overtaken:
        status = HTTP_409_CONFLICT if checked.is_overtaken else HTTP_422_UNPROCESSABLE_ENTITY
        return _editor(view, wanted, choices, _sent(form, checked), status)
    edits = edits_of(form, wanted, choices)
    author = f"console by {view.who}"
    pushed = await work(deploy.edit, settings, edits, author, text(form, "message"))
    note.tell("deploy trigger", wanted.path, before=choices.text, after=edits[wanted.file])
    if not pushed.applied:
        return view.redirect(f"/triggers/{wanted.path}", "Nothing has changed, and nothing was deployed.", "warn")
    said = f"{wanted.path} is deployed: deployment {pushed.number}. It is in force within a second."
    return view.redirect(f"/triggers/{wanted.path}", said, "good", " ".join(left_lines(pushed.plan)))


@answer("/triggers/delete", "deploy", audited=True)
async def delete_trigger(request: Asked, view: View, work: Blocking, settings: Settings, note: Note) -> Redirect:
    """Delete it, by a deployment without its file."""
    path = text(await request.form(), "path")
    choices = await work(read_choices, path)
    try:
        pushed = await work(deploy.edit, settings, {path + TRIGGER: None}, f"console by {view.who}", f"without {path}")
    except HeadraceError as error:
        return view.redirect(f"/triggers/edit/{path}", error.message, "bad", error.hint)
    note.tell("delete trigger", path, before=choices.text, after={"deployment": pushed.number})
    return view.redirect("/triggers", f"{path} is deleted.", "good", " ".join(left_lines(pushed.plan)))


def _editor(view: View, form: TriggerForm, choices: Choices, said: Said, status: int = HTTP_200_OK) -> Template:
    """The page, with what was typed."""
    checked = said.checked
    return view.page(
        "editor.html", status, section="triggers", form=form, choices=choices, dead_count=choices.dead, signs=SIGNS,
        is_new=said.is_new, made_from=said.made_from or digest_of(choices.text), text=said.text, checked=checked,
        report=said.report, problem=said.problem, extra=said.extra,
        wrong={problem.key for problem in checked.problems} if checked else set(),
        problem_text=lambda problem: problem_text(problem, form.file, as_file=bool(said.text)),
    )  # fmt: skip


def digest_of(text: str) -> str:
    """What tells one version of a file from another."""
    return sha256(text.encode()).hexdigest()[:16]


def _sent(form: FormMultiDict, checked: Checked | None = None, report: Report | None = None, problem: str = "") -> Said:
    extra = {name: text(form, name) for name in EXTRA}
    made_from = "" if checked is not None and checked.is_overtaken else text(form, "made_from")
    return Said(_is_new(form), text(form, "text"), extra, checked, report, problem, made_from)


def _is_new(form: FormMultiDict) -> bool:
    return text(form, "is_new") == "1"


routes = Router(
    "/",
    route_handlers=[new_trigger, edit_trigger, check_trigger, try_trigger, deploy_trigger, delete_trigger],
)
