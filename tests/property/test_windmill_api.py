"""Whatever is sent to Windmill's routes, the answer is one that their page names: nothing broke."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from console.windmill import routes
from shared.store import Store
from tests.support.console import WORKSPACE, Console
from tests.support.valkey import ValkeyServer
from tests.support.windmill import push_files, token_of

FILES = {
    "f/t/broker.resource.yaml": "resource_type: mqtt\nvalue: {broker: 127.0.0.1, port: 1883}\n",
    "f/t/adds.py": "def main(a: int): return a\n",
    "f/t/limit.variable.yaml": "value: '30'\nis_secret: false\n",
    "f/t/temp.mqtt_trigger.yaml": "script_path: f/t/adds\nis_flow: false\nmqtt_resource_path: f/t/broker\n"
    "subscribe_topics: [{topic: x, qos: qos0}]\nmode: disabled\n",
    "f/t/hot.flow/flow.yaml": "summary: hot\nvalue: {modules: []}\n",
}
WAITING: Final = ("/jobs/run_wait_result", "/jobs_u/getupdate", "/mqtt_triggers/test", "/auth/login")
"""They wait for a worker or for ingest, of which there is none here; or count tries."""
WORDS = [
    "f/t/adds", "f/t/temp", "f/t/broker", "f/t/limit", "f/t/hot", "f/t/new", "mqtt", "script", "flow", "true", "1", "0",
    "-1", "1e999", "", "..", "f/../../x", "\x00", "q2-api-00", "018f6f5a-1111-4222-8333-123456789abc", "enabled",
    "null", "2026-01-02T03:04:05Z", "{}", "[]", "qos1", "python3", "x" * 300, "ä/ö", "f/t/a b",
]  # fmt: skip
KEYS = [
    "path", "value", "is_secret", "description", "resource_type", "content", "language", "summary", "schema", "mode",
    "script_path", "is_flow", "mqtt_resource_path", "subscribe_topics", "topic", "qos", "job_ids", "name", "id", "args",
    "trigger_kind", "trigger_config", "new_path", "script_options_by_path", "label", "scopes", "expiration", "reason",
    "modules", "type", "lock", "raw_scripts", "raw_code", "flow_value", "archived", "enabled", "retry", "v5_config",
]  # fmt: skip
QUERIES = [
    "page", "per_page", "path", "path_start", "label", "args", "result", "created_before", "started_after", "success",
    "running", "status", "job_kinds", "allow_wildcards", "scheduled_for", "scheduled_in_secs", "job_id", "payload",
    "archive_type", "is_flow", "kinds", "trigger_path", "resource_type", "username", "skip_variables",
]  # fmt: skip

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "windmill-api.md"
STATUSES = {
    int(each) for each in re.findall(r"\b[2-5]\d\d\b", PAGE.read_text().split("\nAn answer is ")[1].split("\n\n")[0])
}
"""Those that the page of these routes names where it tells of answers and errors."""

texts = st.sampled_from(WORDS) | st.text(string.printable, max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=12,
)
bodies = st.dictionaries(st.sampled_from(KEYS), values, max_size=12) | values


def addresses() -> list[tuple[str, str]]:
    """Method and path, with its parameters in braces, of every route of Windmill's."""
    found: set[tuple[str, str]] = set()
    for routers, base in ((routes.of_server, ""), (routes.in_workspace, f"/w/{WORKSPACE}")):
        for route in [route for router in routers for route in router.routes]:
            found |= {(method, f"{base}{route.path}") for method in route.methods if method != "OPTIONS"}
    return sorted(each for each in found if not any(part in each[1] for part in WAITING))


ADDRESSES = addresses()


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """A console with its own Redis, in which a few things are deployed."""
    folder = tmp_path_factory.mktemp("console")
    with ValkeyServer(folder / "valkey") as valkey:
        console = Console(folder, valkey.start().url)
        with console.process:
            console.process.start().wait_ready(60)
            yield console


@pytest.fixture(scope="module")
def client(console: Console, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Somebody who may do everything."""
    store = Store.connect(console.env["REDIS_URL"])
    folder: Path = tmp_path_factory.mktemp("workspace")
    push_files(store, console, folder, FILES)
    headers = {"Authorization": f"Bearer {token_of(store, 'admin')}"}
    with httpx.Client(base_url=f"{console.url}/api", headers=headers, timeout=30) as client:
        yield client
    store.close()


def test_all_families_of_routes_are_asked() -> None:
    """The list is made from the routes themselves."""
    families = {path.removeprefix(f"/w/{WORKSPACE}").split("/")[1] for _, path in ADDRESSES}
    assert {"mqtt_triggers", "jobs", "jobs_u", "scripts", "flows", "resources", "variables", "capture"} <= families
    assert len(ADDRESSES) > 100


def test_the_page_names_every_status_that_is_meant() -> None:
    """What the test below goes by is read from it."""
    assert {200, 201, 400, 401, 403, 404, 409, 422, 503} <= STATUSES


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_no_request_breaks_the_console(console: Console, client: httpx.Client, data: st.DataObject) -> None:
    """Random paths, queries and bodies, by somebody who may do everything."""
    method, template = data.draw(st.sampled_from(ADDRESSES))
    parts = [quote(data.draw(texts)) if part.startswith("{") else part for part in template.split("/")]
    query = data.draw(st.dictionaries(st.sampled_from(QUERIES), texts, max_size=3))
    body = data.draw(bodies) if method in {"POST", "DELETE"} else None
    url = "/".join(parts)

    answer = client.request(method, url, params=query, json=body)
    said = f"{method} {url} {body!r}: {answer.status_code} {answer.text}"
    assert answer.status_code < 500, said
    assert answer.status_code in STATUSES, said
    assert console.process.running
