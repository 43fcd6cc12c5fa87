"""Starting runs: scripts by path and version, code that is not deployed; and waiting for what they come to."""

from __future__ import annotations

import base64
import binascii
import math
import re
import time
from datetime import datetime
from typing import Any, Final

import msgspec
from litestar import Request, Response, Router, get, post

from console.answers import created
from console.authentication import BY_HEADER
from console.blocking import Blocking
from console.callers import Caller, Person
from console.described import JSON_OBJECT, TEXT, TIME, described
from console.errors import bad_request, conflict, forbidden
from console.needs import needs
from console.runs import Runs
from console.strangers import read_object
from console.windmill.bodies import checked
from console.windmill.previews import FlowPreview, Preview, keep_flow_preview, keep_preview, keep_with_retry
from console.windmill.waiting import wait_for
from console.workspace import Workspace
from shared.config import Settings
from shared.create_runs import Family, Origin, known_as, make_run
from shared.definitions import FLOW_TIMEOUT_S, Flow, Script
from shared.tracing.context import parse
from shared.tracing.runs import carried

LONGEST_DELAY_S: Final = 366 * 24 * 3600
_WHEN: Final = {
    "scheduled_for": TIME, "scheduled_in_secs": {"type": "number"}, "job_id": {"type": "string", "format": "uuid"}
}  # fmt: skip
_WAITED: Final = {"by_code": True, "failing": {422: "The run has failed: its error."}}
_RUN: Final = needs("operate", runs=True) | described(body=JSON_OBJECT, body_required=False, query=_WHEN)
_RUN_SCRIPT: Final = needs("operate", runs=True) | described(
    body=JSON_OBJECT, body_required=False, query=_WHEN | {"retry": TEXT}
)
_WAIT: Final = needs("operate", runs=True) | described(body=JSON_OBJECT, body_required=False, query=_WHEN, **_WAITED)
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_OF_THE_ROUTE: Final = frozenset(
    {"payload", "tag", "cache_ttl", "parent_job", "root_job", "job_id", "skip_preprocessor", "include_header",
     "include_query", "queue_limit", "invisible_to_owner", "retry", "scheduled_for", "scheduled_in_secs"}
)  # fmt: skip


class Options(msgspec.Struct, frozen=True):
    """How a run is to be started: not before `due_ms` (epoch); known by `job_id`."""

    due_ms: int | None = None
    job_id: str = ""


class Starter:
    """Starts runs for one request."""

    def __init__(
        self, request: Request[Caller, None, Any], content: Workspace, runs: Runs, work: Blocking, settings: Settings
    ) -> None:
        self.request = request
        self.content = content
        self.runs = runs
        self._work = work
        self._settings = settings

    async def by_path(self, path: str, arguments: bytes) -> str:
        """The version of a script that is deployed now; the run's id."""
        version, script = await self.content.script(path.strip("/"))
        return await self._script(version, script, arguments)

    async def flow(self, path: str, arguments: bytes) -> str:
        """The version of a flow that is deployed now."""
        if self._retry:
            raise bad_request("retry is for scripts: write it into the steps of the flow")
        version, flow = await self.content.flow(path.strip("/"))
        return await self._start(version, flow, arguments, "api")

    async def by_version(self, version: str, arguments: bytes) -> str:
        """This version of a script."""
        return await self._script(version, await self.content.script_version(version), arguments)

    async def preview(self) -> str:
        """The code in the body, which is not deployed."""
        body = checked(await self._object(), Preview)
        version, script = await self._work(keep_preview, self._settings, body, await self.content.texts())
        return await self._start(version, script, msgspec.json.encode(body.args), "preview")

    async def flow_preview(self) -> str:
        """The flow in the body, which is not deployed."""
        body = checked(await self._object(), FlowPreview)
        version, flow = await self._work(keep_flow_preview, self._settings, body, await self.content.texts())
        return await self._start(version, flow, msgspec.json.encode(body.args), "preview")

    async def body(self) -> bytes:
        """The arguments in the body. Raises Refusal (400)."""
        await self._object()
        return await self.request.body() or b"{}"

    async def _object(self) -> dict[str, Any]:
        return read_object(await self.request.body() or b"{}", "the body, the arguments of main, is")

    def query(self) -> bytes:
        """The arguments in the address: `payload` is base64 of JSON, others stand for themselves."""
        found: dict[str, Any] = {}
        if payload := self.request.query_params.get("payload"):
            try:
                text = base64.b64decode(payload + "=" * (-len(payload) % 4))
            except (binascii.Error, ValueError) as error:
                raise bad_request(f"payload has to be base64 of a JSON object: {error}") from error
            found = read_object(text, "payload is")
        others = {name: value for name, value in self.request.query_params.items() if name not in _OF_THE_ROUTE}
        return msgspec.json.encode(found | others)

    async def _script(self, version: str, script: Script, arguments: bytes) -> str:
        """With the `retry` of the address instead of its own, if there is one."""
        if self._retry:
            version, script = await self._work(keep_with_retry, script, self._retry)
        return await self._start(version, script, arguments, "api")

    @property
    def _retry(self) -> str:
        return self.request.query_params.get("retry") or ""

    async def _start(self, version: str, runnable: Script | Flow, arguments: bytes, origin: Origin) -> str:
        options = _options(self.request)
        if runnable.has_preprocessor and self.request.query_params.get("skip_preprocessor") == "false":
            raise bad_request(f"the preprocessor of {runnable.path} is for messages: give what main takes instead")
        arguments = await self.content.referring(arguments)
        is_flow = isinstance(runnable, Flow)
        default_s = FLOW_TIMEOUT_S if is_flow else self._settings.worker.default_timeout_s
        timeout_s = math.ceil(runnable.timeout_s or default_s)
        family = await self.runs.family(self.request.user)
        headers = self.request.headers
        said = parse(headers.get("traceparent", ""), headers.get("tracestate", ""))
        if said is not None:  # of a client that records spans itself
            family = msgspec.structs.replace(family or Family("", ""), trace=carried(said))
        made_by: Origin = "child" if family and family.parent and origin == "api" else origin
        run = make_run(runnable.path, version, timeout_s, arguments, made_by, family, is_flow=is_flow)
        run = known_as(run, options.job_id) if options.job_id else run
        who = self.request.user.name if isinstance(self.request.user, Person) else ""
        if not await self.runs.create(msgspec.structs.replace(run, due_ms=options.due_ms, created_by=who)):
            raise conflict(f"job {options.job_id} already exists")
        return run.id


def provide_starter(
    request: Request[Caller, None, Any], content: Workspace, runs: Runs, work: Blocking, settings: Settings
) -> Starter:
    """For handlers that name `starter`."""
    return Starter(request, content, runs, work, settings)


@post("/jobs/run/p/{path:path}", opt=_RUN_SCRIPT)
async def run_by_path(path: str, starter: Starter) -> Response[str]:
    """Queue a run of the version of a script that is deployed now; answers with its id."""
    return created(await starter.by_path(path, await starter.body()))


@post("/jobs/run/h/{version:str}", opt=_RUN_SCRIPT)
async def run_by_hash(version: str, starter: Starter) -> Response[str]:
    """Queue a run of a version of a script; answers with its id."""
    return created(await starter.by_version(version, await starter.body()))


@post("/jobs/run/preview", opt=needs("deploy") | described(body=Preview, query=_WHEN))
async def run_preview(starter: Starter) -> Response[str]:
    """Queue a run of the code in the body; answers with its id."""
    return created(await starter.preview())


@post("/jobs/run_wait_result/p/{path:path}", opt=_WAIT)
async def run_and_wait(path: str, starter: Starter) -> Response[Any]:
    """Run a script and answer with its result; whoever goes away cancels it."""
    return await wait_for(starter.runs, await starter.by_path(path, await starter.body()), starter.request)


@get(
    "/jobs/run_wait_result/p/{path:path}",
    opt=needs("operate", runs=True) | described(query=_WHEN | {"payload": TEXT}, **_WAITED),
)
async def get_and_wait(path: str, starter: Starter) -> Response[Any]:
    """The same with arguments in the address; not by the cookie of a browser, which any page can have it send."""
    if starter.request.scope.get("auth") != BY_HEADER:
        raise forbidden("a run is started by GET only with a token")
    return await wait_for(starter.runs, await starter.by_path(path, starter.query()), starter.request)


@post("/jobs/run_wait_result/h/{version:str}", opt=_WAIT)
async def run_version_and_wait(version: str, starter: Starter) -> Response[Any]:
    """The same with a version of a script."""
    return await wait_for(starter.runs, await starter.by_version(version, await starter.body()), starter.request)


@post("/jobs/run_wait_result/preview", opt=needs("deploy") | described(body=Preview, query=_WHEN, **_WAITED))
async def preview_and_wait(starter: Starter) -> Response[Any]:
    """Run the code in the body and answer with its result."""
    return await wait_for(starter.runs, await starter.preview(), starter.request)


@post("/jobs/run/preview_flow", opt=needs("deploy") | described(body=FlowPreview, query=_WHEN))
async def run_flow_preview(starter: Starter) -> Response[str]:
    """Queue a run of the flow in the body; answers with its id."""
    return created(await starter.flow_preview())


@post(
    "/jobs/run_wait_result/preview_flow", opt=needs("deploy") | described(body=FlowPreview, query=_WHEN, **_WAITED)
)  # fmt: skip
async def preview_flow_and_wait(starter: Starter) -> Response[Any]:
    """Run the flow in the body and answer with its result."""
    return await wait_for(starter.runs, await starter.flow_preview(), starter.request)


@post("/jobs/run/f/{path:path}", opt=_RUN)
async def run_flow(path: str, starter: Starter) -> Response[str]:
    """Queue a run of the version of a flow that is deployed now; answers with its id."""
    return created(await starter.flow(path, await starter.body()))


@post("/jobs/run_wait_result/f/{path:path}", opt=_WAIT)
async def run_flow_and_wait(path: str, starter: Starter) -> Response[Any]:
    """Run a flow and answer with its result; whoever goes away cancels it."""
    return await wait_for(starter.runs, await starter.flow(path, await starter.body()), starter.request)


def _options(request: Request[Caller, None, Any]) -> Options:
    """Raises Refusal (400) for what is not done."""
    query = request.query_params
    job_id = query.get("job_id", "").lower()  # a UUID is a number, however it is written
    if job_id and not _UUID.fullmatch(job_id):
        raise bad_request(f"job_id: {job_id!r} is no UUID")
    return Options(_due_ms(query.get("scheduled_for", ""), query.get("scheduled_in_secs", "")), job_id)


def _due_ms(at: str, in_s: str) -> int | None:
    now_ms = time.time_ns() // 1_000_000
    try:
        if at:
            due = datetime.fromisoformat(at)
            due_ms = round((due if due.tzinfo else due.astimezone()).timestamp() * 1000)
        elif in_s:
            due_ms = now_ms + round(float(in_s) * 1000)
        else:
            return None
    except (ValueError, OverflowError) as error:
        raise bad_request(f"when it is to run cannot be read: {at or in_s!r}") from error
    if due_ms - now_ms > LONGEST_DELAY_S * 1000:
        raise bad_request("a run can be put off for a year at most")
    return due_ms if due_ms > now_ms else None


routes = Router(
    "/",
    route_handlers=[
        run_by_path, run_by_hash, run_preview, run_and_wait, get_and_wait, run_version_and_wait, preview_and_wait,
        run_flow, run_flow_and_wait, run_flow_preview, preview_flow_and_wait,
    ],
)  # fmt: skip
