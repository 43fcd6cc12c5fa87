"""Windmill's own API client against the console: who asks, tokens, the one workspace, health, the audit log."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from windmill_api import AuthenticatedClient
from windmill_api.api.audit import list_audit_logs
from windmill_api.api.health import get_health_status
from windmill_api.api.settings import backend_uptodate, backend_version, get_license_id
from windmill_api.api.user import (
    create_token,
    delete_token,
    global_whoami,
    list_tokens,
    login,
    username_to_email,
    whoami,
)
from windmill_api.api.workspace import create_workspace, exists_workspace, list_user_workspaces, list_workspaces
from windmill_api.models.create_token_json_body import CreateTokenJsonBody
from windmill_api.models.create_workspace_json_body import CreateWorkspaceJsonBody
from windmill_api.models.exists_workspace_json_body import ExistsWorkspaceJsonBody
from windmill_api.models.list_audit_logs_action_kind import ListAuditLogsActionKind
from windmill_api.models.login_json_body import LoginJsonBody

from shared.audit import read_audit
from shared.clock import iso_utc
from shared.create_runs import make_run
from shared.scripts.operate import create_runs
from shared.scripts.worker import beat
from shared.store import Store
from tests.support.console import WORKSPACE, Console
from tests.support.eventually import eventually
from tests.support.valkey import ValkeyServer
from tests.support.windmill import api_client, push_files, token_of

WHO = "alice@plant.example"


@pytest.fixture
def client(store: Store, console: Console) -> Iterator[AuthenticatedClient]:
    """Windmill's client with a token that may do everything."""
    with api_client(console, token_of(store, "admin", WHO)) as client:
        yield client


def test_a_person_is_known_by_the_name_of_the_token(
    store: Store, console: Console, client: AuthenticatedClient
) -> None:
    """What it may do is told in Windmill's words."""
    me = global_whoami.sync(client=client)
    here = whoami.sync(WORKSPACE, client=client)
    assert me is not None
    assert here is not None
    assert (me.email, me.super_admin, here.username, here.is_admin, here.operator) == (WHO, True, "alice", True, False)
    answer = username_to_email.sync_detailed(WORKSPACE, "alice", client=client)
    assert answer.content.decode() == WHO
    reader = console.request("GET", f"/w/{WORKSPACE}/users/whoami", token_of(store, "read", "bob")).json()
    assert (reader["email"], reader["is_admin"], reader["operator"]) == ("bob@localhost", False, True)


def test_tokens_are_made_listed_and_revoked(console: Console, client: AuthenticatedClient) -> None:
    """With a scope of ours, not more than that of the maker; read_only is the least."""
    in_an_hour = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    fields = {"label": "ci", "scopes": ["operate"], "expiration": in_an_hour}
    made = create_token.sync_detailed(client=client, json_body=CreateTokenJsonBody.from_dict(fields))
    token = made.content.decode()
    assert (made.status_code, console.request("GET", "/users/whoami", token).json()["email"]) == (201, "ci@localhost")
    read_only = create_token.sync_detailed(client=client, json_body=CreateTokenJsonBody.from_dict({"read_only": True}))
    assert read_only.status_code == 201
    rows = {row.label: row for row in list_tokens.sync(client=client) or []}
    assert (rows["ci"].scopes, rows["ci"].read_only, rows["ci"].email) == (["operate"], False, WHO)
    assert token.startswith(rows["ci"].token_prefix)
    assert rows[f"{WHO}, by API"].read_only is True

    assert delete_token.sync_detailed(rows["ci"].token_prefix, client=client).status_code == 200
    assert console.request("GET", "/users/whoami", token).status_code == 401
    assert delete_token.sync_detailed("hr_api_nothing", client=client).status_code == 404
    for wrong in (
        {"scopes": ["jobs:run"]}, {"expiration": "soon"}, {"expiration": "2020-01-01T00:00:00Z"},
        {"workspace_id": "other"},
    ):  # fmt: skip
        assert client.get_httpx_client().post("/users/tokens/create", json=wrong).status_code == 400, wrong
    for scope in ("read", "operate", "deploy"):
        low = console.request("POST", "/users/tokens/create", read_only.content.decode(), json={"scopes": [scope]})
        assert low.status_code == 403


def test_a_token_stands_in_the_place_of_a_password(store: Store, console: Console, client: AuthenticatedClient) -> None:
    """Not for ever: tries are counted."""
    token = token_of(store, "read", "bob")
    body = LoginJsonBody.from_dict({"email": "bob@localhost", "password": token})
    good = login.sync_detailed(client=client, json_body=body)
    assert (good.status_code, good.content.decode()) == (200, token)

    answers = [
        console.request("POST", "/auth/login", json={"email": "bob", "password": "wrong"}).status_code
        for _ in range(12)
    ]
    assert set(answers) == {400, 429}
    assert answers[0] == 400


def test_there_is_one_workspace(client: AuthenticatedClient) -> None:
    """Another one is another Headrace."""
    listed = list_workspaces.sync(client=client)
    mine = list_user_workspaces.sync(client=client)
    assert mine is not None
    assert [each.id for each in listed or []] == [each.id for each in mine.workspaces] == [WORKSPACE]
    for name, there in ((WORKSPACE, "true"), ("other", "false")):
        body = ExistsWorkspaceJsonBody.from_dict({"id": name})
        assert exists_workspace.sync_detailed(client=client, json_body=body).content.decode() == there
    new = CreateWorkspaceJsonBody.from_dict({"id": "other", "name": "other"})
    assert create_workspace.sync_detailed(client=client, json_body=new).status_code == 403
    assert client.get_httpx_client().get("/w/other/mqtt_triggers/list").status_code == 404


def test_the_server_tells_that_redis_is_away(own_valkey: ValkeyServer, tmp_path: Path) -> None:
    """In the form that the client reads, whatever token it brings; whether it is gone or hangs."""
    console = Console(tmp_path, own_valkey.url)
    with console.process:
        console.process.start().wait_ready(60)
        token = console.token("read")
        own_valkey.sigstop()
        for _ in range(2):
            with api_client(console, token) as client:
                health = get_health_status.sync_detailed(client=client)
                assert health.parsed is not None
                assert (health.status_code, health.parsed.status.value, health.parsed.database_healthy) == (
                    503, "unhealthy", False,
                )  # fmt: skip
                assert backend_version.sync_detailed(client=client).status_code == 200
            own_valkey.kill9()


def test_a_stream_of_updates_lasts_while_redis_is_away(own_valkey: ValkeyServer, tmp_path: Path) -> None:
    """It tells of the job's end as if nothing had been."""
    console, store = Console(tmp_path, own_valkey.url), Store.connect(own_valkey.url)
    run, now_ns = make_run("f/t/waits", "0" * 16, 60, b"{}", "api"), time.time_ns()
    store.run(create_runs([run], iso_utc(now_ns), now_ns // 1000))
    with console.process:
        console.process.start().wait_ready(60)
        token = console.token("operate")
        path, wanted = f"/w/{WORKSPACE}/jobs_u/getupdate_sse/{run.id}", {"running": "true"}
        with (
            api_client(console, token) as client,
            client.get_httpx_client().stream("GET", path, params=wanted) as answer,
        ):
            lines = answer.iter_lines()
            events = (json.loads(line.removeprefix("data: ")) for line in lines if line)
            assert next(events)["running"] is False
            own_valkey.kill9()
            assert next(events)["type"] == "ping"
            own_valkey.start()

            def cancelled() -> bool:
                answer = console.request("POST", f"/w/{WORKSPACE}/jobs_u/queue/cancel/{run.id}", token, json={})
                return answer.status_code == 200

            eventually(cancelled, 20)
            *_, last = events
            assert (last["type"], last["completed"], last["job"]["canceled"]) == ("update", True, True)
    assert "Traceback" not in console.process.output
    store.close()


def test_the_server_tells_its_release_and_its_health(
    store: Store, console: Console, client: AuthenticatedClient
) -> None:
    """To anybody; without a worker it is degraded."""
    assert backend_version.sync_detailed(client=client).content.decode() == "CE v1.850.0"
    assert backend_uptodate.sync_detailed(client=client).content.decode() == "yes"
    assert get_license_id.sync_detailed(client=client).content.decode() == ""
    health = get_health_status.sync(client=client)
    assert health is not None
    assert (health.status.value, health.database_healthy, health.workers_alive) == ("degraded", True, 0)
    store.run(beat("0123abcd", 60_000))
    told = console.request("GET", "/health/status").json()
    assert (told["status"], told["workers_alive"]) == ("healthy", 1)


def test_what_was_done_stands_in_the_audit_log(store: Store, console: Console, client: AuthenticatedClient) -> None:
    """In Windmill's words; for admins alone."""
    fields = {"path": "f/t/limit", "value": "30", "is_secret": False, "description": ""}
    assert client.get_httpx_client().post(f"/w/{WORKSPACE}/variables/create", json=fields).status_code == 201
    create_token.sync_detailed(client=client, json_body=CreateTokenJsonBody.from_dict({"label": "ci"}))

    entry = next(each for each in read_audit(store, 10) if each.on == "f/t/limit")
    assert (entry.before, entry.after["deployment"], list(entry.after["changed"])) == (
        {"deployment": 0}, 1, ["variable:f/t/limit"],
    )  # fmt: skip
    rows = list_audit_logs.sync(WORKSPACE, client=client)
    assert [row.operation.value for row in rows or []] == ["users.token.create", "variables.create"]
    assert [(row.username, row.resource) for row in rows or []][1] == (WHO, "f/t/limit")
    assert list_audit_logs.sync(WORKSPACE, client=client, username="bob") == []
    made = list_audit_logs.sync(WORKSPACE, client=client, action_kind=ListAuditLogsActionKind.CREATE)
    assert {row.action_kind.value for row in made or []} == {"Created"}
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    assert list_audit_logs.sync(WORKSPACE, client=client, before=long_ago) == []
    assert len(list_audit_logs.sync(WORKSPACE, client=client, after=long_ago) or []) == len(rows or [])
    refused = console.request("GET", f"/w/{WORKSPACE}/audit/list", token_of(store, "deploy"))
    assert refused.status_code == 403


def test_the_archive_holds_what_is_asked_for_and_no_secret(
    store: Store, console: Console, client: AuthenticatedClient, tmp_path: Path
) -> None:
    """As zip alone."""
    files = {
        "f/t/adds.py": "def main(): ...\n",
        "f/t/adds.script.yaml": "summary: adds\n",
        "f/t/key.variable.yaml": "value: hunter2\nis_secret: true\n",
        "f/t/limit.variable.yaml": "value: '30'\nis_secret: false\n",
        "f/t/db.resource.yaml": "resource_type: db\nvalue: {port: 1}\n",
    }
    push_files(store, console, tmp_path, files)

    def archive(query: str) -> dict[str, str]:
        answer = client.get_httpx_client().get(f"/w/{WORKSPACE}/workspaces/tarball?{query}")
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            return {name: archive.read(name).decode() for name in archive.namelist()}

    everything = archive("archive_type=zip&plain_secret=true")
    assert sorted(everything) == [
        "f/t/adds.py", "f/t/adds.script.json", "f/t/db.resource.json", "f/t/key.variable.json",
        "f/t/limit.variable.json",
    ]  # fmt: skip
    assert json.loads(everything["f/t/key.variable.json"]) == {"value": None, "is_secret": True}
    assert "hunter2" not in "".join(everything.values())
    few = archive("skip_variables=true&skip_resources=true")
    assert sorted(few) == ["f/t/adds.py", "f/t/adds.script.json"]
    reader = console.request("GET", f"/w/{WORKSPACE}/workspaces/tarball", token_of(store, "operate"))
    assert reader.status_code == 403
    tar: Any = client.get_httpx_client().get(f"/w/{WORKSPACE}/workspaces/tarball?archive_type=tar")
    assert (tar.status_code, "Invalid Archive Type" in tar.text) == (400, True)
