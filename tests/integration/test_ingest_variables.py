"""Brokers whose user and password are variables: resolved when a connection is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared import keys
from shared.config import Settings
from shared.definitions import Topic, Variable
from shared.secrets import SecretBox
from shared.store import Store
from tests.support.eventually import eventually
from tests.support.factories import SESSION
from tests.support.ingest import FAST, deploy_all, deploy_trigger, inbox, is_subscribed, send, session_field
from tests.support.mosquitto import Mosquitto, only_with_password
from tests.support.processes import HeadraceProcess

Start = Callable[..., HeadraceProcess]
PASSWORD = "correct horse battery staple"
REFERENCES = {"username": "$var:f/demo/user", "password": "$var:f/demo/pw"}
KEY = "a key of the tests, long enough"
SOON = {"HEADRACE_INGEST__REFUSED_MIN_S": "0.2", "HEADRACE_INGEST__REFUSED_MAX_S": "0.4"}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that lets in who has the password."""
    options = only_with_password(tmp_path, "me", PASSWORD)
    with Mosquitto(tmp_path / "broker", options) as server:
        yield server.start()


def password(text: str = PASSWORD, key: str = KEY) -> Variable:
    """The variable with the password, sealed with this key."""
    box = SecretBox.load(Settings(), create=False, env={"HEADRACE_SECRET_KEY": key})
    return Variable("f/demo/pw", box.seal("f/demo/pw", text), is_secret=True)


def replace_key(file: Path, key: str) -> None:
    """In one step: whoever reads the file finds a whole key."""
    beside = file.with_suffix(".new")
    beside.touch(0o600)
    beside.write_text(key + "\n")
    beside.rename(file)


def session_hash(store: Store) -> str:
    """All that Redis holds of the session."""
    return repr(store.command("HGETALL", keys.session(SESSION)))


def test_a_session_logs_in_with_the_values_of_variables(
    store: Store, redis_url: str, headrace: Start, broker: Mosquitto
) -> None:
    """The password is in no log and in no key of the session."""
    deploy_all(store, Variable("f/demo/user", "me"), password())
    deploy_trigger(store, broker.port, Topic("a", 1), broker=REFERENCES)
    ingest = headrace("ingest", REDIS_URL=redis_url, HEADRACE_SECRET_KEY=KEY, **FAST)
    eventually(lambda: is_subscribed(store))
    send(broker.port, ("a", b"1", 1), username="me", password=PASSWORD)

    eventually(lambda: [each.payload for each in inbox(store)] == [b"1"])
    assert PASSWORD not in ingest.output + session_hash(store)


def test_a_variable_that_changes_connects_its_sessions_anew(
    store: Store, redis_url: str, headrace: Start, broker: Mosquitto
) -> None:
    """At the next deployment: a wrong password that is mended lets the session in, another variable does nothing."""
    deploy_all(store, Variable("f/demo/user", "me"), password("wrong, as it happens"))
    deploy_trigger(store, broker.port, Topic("a", 1), broker=REFERENCES)
    ingest = headrace("ingest", REDIS_URL=redis_url, HEADRACE_SECRET_KEY=KEY, **FAST)
    eventually(lambda: session_field(store, "state") == "refused")
    deploy_all(store, password())
    eventually(lambda: is_subscribed(store))
    connection = session_field(store, "connection")
    number = deploy_all(store, Variable("f/demo/other", "x"))
    eventually(lambda: f"deployment={number}" in ingest.output)

    assert session_field(store, "connection") == connection
    assert "wrong, as it happens" not in ingest.output + session_hash(store)


def test_a_reference_that_leads_nowhere_is_a_refused_session_with_its_reason(
    store: Store, redis_url: str, headrace: Start, broker: Mosquitto
) -> None:
    """It goes on as soon as the variable is deployed."""
    deploy_all(store, password())
    deploy_trigger(store, broker.port, Topic("a", 1), broker=REFERENCES)
    headrace("ingest", REDIS_URL=redis_url, HEADRACE_SECRET_KEY=KEY, **FAST)
    eventually(lambda: session_field(store, "state") == "refused")

    assert session_field(store, "reason") == "there is no variable f/demo/user"
    deploy_all(store, Variable("f/demo/user", "me"))
    eventually(lambda: is_subscribed(store))


def test_a_secret_under_another_key_is_tried_again(
    store: Store, redis_url: str, headrace: Start, broker: Mosquitto, tmp_path: Path
) -> None:
    """The key file may come later; nothing has to be started again."""
    deploy_all(store, Variable("f/demo/user", "me"), password())
    deploy_trigger(store, broker.port, Topic("a", 1), broker=REFERENCES)
    key_file = tmp_path / "the.key"
    ingest = headrace("ingest", REDIS_URL=redis_url, HEADRACE_SECRET_KEY_FILE=str(key_file), **FAST, **SOON)
    eventually(lambda: session_field(store, "reason").startswith("there is no key for secrets"))
    replace_key(key_file, "another key of the tests")
    eventually(lambda: session_field(store, "reason").startswith("the secret f/demo/pw cannot be opened"))
    replace_key(key_file, KEY)

    eventually(lambda: is_subscribed(store))
    assert ingest.output.count("session.refused") == 2


def test_a_host_that_is_a_variable_is_not_shown(store: Store, redis_url: str, headrace: Start) -> None:
    """Not in the reason why there is no connection."""
    deploy_all(store, Variable("f/demo/host", "127.0.0.77"))
    deploy_trigger(store, 1, Topic("a", 1), broker={"host": "$var:f/demo/host"})
    ingest = headrace("ingest", REDIS_URL=redis_url, **FAST)
    eventually(lambda: session_field(store, "state") == "reconnecting")

    assert "mqtt://$var:f/demo/host:1 cannot be reached" in session_field(store, "reason")
    assert "127.0.0.77" not in ingest.output + session_hash(store)
