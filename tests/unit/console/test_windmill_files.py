"""What bodies of Windmill's clients become as files, and how files are told to them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from console.errors import Refusal
from console.windmill import exporting, flow_files, script_files, trigger_objects
from console.windmill.audit_log import operation_of
from console.windmill.bodies import checked, without_nulls
from console.windmill.captures import read_draft
from console.windmill.exporting import Wanted
from console.windmill.languages import extension_of, language_name
from console.windmill.script_files import ScriptBody
from shared.definitions import Runnable, Topic, Trigger
from shared.deployment import Deployed
from shared.errors import UserError
from shared.run_query import contains
from shared.stamps import Stamp, Stamps
from shared.status import SessionStatus
from shared.workspace.yaml_lines import read_document

TOPIC = {"topic": "plant/+/temp", "qos": "qos1"}
BODY: dict[str, Any] = {
    "path": "f/t/temp", "script_path": "f/t/on_temp", "is_flow": False, "mqtt_resource_path": "f/t/broker",
    "subscribe_topics": [TOPIC],
}  # fmt: skip
TRIGGER = Trigger(
    "f/t/temp", "abcdefgh", "headrace-1", "f/t/broker", "f/t/on_temp", {"f/t/on_temp": Runnable("f/t/on_temp", "v", 1)},
    [Topic("plant/+/temp", 1)],
)  # fmt: skip
SESSION = SessionStatus(
    trigger="f/t/temp", enabled=True, session="abcdefgh", state="waiting", since=None, reason=None, attempt=None,
    next_try_at=None, client_id="headrace-1", epoch=0, connection=0, protocol=None, holder=None, granted={}, refused={},
    inflight=0,
)  # fmt: skip


def row(session: SessionStatus = SESSION, **file: Any) -> dict[str, Any]:
    """A trigger as it is listed."""
    return trigger_objects.row(TRIGGER, file, session, Stamp(1, "alice", 1000), "plant", 2000)


def test_what_a_server_knows_does_not_stand_in_the_file() -> None:
    """And the older `enabled` stays as it was given, unless there is a mode."""
    document = trigger_objects.file_document(BODY | {"permissioned_as": "u/x", "error": "x", "enabled": False})
    assert document == {key: value for key, value in BODY.items() if key != "path"} | {"enabled": False}
    assert "enabled" not in trigger_objects.file_document(BODY | {"enabled": False, "mode": "enabled"})
    assert "mode" not in trigger_objects.file_document(BODY | {"mode": None})


def test_an_update_keeps_the_mode_and_keys_of_ours() -> None:
    """Null takes a key of ours away, a key of Windmill's that is absent is gone."""
    before = BODY | {"mode": "disabled", "payload": "json", "client_id": "x", "keep_alive": 5}
    before["subscribe_topics"] = [
        TOPIC | {"runnable": "f/t/other"},
        {"topic": "gone", "qos": "qos0", "retained": "skip"},
    ]
    document = trigger_objects.file_document(BODY | {"keep_alive": None}, before)
    assert (document["mode"], document["payload"]) == ("disabled", "json")
    assert not document.keys() & {"client_id", "keep_alive"}
    assert document["subscribe_topics"] == [TOPIC | {"runnable": "f/t/other"}]


def test_a_row_goes_without_the_keys_whose_null_crashes_the_client() -> None:
    """They are there where they have a value."""
    assert not row(retry=None, error_handler_args=None).keys() & {"retry", "error_handler_args", "last_server_ping"}
    full = row(retry={"constant": {"attempts": 1, "seconds": None}, "exponential": None}, error_handler_args={"a": 1})
    assert full["retry"] == {"constant": {"attempts": 1}}
    assert full["error_handler_args"] == {"a": 1}
    needed = {
        "mqtt_resource_path", "subscribe_topics", "path", "script_path", "permissioned_as", "extra_perms",
        "workspace_id", "edited_by", "edited_at", "is_flow", "mode", "is_draft",
    }  # fmt: skip
    assert needed <= row().keys()


@pytest.mark.parametrize(
    "state, reason, error",
    [("connected", None, None), ("connecting", None, "Connecting..."), ("refused", "bad user", "bad user")],
)
def test_a_session_is_told_by_the_fields_of_a_row(state: str, reason: str | None, error: str | None) -> None:
    """Who holds it, when it was seen, what keeps it from being connected."""
    held = msgspec.structs.replace(SESSION, state=state, reason=reason, holder="0123")
    told = row(held)
    assert (told["server_id"], told["last_server_ping"], told["error"]) == ("0123", "1970-01-01T00:00:02.000Z", error)
    assert (row()["server_id"], row()["error"]) == (None, None)


def test_a_script_becomes_code_metadata_and_lock() -> None:
    """In the order of Windmill's tools; keys of ours stay."""
    fields = {
        "path": "f/t/x", "content": "def main(): ...\n", "language": "python3", "kind": "script", "lock": "a==1",
        "summary": "s", "description": "", "tag": None, "timeout": 5,
    }  # fmt: skip
    texts = {"f/t/x.py": "old", "f/t/x.script.yaml": "isolation: fresh\ntimeout: 9\n"}
    edits = script_files.edits_of(checked(fields, ScriptBody), fields, texts)
    assert edits["f/t/x.py"] == "def main(): ...\n"
    assert edits["f/t/x.script.lock"] == "a==1"
    metadata = read_document("x", edits["f/t/x.script.yaml"] or "")
    assert list(metadata) == ["summary", "description", "lock", "kind", "timeout", "isolation"]
    assert metadata["lock"] == "!inline f/t/x.script.lock"


def test_a_file_that_was_written_by_hand_stays_short() -> None:
    """Wmill sends an empty description where the file has none."""
    fields = {"path": "f/t/x", "content": "", "language": "bash", "summary": "s", "description": ""}
    texts = {"f/t/x.sh": "", "f/t/x.script.yaml": "summary: s\n"}
    assert script_files.edits_of(checked(fields, ScriptBody), fields, texts) == {}


def test_another_language_is_another_file() -> None:
    """The one before is deleted; the extension of one that is there is kept."""
    fields = {"path": "f/t/x", "content": "export function main() {}", "language": "bun"}
    edits = script_files.edits_of(checked(fields, ScriptBody), fields, {"f/t/x.py": "def main(): ..."})
    assert edits == {"f/t/x.ts": fields["content"], "f/t/x.py": None}
    kept = script_files.edits_of(checked(fields, ScriptBody), fields, {"f/t/x.bun.ts": ""})
    assert kept == {"f/t/x.bun.ts": fields["content"]}
    assert [language_name(extension_of(each), "deno") for each in ("deno", "nativets", "bun")] == [
        "deno", "nativets", "bun",
    ]  # fmt: skip
    with pytest.raises(Refusal, match="scripts in rust are not run here"):
        extension_of("rust")


@pytest.mark.parametrize(
    "file, code, has_one",
    [
        ("f/t/x.py", "def preprocessor(event): ...\ndef main(t): ...\n", True),
        ("f/t/x.py", "# no preprocessor\ndef main(t): ...\n", False),
        ("f/t/x.ts", "export function preprocessor(event) {}\nexport function main(t) {}\n", True),
        ("f/t/x.ts", "// no preprocessor\nexport function main(t) {}\n", False),
        ("f/t/x.sh", "# preprocessor\n", False),
    ],
)
def test_whether_a_script_has_a_preprocessor_is_told_by_its_code(file: str, code: str, has_one: bool) -> None:  # noqa: FBT001 - a table
    """Whatever whoever deployed it has said."""
    script = script_files.read_script({file: code, "f/t/x.script.yaml": "has_preprocessor: true\n"}, "f/t/x")
    assert script is not None
    row = script_files.row(script, Deployed(1, {}), Stamps({}, {}), "plant")
    assert row["has_preprocessor"] is has_one


def test_the_code_of_steps_gets_files_and_comes_back() -> None:
    """Also in branches and loops; two steps of one name get two files."""
    step: dict[str, Any] = {
        "type": "rawscript",
        "language": "python3",
        "content": "def main(): return 1\n",
        "lock": "a==1",
    }
    value = {
        "modules": [
            {"id": "a", "summary": "Check it!", "value": step},
            {
                "id": "b",
                "value": {"type": "forloopflow", "modules": [{"id": "c", "summary": "Check it", "value": step}]},
            },
        ],
        "failure_module": {"id": "failure", "value": step | {"language": "bash", "content": "exit 1"}},
    }
    edits = flow_files.edits_of("f/t/x", {"path": "f/t/x", "summary": "", "value": value}, {})
    texts = {file: text for file, text in edits.items() if text is not None}
    names = {"check_it.inline_script.py", "check_it1.inline_script.py", "failure.inline_script.sh"}
    assert {f"f/t/x.flow/{name}" for name in names} <= texts.keys()
    assert flow_files.read_flow(texts, "f/t/x")["value"] == value
    assert flow_files.edits_of("f/t/x", {"path": "f/t/x", "summary": "", "value": value}, texts) == {}
    renamed = {file.replace("check_it.", "first."): text.replace("check_it.", "first.") for file, text in texts.items()}
    assert flow_files.edits_of("f/t/x", {"path": "f/t/x", "summary": "", "value": value}, renamed) == {}
    with pytest.raises(UserError, match="is no path for a flow"):
        flow_files.edits_of("x", {"value": value}, {})


def test_an_archive_is_the_same_for_the_same_workspace_and_holds_what_is_wanted() -> None:
    """JSON of YAML, code as it is."""
    texts = {
        "f/t/x.py": "def main(): ...", "f/t/x.script.yaml": "summary: s\n", "f/t/x.script.lock": "a==1",
        "f/t/v.variable.yaml": "value:\nis_secret: true\n", "f/t/r.resource.yaml": "value: {password: p}\n",
        "r.resource-type.yaml": "schema: {}\n", "f/t/t.mqtt_trigger.yaml": "mode: enabled\n",
        "f/t/folder.meta.yaml": "summary: x\n", "f/t/f.flow/flow.yaml": "value: {modules: []}\n",
    }  # fmt: skip
    whole = dict(exporting.entries(texts, Wanted(triggers=True)))
    assert whole["f/t/x.script.json"] == '{"summary":"s","lock":"a==1"}'
    assert whole["f/t/r.resource.json"] == '{"value":{"password":"p"}}'
    assert {
        "f/t/f.flow.json",
        "f/t/t.mqtt_trigger.json",
        "f/t/folder.meta.json",
        "r.resource-type.json",
    } <= whole.keys()
    few = dict(exporting.entries(texts, Wanted(secrets=False, resources=False, resource_types=False)))
    assert sorted(few) == ["f/t/f.flow.json", "f/t/folder.meta.json", "f/t/x.py", "f/t/x.script.json"]
    zips = [exporting.make_zip(texts, Wanted()) for _ in range(2)]
    assert zips[0] == zips[1]


@pytest.mark.parametrize(
    "whole, part, is_in",
    [
        ({"a": 1, "b": [1, 2]}, {"a": 1}, True),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, True),
        ({"b": [1, {"c": 2}]}, {"b": [{"c": 2}]}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"a": "1"}, False),
        ([1], [2], False),
        (None, {}, False),
    ],
)
def test_json_contains_json_as_postgres_has_it(whole: Any, part: Any, is_in: bool) -> None:  # noqa: FBT001
    """Objects by key, lists by element."""
    assert contains(whole, part) is is_in


@pytest.mark.parametrize(
    "what, operation",
    [
        ("change resource type", "resource_types.update"),
        ("create flow", "flows.create"),
        ("POST /api/w/plant/jobs/run/p/f/t/x", "jobs.run.script"),
        ("POST /api/w/plant/jobs/run/preview", "jobs.run.preview"),
        ("create trigger", ""),
        ("discard runs of trigger", ""),
    ],
)
def test_what_windmill_has_no_word_for_is_left_out_of_the_audit_list(what: str, operation: str) -> None:
    """Its client fails on words that it does not know."""
    assert operation_of(what)[0] == operation


def test_both_bodies_of_a_connection_test_name_the_resource() -> None:
    """With topics if there are any; nonsense is refused."""
    assert read_draft({"mqtt_resource_path": "$res:f/t/b", "client_version": "v3"}).resource == "f/t/b"
    assert read_draft({"mqtt_resource_path": "f/t/b", "subscribe_topics": [TOPIC]}).topics == [Topic("plant/+/temp", 1)]
    for wrong in (
        {},
        {"mqtt_resource_path": "x", "client_version": "v4"},
        {"mqtt_resource_path": "x", "client_version": []},
        {"mqtt_resource_path": "x", "subscribe_topics": 5},
        {"mqtt_resource_path": "x", "subscribe_topics": [{"topic": "x", "qos": []}]},
        {"mqtt_resource_path": "x", "subscribe_topics": [1]},
    ):
        with pytest.raises(Refusal):
            read_draft(wrong)


def test_nulls_are_left_out_at_any_depth() -> None:
    """But not those in lists."""
    assert without_nulls({"a": None, "b": {"c": None, "d": [None, {"e": None}]}}) == {"b": {"d": [None, {}]}}
