"""What a workspace folder's files say, and what is said of their mistakes."""

from __future__ import annotations

import base64
from textwrap import dedent

import pytest

from shared.definitions import Broker, Filter, Resource, Topic
from shared.errors import WorkspaceError
from shared.workspace import Workspace, check_files
from shared.workspace.files import Files
from shared.workspace.problems import Problem, Problems

TRIGGER = """\
script_path: f/iot/on_temp
is_flow: false
mqtt_resource_path: f/iot/broker
subscribe_topics:
  - topic: plant/+/temp
    qos: qos1
"""
BROKER = """\
resource_type: mqtt
value:
  broker: mqtt.example
  port: 1883
"""
SCRIPT = "def main(payload: bytes): ...\n"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"


def workspace(trigger: str = TRIGGER, **others: str) -> Workspace:
    """A workspace of this trigger, a broker and a script; `others` replace a file of f/iot or add one."""
    names = {"broker": BROKER, "on_temp": SCRIPT} | others
    suffixes = {"broker": ".resource.yaml", "metadata": ".script.yaml"}
    texts = {"f/iot/temp.mqtt_trigger.yaml": dedent(trigger)}
    for name, text in names.items():
        stem = "on_temp" if name == "metadata" else name
        texts[f"f/iot/{stem}{suffixes.get(name, '.py')}"] = dedent(text)
    return check_files(Files(texts, []), "the folder", Problems())


def problems(trigger: str = TRIGGER, **others: str) -> list[Problem]:
    """What is wrong with such a workspace."""
    with pytest.raises(WorkspaceError) as caught:
        workspace(trigger, **others)
    found = caught.value.fields["problems"]
    assert isinstance(found, list)
    return found


def test_a_trigger_file_of_windmill_is_read_as_it_stands() -> None:
    """All the keys that `wmill sync` writes."""
    found = workspace("""\
        script_path: f/iot/on_temp
        is_flow: false
        mode: enabled
        mqtt_resource_path: f/iot/broker
        subscribe_topics:
          - qos: qos1
            topic: plant/+/temp
          - qos: qos2
            topic: plant/+/alarm
        client_id: wm-temp
        client_version: v5
        v3_config: null
        v5_config:
          clean_start: false
          session_expiry_interval: 3600
          topic_alias_maximum: 10
        labels: [iot]
        """)
    (file,) = found.triggers

    assert file.trigger.path == "f/iot/temp"
    assert file.trigger.topics == [Topic("plant/+/temp", 1), Topic("plant/+/alarm", 2)]
    assert (file.trigger.client_id, file.trigger.client_version) == ("wm-temp", "v5")
    assert (file.trigger.clean_start, file.trigger.session_expiry_interval) == (False, 3600)
    assert file.trigger.topic_alias_maximum == 10
    assert found.warnings == []


def test_keys_of_ours_stand_beside_windmills() -> None:
    """A runnable and a retained policy per topic, and limits per trigger."""
    found = workspace(
        """\
        script_path: f/iot/on_temp
        mqtt_resource_path: f/iot/broker
        retained: skip
        max_payload: 1000
        keep_alive: 30
        receive_maximum: 50
        timeout: 5
        subscribe_topics:
          - {topic: 'a/{site}', qos: 2}
          - {topic: b, qos: 0, retained: run, runnable: f/iot/other}
        """,
        other=SCRIPT,
    )
    (file,) = found.triggers

    assert file.trigger.topics == [Topic("a/{site}", 2, retained="skip"), Topic("b", 0, "f/iot/other", "run")]
    assert (file.trigger.max_payload, file.trigger.keep_alive_s, file.trigger.receive_maximum) == (1000, 30, 50)
    assert (file.timeout_s, list(file.runnables)) == (5, ["f/iot/on_temp", "f/iot/other"])


@pytest.mark.parametrize(
    "keys, enabled",
    [
        ("", True),
        ("enabled: true", True),
        ("enabled: false", False),
        ("mode: disabled", False),
        ("mode: enabled\nenabled: false", True),
        ("enabled: no", False),
    ],
)
def test_mode_wins_over_the_older_enabled(keys: str, enabled: bool) -> None:  # noqa: FBT001 - a parameter
    """As in Windmill; without either a trigger is enabled."""
    assert workspace(TRIGGER + keys).triggers[0].trigger.enabled is enabled


# what is put after the trigger's own keys (from line 7 on), line, key, a word of the message, a word of the hint
MISTAKES = [
    ("topic: x\n", 7, "topic", "unknown key", "known are"),
    ("mod: enabled\n", 7, "mod", "unknown key", "mode"),
    ("enabled: maybe\n", 7, "enabled", "'maybe'", ""),
    ("mode: on\n", 7, "mode", "is true", ""),
    ("mode: paused\n", 7, "mode", "enabled, disabled, suspended", ""),
    ("client_id: 0123\n", 7, "client_id", "is 83", "quotes"),
    ("client_id: [a]\n", 7, "client_id", "a list", "quotes"),
    ("client_version: v4\n", 7, "client_version", "v5, v3", ""),
    ("keep_alive: 0\n", 7, "keep_alive", "from 1 to 65535", ""),
    ("keep_alive: 1.5\n", 7, "keep_alive", "is 1.5", ""),
    ("keep_alive: true\n", 7, "keep_alive", "is true", ""),
    ("v5_config:\n  clean_strat: true\n", 8, "v5_config.clean_strat", "unknown key", "clean_start"),
    ("v5_config:\n  session_expiry_interval: -1\n", 8, "v5_config.session_expiry_interval", "from 0", ""),
    ("v5_config: 3\n", 7, "v5_config", "is 3", ""),
    ("script_path: x\n", 7, "script_path", "given twice, first on line 1", "keep one"),
    ("retained: maybe\n", 7, "retained", "run, skip", ""),
    ("is_flow: [\n", 8, "", "not YAML", ""),
    ("- x\n", 7, "", "not YAML", ""),
    ("? [a]\n: b\n", 7, "?", "unknown key", ""),
    ("keep_alive: !!timestamp x\n", 7, "keep_alive", "is 'x'", ""),
    ("enabled: !!bool maybe\n", 7, "enabled", "is 'maybe'", ""),
]


@pytest.mark.parametrize("text, line, key, message, hint", MISTAKES)
def test_a_mistake_is_told_with_its_line_and_key(text: str, line: int, key: str, message: str, hint: str) -> None:
    """And with what would be right, where that can be said."""
    (problem,) = problems(TRIGGER + text)

    assert (problem.file, problem.line, problem.key) == ("f/iot/temp.mqtt_trigger.yaml", line, key)
    assert message in problem.message
    assert hint in problem.hint


# subscribe_topics, line (of a file where they start on line 3), key, a word of the message
TOPIC_MISTAKES = [
    ("[]", 3, "subscribe_topics", "no topics"),
    ("null", 3, "subscribe_topics", "no topics"),
    ("[a/b]", 3, "subscribe_topics[0]", "expected keys"),
    ("[{topic: a}]", 3, "subscribe_topics[0].qos", "missing"),
    ("[{qos: 1}]", 3, "subscribe_topics[0].topic", "missing"),
    ("[{topic: '', qos: 1}]", 3, "subscribe_topics[0].topic", "empty"),
    ("[{topic: a, qos: qos3}]", 3, "subscribe_topics[0].qos", "qos0, qos1, qos2"),
    ("[{topic: a, qos: 3}]", 3, "subscribe_topics[0].qos", "qos0, qos1, qos2"),
    ("[{topic: on, qos: 1}]", 3, "subscribe_topics[0].topic", "is true"),
    ("[{topic: a/#/b, qos: 1}]", 3, "subscribe_topics[0].topic", "'#' is not the last level"),
    ("[{topic: a, qos: 1, qso: 1}]", 3, "subscribe_topics[0].qso", "unknown key"),
    ("\n- {topic: a/+, qos: 1}\n- {topic: 'a/{x}', qos: 2}", 5, "subscribe_topics[1].topic", "as on line 4"),
]


@pytest.mark.parametrize("topics, line, key, message", TOPIC_MISTAKES)
def test_a_topic_that_cannot_be_subscribed_is_refused(topics: str, line: int, key: str, message: str) -> None:
    """Syntax, QoS, and two entries for the one subscription that a broker keeps."""
    head = "script_path: f/iot/on_temp\nmqtt_resource_path: f/iot/broker\n"
    first = problems(f"{head}subscribe_topics: {topics}\n")[0]

    assert (first.line, first.key) == (line, key)
    assert message in first.message


def test_a_trigger_may_run_a_flow() -> None:
    """As its runnable, and for single topics; one that is not there is a mistake."""
    text = TRIGGER.replace("is_flow: false", "is_flow: true").replace("on_temp", "hot")
    (missing,) = problems(text)
    topic = "  - {topic: plant/+/alarm, qos: qos2, runnable: f/iot/cold, is_flow: true}\n"
    text = text.replace("subscribe_topics:\n", f"subscribe_topics:\n{topic}")
    flow = "value: {modules: []}\n"
    texts = {"f/iot/temp.mqtt_trigger.yaml": text, "f/iot/hot.flow/flow.yaml": flow, "f/iot/cold__flow/flow.yaml": flow}

    found = check_files(Files(texts | {"f/iot/broker.resource.yaml": BROKER}, []), "the folder", Problems())

    assert "there is no flow f/iot/hot" in missing.message
    assert found.triggers[0].flows == {"f/iot/hot", "f/iot/cold"}


@pytest.mark.parametrize(
    "more, key",
    [
        ("subscribe_topics: [{topic: a, qos: qos1, runnable: f/iot/hot}]\n", "script_path"),
        ("subscribe_topics: [{topic: a, qos: qos1}]\nerror_handler_path: f/iot/hot\n", "error_handler_path"),
    ],
)
def test_a_trigger_cannot_name_one_path_as_a_script_and_as_a_flow(more: str, key: str) -> None:
    """Its runs, and its handlers, go by the path."""
    found = problems(f"script_path: f/iot/hot\nis_flow: true\nmqtt_resource_path: f/iot/broker\n{more}")

    assert key in {each.key for each in found if "as a script and as a flow" in each.message}


def test_every_problem_of_every_file_is_told_at_once() -> None:
    """In order of file and line, in one error."""
    found = problems(
        TRIGGER.replace("qos1", "qos9").replace("f/iot/broker", "f/iot/brokr") + "keep_alive: 0\n",
        on_temp="def main(:\n",
        broker=BROKER.replace("1883", "'x'"),
    )

    assert [(p.file.rpartition("/")[2], p.line) for p in found] == [
        ("broker.resource.yaml", 4),
        ("on_temp.py", 1),
        ("temp.mqtt_trigger.yaml", 3),
        ("temp.mqtt_trigger.yaml", 6),
        ("temp.mqtt_trigger.yaml", 7),
    ]


def test_what_is_not_acted_on_yet_is_told_as_a_warning() -> None:
    """Only where it asks for something."""
    found = workspace(TRIGGER + "on_behalf_of_email: alice@example.org\nsummary: null\n")

    assert [(warning.key, warning.line) for warning in found.warnings] == [("on_behalf_of_email", 7)]


@pytest.mark.parametrize(
    "keys, key, word",
    [
        ("v5_config: {clean_start: true}", "v5_config", "not connected are lost"),
        ("v5_config: {session_expiry_interval: 0}", "v5_config", "until the next one are lost"),
        ("client_version: v3\nv3_config: {clean_session: true}", "v3_config", "clean_session is true"),
        ("client_version: v3\nv5_config: {clean_start: true}", "v5_config", "not used"),
        ("v3_config: {clean_session: true}", "v3_config", "not used"),
    ],
)
def test_settings_that_can_lose_messages_say_so(keys: str, key: str, word: str) -> None:
    """They are honoured; the warning says what is at stake."""
    (warning,) = workspace(TRIGGER + keys + "\n").warnings

    assert (warning.key, word in warning.message) == (key, True)


def test_a_clean_start_at_qos_0_is_no_loss() -> None:
    """Nothing was promised."""
    assert workspace(TRIGGER.replace("qos1", "qos0") + "v5_config: {clean_start: true}\n").warnings == []


def test_overlapping_filters_on_3_1_1_may_run_twice() -> None:
    """It does not tell the copies of one message apart; MQTT 5 does."""
    overlapping = TRIGGER + "  - {topic: plant/#, qos: 1}\n"
    (warning,) = workspace(overlapping + "client_version: v3\n").warnings

    assert "'plant/+/temp' on line 5" in warning.message
    assert workspace(overlapping).warnings == []


def test_names_that_nothing_stands_behind_are_refused_with_the_nearest_one() -> None:
    """Script, resource, and a file that is no script."""
    text = TRIGGER.replace("on_temp", "on_tmp").replace("f/iot/broker", "f/iot/brokr")
    found = problems(text + "  - {topic: b, qos: 1, runnable: f/iot/lib}\n", lib="x = 1\n")

    assert [(p.key, p.line, p.hint) for p in found] == [
        ("script_path", 1, "did you mean f/iot/on_temp?"),
        ("mqtt_resource_path", 3, "did you mean f/iot/broker?"),
        ("runnable", 7, "write def main(payload: bytes): …"),
    ]


def test_two_triggers_with_one_client_id_on_one_broker_are_refused() -> None:
    """They would end each other's session for ever. The broker counts, not the name of its resource."""
    text = TRIGGER + "client_id: same\n"
    texts = {
        "a.mqtt_trigger.yaml": text,
        "b.mqtt_trigger.yaml": text.replace("f/iot/broker", "f/iot/again"),
        "f/iot/broker.resource.yaml": BROKER,
        "f/iot/again.resource.yaml": BROKER.replace("mqtt.example", "MQTT.example"),
        "f/iot/on_temp.py": SCRIPT,
    }

    with pytest.raises(WorkspaceError, match="trigger a has the client id 'same' too"):
        check_files(Files(texts, []), "the folder", Problems())


def test_a_broker_is_read_with_credentials_and_tls() -> None:
    """Windmill's keys, and a client certificate as PEM."""
    pem = "".join(f"      {line}\n" for line in (CERTIFICATE + KEY).splitlines())
    text = f"""\
resource_type: mqtt
description: the plant's
value:
  host: mqtt.example
  port: 8883
  websocket_path: /mqtt
  credentials: {{username: wm, password: secret}}
  tls:
    enabled: true
    ca_certificate: ''
    client_certificate: |
{pem}"""

    assert workspace(broker=text).brokers["f/iot/broker"] == Broker(
        "f/iot/broker",
        "mqtt.example",
        8883,
        "wm",
        "secret",
        tls=True,
        client_certificate=CERTIFICATE + KEY,
        websocket_path="/mqtt",
    )


def test_a_pkcs12_certificate_may_be_wrapped_over_lines() -> None:
    """As base64 prints it."""
    packed = base64.b64encode(bytes(100)).decode()
    text = (
        BROKER
        + f"  tls:\n    enabled: true\n    pkcs12_client_certificate: |\n      {packed[:50]}\n      {packed[50:]}\n"
    )

    assert workspace(broker=text).brokers["f/iot/broker"].pkcs12_client_certificate == packed


@pytest.mark.parametrize(
    "value, key, word",
    [
        ("broker: h\n  port: 1883\n  credentials: {password: '$res:f/iot/pw'}", "credentials.password", "a resource"),
        ("broker: h\n  port: 1883\n  credentials: {password: 1234}", "credentials.password", "not a text"),
        ("broker: mqtt://h\n  port: 1883", "broker", "host name"),
        ("broker: h\n  host: h\n  port: 1883", "host", "the same"),
        ("broker: h", "port", "missing"),
        ("port: 1883", "broker", "missing"),
        ("broker: h\n  port: 70000", "port", "65535"),
        ("broker: h\n  port: 1883\n  websocket_path: mqtt", "websocket_path", "not a path"),
        (
            "broker: h\n  port: 1883\n  tls: {enabled: true, ca_certificate: secret}",
            "tls.ca_certificate",
            "CERTIFICATE",
        ),
        (
            "broker: h\n  port: 1883\n  tls: {enabled: true, pkcs12_client_certificate: '*'}",
            "tls.pkcs12_client_certificate",
            "base64",
        ),
    ],
)
def test_a_broker_that_cannot_be_reached_as_written_is_refused(value: str, key: str, word: str) -> None:
    """And no secret stands in the message."""
    found = problems(broker=f"resource_type: mqtt\nvalue:\n  {value}\n")

    assert [p.key for p in found] == [f"value.{key}"]
    assert word in found[0].message
    assert not any(secret in str(found[0]) for secret in ("1234", "secret"))


def test_certificates_without_tls_are_warned_about() -> None:
    """Somebody believes to be safe."""
    pem = "".join(f"      {line}\n" for line in CERTIFICATE.splitlines())
    (warning,) = workspace(broker=f"{BROKER}  tls:\n    ca_certificate: |\n{pem}").warnings

    assert warning.key == "value.tls.enabled"


def test_a_resource_of_any_type_is_deployed() -> None:
    """But a trigger cannot have it for a broker."""
    texts = {"f/a/db.resource.yaml": "resource_type: postgresql\nvalue: {host: db, at: 12:30:00}\n"}
    found = check_files(Files(texts, []), "the folder", Problems())
    (problem,) = problems(broker="resource_type: postgresql\nvalue: {}\n")

    assert found.resources == {"f/a/db": Resource("f/a/db", "postgresql", {"host": "db", "at": "12:30:00"})}
    assert found.brokers == {}
    assert "no broker" in problem.message


def test_a_folder_with_nothing_to_deploy_is_refused() -> None:
    """It is most likely the wrong folder, and pruning by it would delete everything."""
    with pytest.raises(WorkspaceError, match="nothing to deploy"):
        check_files(Files({}, ["README.md"]), "the folder", Problems())


def test_a_path_that_cannot_be_part_of_a_key_is_refused() -> None:
    """Spaces would split log lines."""
    with pytest.raises(WorkspaceError, match="rename the file"):
        check_files(Files({"f/a/my script.py": SCRIPT}, []), "the folder", Problems())


def test_filters_key_and_payload_of_a_trigger_are_read() -> None:
    """Values are any JSON; null is one too."""
    (file,) = workspace(
        TRIGGER + "filters:\n  - {key: kind, value: {a: [1, on]}}\n  - {key: gone, value: null}\nfilter_logic: or\n"
        "idempotency_key: payload.id\npayload: json\n"
    ).triggers

    assert file.trigger.filters == [Filter("kind", {"a": [1, "on"]}), Filter("gone", None)]
    assert (file.trigger.filter_logic, file.trigger.idempotency_key) == ("or", "payload.id")
    assert file.trigger.payload == "json"


@pytest.mark.parametrize(
    "text, key, message",
    [
        ("filters: [{key: a}]\n", "filters[0].value", "missing"),
        ("filters: [{value: a}]\n", "filters[0].key", "missing"),
        ("filters: [{key: a, value: 1, path: x}]\n", "filters[0].path", "unknown key"),
        ("filters: [a]\n", "filters[0]", "expected keys"),
        ("filter_logic: xor\n", "filter_logic", "and, or"),
        ("payload: yaml\n", "payload", "windmill, json, text, base64"),
    ],
)
def test_a_filter_that_says_too_little_is_refused(text: str, key: str, message: str) -> None:
    """One that is passed over would let everything through."""
    (problem,) = problems(TRIGGER + text)

    assert (problem.line, problem.key) == (7, key)
    assert message in problem.message
