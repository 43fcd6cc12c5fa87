"""Windmill's own API client against the console: resources, variables, types, scripts, flows and folders."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from windmill_api import AuthenticatedClient
from windmill_api.api.flow import (
    archive_flow_by_path,
    create_flow,
    delete_flow_by_path,
    exists_flow_by_path,
    get_flow_by_path,
    get_flow_history,
    list_flows,
    update_flow,
)
from windmill_api.api.folder import (
    create_folder,
    delete_folder,
    exists_folder,
    get_folder,
    list_folder_names,
    list_folders,
    update_folder,
)
from windmill_api.api.resource import (
    create_resource,
    create_resource_type,
    delete_resource,
    delete_resource_type,
    exists_resource,
    exists_resource_type,
    get_resource,
    get_resource_type,
    get_resource_value,
    get_resource_value_interpolated,
    list_resource,
    list_resource_type,
    list_resource_type_names,
    update_resource,
    update_resource_type,
    update_resource_value,
)
from windmill_api.api.script import (
    archive_script_by_path,
    create_script,
    delete_script_by_path,
    exists_script_by_path,
    get_script_by_hash,
    get_script_by_path,
    get_script_deployment_status,
    get_script_history_by_path,
    get_script_latest_version,
    list_script_paths,
    list_scripts,
    raw_script_by_path,
    update_script,
)
from windmill_api.api.variable import (
    create_variable,
    delete_variable,
    encrypt_value,
    exists_variable,
    get_variable,
    get_variable_value,
    list_contextual_variables,
    list_variable,
    update_variable,
)
from windmill_api.models.archive_flow_by_path_json_body import ArchiveFlowByPathJsonBody
from windmill_api.models.create_flow_json_body import CreateFlowJsonBody
from windmill_api.models.create_folder_json_body import CreateFolderJsonBody
from windmill_api.models.create_resource_json_body import CreateResourceJsonBody
from windmill_api.models.create_resource_type_json_body import CreateResourceTypeJsonBody
from windmill_api.models.create_script_json_body import CreateScriptJsonBody
from windmill_api.models.create_variable_json_body import CreateVariableJsonBody
from windmill_api.models.update_flow_json_body import UpdateFlowJsonBody
from windmill_api.models.update_folder_json_body import UpdateFolderJsonBody
from windmill_api.models.update_resource_json_body import UpdateResourceJsonBody
from windmill_api.models.update_resource_type_json_body import UpdateResourceTypeJsonBody
from windmill_api.models.update_resource_value_json_body import UpdateResourceValueJsonBody
from windmill_api.models.update_script_json_body import UpdateScriptJsonBody
from windmill_api.models.update_variable_json_body import UpdateVariableJsonBody

from shared import keys
from shared.definitions import File, Flow, Script, Variable
from shared.deploy import read_all, read_now
from shared.deployments import read_newest
from shared.store import Store
from tests.support.console import WORKSPACE, Console, executing
from tests.support.windmill import FLOW, SCRIPT, api_client, push_files, token_of

WHO = "alice@plant.example"


@pytest.fixture
def client(store: Store, console: Console) -> Iterator[AuthenticatedClient]:
    """Windmill's client with a token that may deploy."""
    with api_client(console, token_of(store, "deploy", WHO)) as client:
        yield client


def said(answer: Any) -> tuple[int, str]:
    """Status and text."""
    return answer.status_code, answer.content.decode()


def files_of(store: Store) -> dict[str, str]:
    """All deployed files."""
    files = read_all(store, read_now(store).of_kind("file"), File)
    return {path: file.text for path, file in files.items()}


def test_resources_live_by_the_client(store: Store, client: AuthenticatedClient) -> None:
    """Created, read, listed, changed, renamed, deleted; each change is a deployment."""
    fields = {"path": "f/t/db", "value": {"host": "db", "via": "$res:f/t/proxy"}, "resource_type": "postgresql"}
    proxy = {"path": "f/t/proxy", "value": {"port": 1}, "resource_type": "proxy", "description": "front"}
    for body in (proxy, fields):
        made = create_resource.sync_detailed(WORKSPACE, client=client, json_body=CreateResourceJsonBody.from_dict(body))
        assert said(made) == (201, f"resource {body['path']} created")

    got = get_resource.sync(WORKSPACE, "f/t/proxy", client=client)
    assert got is not None
    assert (got.resource_type, got.description, got.created_by) == ("proxy", "front", WHO)
    value = get_resource_value.sync_detailed(WORKSPACE, "f/t/db", client=client)
    assert json.loads(value.content) == fields["value"]
    as_person = get_resource_value_interpolated.sync_detailed(WORKSPACE, "f/t/db", client=client)
    assert json.loads(as_person.content) == fields["value"]
    listed = list_resource.sync(WORKSPACE, client=client, resource_type="proxy")
    assert [each.path for each in listed or []] == ["f/t/proxy"]
    assert exists_resource.sync(WORKSPACE, "f/t/proxy", client=client) is True

    change = UpdateResourceJsonBody.from_dict({"description": "behind", "value": {"port": 2}})
    update_resource.sync_detailed(WORKSPACE, "f/t/proxy", client=client, json_body=change)
    new = UpdateResourceValueJsonBody.from_dict({"value": {"port": 3}})
    update_resource_value.sync_detailed(WORKSPACE, "f/t/proxy", client=client, json_body=new)
    got = get_resource.sync(WORKSPACE, "f/t/proxy", client=client)
    assert got is not None
    assert (got.description, got.to_dict()["value"]) == ("behind", {"port": 3})

    refused = delete_resource.sync_detailed(WORKSPACE, "f/t/proxy", client=client)
    assert (refused.status_code, "f/t/proxy" in refused.content.decode()) == (400, True)
    move = UpdateResourceJsonBody.from_dict({"path": "f/t/database"})
    assert update_resource.sync_detailed(WORKSPACE, "f/t/db", client=client, json_body=move).status_code == 200
    assert sorted(read_now(store).of_kind("resource")) == ["f/t/database", "f/t/proxy"]
    assert said(delete_resource.sync_detailed(WORKSPACE, "f/t/database", client=client))[0] == 200
    assert delete_resource.sync_detailed(WORKSPACE, "f/t/proxy", client=client).status_code == 200
    assert get_resource.sync_detailed(WORKSPACE, "f/t/proxy", client=client).status_code == 404
    assert files_of(store) == {}


@pytest.mark.parametrize("name", ["broker", "host"])
def test_a_broker_may_be_named_either_way(store: Store, client: AuthenticatedClient, name: str) -> None:
    """`broker` as Windmill's server has it, `host` as its guide."""
    body = {"path": "f/t/broker", "value": {name: "127.0.0.1", "port": 1883}, "resource_type": "mqtt"}
    made = create_resource.sync_detailed(WORKSPACE, client=client, json_body=CreateResourceJsonBody.from_dict(body))

    assert made.status_code == 201
    assert "broker:f/t/broker" in read_now(store).versions


def test_resource_types_live_by_the_client(store: Store, client: AuthenticatedClient) -> None:
    """That of brokers is there without a file."""
    names = list_resource_type_names.sync(WORKSPACE, client=client)
    assert "mqtt" in (names or [])
    body = CreateResourceTypeJsonBody.from_dict({"name": "siren", "schema": {"type": "object"}, "description": "loud"})
    assert said(create_resource_type.sync_detailed(WORKSPACE, client=client, json_body=body))[0] == 201
    again = create_resource_type.sync_detailed(WORKSPACE, client=client, json_body=body)
    assert again.status_code == 400
    change = UpdateResourceTypeJsonBody.from_dict({"description": "louder"})
    assert update_resource_type.sync_detailed(WORKSPACE, "siren", client=client, json_body=change).status_code == 200
    got = get_resource_type.sync(WORKSPACE, "siren", client=client)
    assert got is not None
    assert (got.description, got.schema) == ("louder", {"type": "object"})
    assert {"mqtt", "siren", "state"} <= {each.name for each in list_resource_type.sync(WORKSPACE, client=client) or []}
    assert exists_resource_type.sync(WORKSPACE, "siren", client=client) is True
    assert list(files_of(store)) == ["siren.resource-type.yaml"]
    assert delete_resource_type.sync_detailed(WORKSPACE, "siren", client=client).status_code == 200
    assert delete_resource_type.sync_detailed(WORKSPACE, "mqtt", client=client).status_code == 404
    assert get_resource_type.sync_detailed(WORKSPACE, "siren", client=client).status_code == 404


def test_variables_live_by_the_client(store: Store, console: Console, client: AuthenticatedClient) -> None:
    """A secret one can be given and changed by a person, and never be read."""
    for path, value, is_secret in (("f/t/limit", "30", False), ("f/t/password", "hunter2", True)):
        fields = {"path": path, "value": value, "is_secret": is_secret, "description": "d"}
        made = create_variable.sync_detailed(
            WORKSPACE, client=client, json_body=CreateVariableJsonBody.from_dict(fields)
        )
        assert said(made) == (201, f"variable {path} created")

    assert get_variable_value.sync(WORKSPACE, "f/t/limit", client=client) == "30"
    secret = get_variable.sync(WORKSPACE, "f/t/password", client=client)
    assert secret is not None
    assert secret.to_dict().items() >= {"value": None, "is_secret": True}.items()
    assert get_variable_value.sync_detailed(WORKSPACE, "f/t/password", client=client).status_code == 403
    change = UpdateVariableJsonBody.from_dict({"value": "hunter3", "description": "new"})
    assert update_variable.sync_detailed(WORKSPACE, "f/t/password", client=client, json_body=change).status_code == 200
    described = UpdateVariableJsonBody.from_dict({"description": "newer"})
    update_variable.sync_detailed(WORKSPACE, "f/t/password", client=client, json_body=described)
    move = UpdateVariableJsonBody.from_dict({"path": "f/t/key"})
    update_variable.sync_detailed(WORKSPACE, "f/t/password", client=client, json_body=move)
    variable = read_all(store, read_now(store).of_kind("variable"), Variable)["f/t/key"]
    assert (variable.description, variable.is_secret) == ("newer", True)
    assert run_opens(store, console, "f/t/key") == "hunter3"
    opened = UpdateVariableJsonBody.from_dict({"is_secret": False})
    assert update_variable.sync_detailed(WORKSPACE, "f/t/key", client=client, json_body=opened).status_code == 400

    listed = list_variable.sync(WORKSPACE, client=client)
    assert [(each.path, each.value) for each in listed or []] == [("f/t/key", None), ("f/t/limit", "30")]
    assert exists_variable.sync(WORKSPACE, "f/t/key", client=client) is True
    assert "WM_TOKEN" in {each.name for each in list_contextual_variables.sync(WORKSPACE, client=client) or []}
    assert delete_variable.sync_detailed(WORKSPACE, "f/t/limit", client=client).status_code == 200
    assert get_variable.sync_detailed(WORKSPACE, "f/t/limit", client=client).status_code == 404
    everything = "".join(files_of(store).values()) + console.process.output
    assert "hunter" not in everything
    assert b"hunter" not in b"".join(store.command("HVALS", keys.DEFINITIONS))


def test_an_encrypted_value_is_given_without_being_known(
    store: Store, console: Console, client: AuthenticatedClient
) -> None:
    """What `encrypt` answers opens for whatever variable it is given to; what cannot be opened is refused."""
    sealed = encrypt_value.sync_detailed(WORKSPACE, client=client, json_body="hunter2").content.decode()
    fields = {"path": "f/t/key", "value": sealed, "is_secret": True, "description": ""}
    given = create_variable.sync_detailed(
        WORKSPACE, client=client, json_body=CreateVariableJsonBody.from_dict(fields), already_encrypted=True
    )
    assert (given.status_code, "hunter2" in sealed) == (201, False)
    assert run_opens(store, console, "f/t/key") == "hunter2"

    other = encrypt_value.sync_detailed(WORKSPACE, client=client, json_body="hunter3").content.decode()
    for value, status in ((other, 200), ("hunter4", 400), (sealed[:-4], 400)):
        change = UpdateVariableJsonBody.from_dict({"value": value})
        answer = update_variable.sync_detailed(
            WORKSPACE, "f/t/key", client=client, json_body=change, already_encrypted=True
        )
        assert answer.status_code == status, answer.content
    assert run_opens(store, console, "f/t/key") == "hunter3"
    as_plain = CreateVariableJsonBody.from_dict(fields | {"path": "f/t/other"})
    assert create_variable.sync_detailed(WORKSPACE, client=client, json_body=as_plain).status_code == 400


def test_scripts_live_by_the_client(store: Store, client: AuthenticatedClient) -> None:
    """A new version names the one before it, or says that it is the next whatever it was."""
    made = create_script.sync_detailed(WORKSPACE, client=client, json_body=CreateScriptJsonBody.from_dict(SCRIPT))
    status, version = said(made)
    assert (status, len(version)) == (201, 16)
    assert read_now(store).versions["script:f/t/on_temp"] == version

    got = get_script_by_path.sync(WORKSPACE, "f/t/on_temp", client=client)
    assert got is not None
    row = got.to_dict()
    assert {key: row[key] for key in SCRIPT} == SCRIPT
    assert (row["hash"], row["created_by"], row["has_preprocessor"]) == (version, WHO, False)
    raw = raw_script_by_path.sync_detailed(WORKSPACE, "f/t/on_temp.py", client=client)
    assert raw.content.decode() == SCRIPT["content"]

    second = SCRIPT | {"content": "def main(): return 2\n", "deployment_message": "shorter"}
    refused = create_script.sync_detailed(WORKSPACE, client=client, json_body=CreateScriptJsonBody.from_dict(second))
    assert said(refused) == (400, f"Bad request: Path conflict for f/t/on_temp with non-archived hash {version}")
    next_one = CreateScriptJsonBody.from_dict(second | {"parent_hash": version})
    newer = create_script.sync_detailed(WORKSPACE, client=client, json_body=next_one).content.decode()
    assert create_script.sync_detailed(WORKSPACE, client=client, json_body=next_one).status_code == 400
    third = UpdateScriptJsonBody.from_dict(SCRIPT | {"content": "def main(): return 3\n"})
    assert update_script.sync_detailed(WORKSPACE, "f/t/on_temp", client=client, json_body=third).status_code == 201
    old = get_script_by_hash.sync(WORKSPACE, version, client=client)
    assert old is not None
    assert (old.content, old.hash_) == (SCRIPT["content"], version)
    history = get_script_history_by_path.sync(WORKSPACE, "f/t/on_temp", client=client)
    assert [(each.script_hash, each.deployment_msg) for each in history or []][1:] == [
        (newer, "shorter"),
        (version, ""),
    ]
    assert [(each.created_by, each.created_at) for each in history or []][-1] == (WHO, old.created_at)
    latest = get_script_latest_version.sync(WORKSPACE, "f/t/on_temp", client=client)
    assert latest is not None
    assert latest.script_hash == read_now(store).versions["script:f/t/on_temp"]
    assert get_script_deployment_status.sync(WORKSPACE, newer, client=client) is not None
    script = read_all(store, read_now(store).of_kind("script"), Script)["f/t/on_temp"]
    assert (script.timeout_s, read_newest(store, 1)[0].author) == (60, WHO)

    assert [each.path for each in list_scripts.sync(WORKSPACE, client=client) or []] == ["f/t/on_temp"]
    assert list_scripts.sync(WORKSPACE, client=client, path_start="f/x") == []
    paths = list_script_paths.sync_detailed(WORKSPACE, client=client)
    assert json.loads(paths.content) == ["f/t/on_temp"]
    assert exists_script_by_path.sync(WORKSPACE, "f/t/on_temp", client=client) is True
    assert delete_script_by_path.sync_detailed(WORKSPACE, "f/t/on_temp", client=client).status_code == 200
    assert files_of(store) == {}
    for path in ("f/t/on_temp", "f/t/none"):
        assert get_script_by_path.sync_detailed(WORKSPACE, path, client=client).status_code == 404


def test_a_script_that_a_trigger_names_stays(
    store: Store, console: Console, client: AuthenticatedClient, tmp_path: Path
) -> None:
    """Archiving is deleting here; what is named cannot be."""
    files = {
        "f/t/broker.resource.yaml": "resource_type: mqtt\nvalue: {broker: 127.0.0.1, port: 1883}\n",
        "f/t/named.py": "def main(): ...\n",
        "f/t/x.mqtt_trigger.yaml": "script_path: f/t/named\nis_flow: false\nmqtt_resource_path: f/t/broker\n"
        "subscribe_topics: [{topic: x, qos: qos0}]\n",
    }
    push_files(store, console, tmp_path, files)

    refused = archive_script_by_path.sync_detailed(WORKSPACE, "f/t/named", client=client)
    reason = "f/t/named.py cannot be deleted: still named by f/t/x.mqtt_trigger.yaml:1 (script_path)"
    assert (refused.status_code, reason in refused.content.decode()) == (400, True)
    assert "script:f/t/named" in read_now(store).versions


@pytest.mark.parametrize(
    "fields, status",
    [
        ({"language": "rust"}, 400),
        ({"content": "def main(:\n"}, 400),
        ({"path": "on_temp"}, 400),
        ({"modules": {"x.py": {"content": ""}}}, 400),
        ({"content": 5}, 422),
        ({"path": None}, 422),
    ],
)
def test_a_script_that_cannot_be_run_is_refused(
    store: Store, client: AuthenticatedClient, fields: dict[str, Any], status: int
) -> None:
    """With the reason, and nothing is deployed."""
    answer = client.get_httpx_client().post(f"/w/{WORKSPACE}/scripts/create", json=SCRIPT | fields)

    assert answer.status_code == status, answer.text
    assert read_now(store).versions == {}


def test_flows_live_by_the_client(store: Store, client: AuthenticatedClient) -> None:
    """The code of a step gets a file of its own, as in a folder that is pulled."""
    made = create_flow.sync_detailed(WORKSPACE, client=client, json_body=CreateFlowJsonBody.from_dict(FLOW))
    assert said(made) == (201, "f/t/hot")

    assert sorted(files_of(store)) == ["f/t/hot.flow/check_it.inline_script.py", "f/t/hot.flow/flow.yaml"]
    assert files_of(store)["f/t/hot.flow/check_it.inline_script.py"] == FLOW["value"]["modules"][0]["value"]["content"]
    assert list(read_all(store, read_now(store).of_kind("flow"), Flow)) == ["f/t/hot"]
    got = get_flow_by_path.sync(WORKSPACE, "f/t/hot", client=client)
    assert got is not None
    row = got.to_dict()
    assert {key: row[key] for key in FLOW} == FLOW
    assert row["edited_by"] == WHO

    other = json.loads(json.dumps(FLOW)) | {"summary": "colder", "deployment_message": "why not"}
    other["value"]["modules"][0]["value"]["content"] = "def main(t: float):\n    return t > 20\n"
    changed = update_flow.sync_detailed(
        WORKSPACE, "f/t/hot", client=client, json_body=UpdateFlowJsonBody.from_dict(other)
    )
    assert said(changed) == (200, "f/t/hot")
    assert "t > 20" in files_of(store)["f/t/hot.flow/check_it.inline_script.py"]
    assert [each.to_dict()["path"] for each in list_flows.sync(WORKSPACE, client=client) or []] == ["f/t/hot"]
    assert exists_flow_by_path.sync(WORKSPACE, "f/t/hot", client=client) is True
    assert len(get_flow_history.sync(WORKSPACE, "f/t/hot", client=client) or []) == 2
    again = create_flow.sync_detailed(WORKSPACE, client=client, json_body=CreateFlowJsonBody.from_dict(FLOW))
    assert again.status_code == 400
    assert said(delete_flow_by_path.sync_detailed(WORKSPACE, "f/t/hot", client=client)) == (200, "Flow f/t/hot deleted")
    assert files_of(store) == {}
    create_flow.sync_detailed(WORKSPACE, client=client, json_body=CreateFlowJsonBody.from_dict(FLOW))
    archive = ArchiveFlowByPathJsonBody.from_dict({"archived": True})
    archive_flow_by_path.sync_detailed(WORKSPACE, "f/t/hot", client=client, json_body=archive)
    assert get_flow_by_path.sync_detailed(WORKSPACE, "f/t/hot", client=client).status_code == 404
    assert client.get_httpx_client().post(f"/w/{WORKSPACE}/flows/create", json={"path": "f/t/x"}).status_code == 422


def test_folders_live_by_the_client(store: Store, client: AuthenticatedClient) -> None:
    """A folder is there as soon as something stands in it."""
    body = CreateFolderJsonBody.from_dict({"name": "plant", "summary": "tanks", "owners": [], "extra_perms": {}})
    assert create_folder.sync_detailed(WORKSPACE, client=client, json_body=body).status_code == 201
    assert create_folder.sync_detailed(WORKSPACE, client=client, json_body=body).status_code == 400
    change = UpdateFolderJsonBody.from_dict({"summary": "tanks and pumps"})
    assert update_folder.sync_detailed(WORKSPACE, "plant", client=client, json_body=change).status_code == 200
    got = get_folder.sync(WORKSPACE, "plant", client=client)
    assert got is not None
    assert (got.name, got.summary, got.owners) == ("plant", "tanks and pumps", [])
    assert (got.created_by, got.to_dict()["edited_at"][:2]) == (WHO, "20")
    assert [each.name for each in list_folders.sync(WORKSPACE, client=client) or []] == ["plant"]
    assert list_folder_names.sync(WORKSPACE, client=client) == ["plant"]
    assert exists_folder.sync(WORKSPACE, "plant", client=client) is True
    assert list(files_of(store)) == ["f/plant/folder.meta.yaml"]
    assert delete_folder.sync_detailed(WORKSPACE, "plant", client=client).status_code == 200
    assert get_folder.sync_detailed(WORKSPACE, "plant", client=client).status_code == 404


def run_opens(store: Store, console: Console, path: str) -> str:
    """What a run reads at a variable."""
    token = console.mint(*executing(store))
    found: str = console.request("GET", f"/w/{WORKSPACE}/variables/get_value/{path}", token).json()
    return found
