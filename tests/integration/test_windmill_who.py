"""Who has deployed what, and when, as Windmill says it; and what values that runs write leave of the list."""

from __future__ import annotations

from pathlib import Path

import pytest
from windmill_api.api.flow import get_flow_by_path, get_flow_history
from windmill_api.api.mqtt_trigger import list_mqtt_triggers
from windmill_api.api.resource import get_resource
from windmill_api.api.script import get_script_by_path, get_script_history_by_path

from shared.deploy import Options, push, read_now
from shared.deployments import read_kept
from shared.errors import NotThere
from shared.rollback import rollback
from shared.secrets import SecretBox
from shared.stamps import newest_stamp
from shared.store import Store
from shared.workspace import read_workspace
from tests.support.console import WORKSPACE, Console, executing
from tests.support.windmill import api_client, push_files, token_of
from tests.support.workspaces import trigger_yaml, write_workspace

FLOW = """
    summary: s
    value:
      modules:
        - id: a
          value: {type: script, path: f/t/s, input_transforms: {}}
"""


@pytest.fixture
def deployed(store: Store, console: Console, tmp_path: Path) -> Path:
    """A folder, deployed by `tests`, and two more deployments, of which the list keeps one."""
    folder = write_workspace(tmp_path / "ws", 1883, {"a": trigger_yaml("s", ("x", 1))}, {"s": "def main(): ...\n"})
    push_files(store, console, folder, {"f/t/flow.flow/flow.yaml": FLOW, "f/t/limit.variable.yaml": "value: '0'\n"})
    for text in ("x = 1\n", "x = 2\n"):
        (folder / "f/t/lib.py").write_text(text)
        push(store, read_workspace(folder), Options(60, author="others", deployments_max=1), lambda _plan: True)
    return folder


@pytest.mark.usefixtures("deployed")
def test_what_is_deployed_has_its_author_and_time_however_many_deployments_came_since(
    store: Store, console: Console
) -> None:
    """The list has let go of the deployment that they came with."""
    assert [each.author for each in read_kept(store).deployments] == ["others"]
    with api_client(console, token_of(store, "read")) as client:
        script = get_script_by_path.sync(WORKSPACE, "f/t/s", client=client)
        flow = get_flow_by_path.sync(WORKSPACE, "f/t/flow", client=client)
        resource = get_resource.sync(WORKSPACE, "f/t/broker", client=client)
        (trigger,) = list_mqtt_triggers.sync(WORKSPACE, client=client) or []
        versions = get_script_history_by_path.sync(WORKSPACE, "f/t/s", client=client)
        flow_versions = get_flow_history.sync(WORKSPACE, "f/t/flow", client=client)

    assert script is not None
    assert flow is not None
    assert resource is not None
    by = script.created_by, flow.additional_properties["edited_by"], resource.created_by, trigger.edited_by
    assert set(by) == {"tests"}
    assert min(script.created_at, trigger.edited_at).year > 2020
    assert [each.script_hash for each in versions or []] == [script.hash_]
    assert len(flow_versions or []) == 1


@pytest.mark.usefixtures("deployed")
def test_values_that_runs_write_take_one_place_in_the_list(store: Store, console: Console) -> None:
    """What was before them can be gone back to, not to each value."""
    first = read_now(store)
    for value in ("1", "2", "3"):
        run_id, execution = executing(store)
        client = console.client(console.mint(run_id, execution))
        with client.client:
            client.set_variable("f/t/limit", value)
            client.set_resource({"seen": value}, "f/t/seen", "any")

    kept = read_kept(store)
    assert [(each.first, each.number) for each in kept.deployments] == [(4, 9), (3, 3)]
    assert kept.deployments[0].author == f"run {run_id}"
    assert kept.at(3)[1].versions == first.versions
    with pytest.raises(NotThere, match="deployment 5 is one of 4 to 9, in which runs have written values"):
        kept.at(5)
    options = Options(60, box=SecretBox.load(console.settings, create=True), author="back")
    assert rollback(store, 3, options, lambda _plan: True).applied
    assert read_now(store).versions == first.versions
    stamps = [newest_stamp(store, name) for name in ("variable:f/t/limit", "script:f/t/s", "resource:f/t/seen")]
    assert [each and each.author for each in stamps] == ["back", "tests", None]
