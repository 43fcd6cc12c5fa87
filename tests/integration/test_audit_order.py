"""A change never stands without an entry in the audit log, wherever a kill cuts the commands that Redis gets."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from shared import keys
from shared.audit import AuditEntry, begin_command, read_audit
from shared.cli_audit import _cells
from shared.store import Store
from tests.support.console import Console
from tests.support.pipeline import COMMAND
from tests.support.processes import headrace_env
from tests.support.valkey import ValkeyServer

END = "the end"


@pytest.fixture
def store(valkey: ValkeyServer) -> Iterator[Store]:
    """The server as it is."""
    store = Store.connect(valkey.url)
    yield store
    store.close()


def commands_of(valkey: ValkeyServer, act: Callable[[], object]) -> list[str]:
    """What Redis is told meanwhile, in order."""
    with valkey.client() as watched, watched.monitor() as monitor, valkey.client() as other:
        act()
        other.echo(END)
        seen: list[str] = []
        for each in monitor.listen():
            if END in each["command"]:
                return seen
            seen.append(each["command"])
    raise AssertionError("the monitor has ended")


def check_order(commands: list[str], change: str) -> None:
    """Begun, then the change, then done, then no longer begun: every prefix with the change in it has an entry."""

    def place(*words: str) -> int:
        return next(i for i, each in enumerate(commands) if all(word in each for word in words))

    begun = place("XADD", keys.AUDIT, "begun")
    changed = place(change)
    done = next(i for i, e in enumerate(commands) if "XADD" in e and keys.AUDIT in e and "begun" not in e)
    assert begun < changed < done < place("XDEL", keys.AUDIT)


def test_a_token_by_api_is_in_the_log_before_it_is_made(console: Console, valkey: ValkeyServer, store: Store) -> None:
    """And once, when all is done."""
    with console.api() as api:
        api.get("/audit")
        body = {"name": "ordered", "scope": "read"}
        commands = commands_of(valkey, lambda: api.post("/tokens", json=body).raise_for_status())
        check_order(commands, f"HSET {keys.TOKENS} ")
    (entry,) = [row for row in read_audit(store, 50) if row.after and row.after.get("name") == "ordered"]
    assert (entry.begun, entry.what, entry.status) == (False, "make token", 201)


def test_a_login_is_in_the_log_before_the_session_begins(console: Console, valkey: ValkeyServer, store: Store) -> None:
    """One that fails leaves nothing there."""
    token, before = console.token("read", "who comes in"), len(read_audit(store, 1000))
    with console.browser() as browser:
        assert browser.post("/login", data={"token": "wrong"}).status_code == 401
        assert len(read_audit(store, 1000)) == before
        commands = commands_of(valkey, lambda: browser.post("/login", data={"token": token}))
    check_order(commands, f"SET {keys.PREFIX}browser:")


def test_a_token_by_command_is_in_the_log_before_it_is_made(console: Console, valkey: ValkeyServer) -> None:
    """And before it is revoked."""

    def headrace(*args: str) -> str:
        run = subprocess.run([*COMMAND, *args], env=headrace_env(console.env), capture_output=True, text=True,
                             check=True, cwd=console.settings.data.parent)  # fmt: skip
        return run.stdout

    check_order(commands_of(valkey, lambda: headrace("token", "create", "by-hand")), f"HSET {keys.TOKENS} ")
    check_order(commands_of(valkey, lambda: headrace("token", "revoke", "by-hand")), f"HDEL {keys.TOKENS} ")


def test_nothing_is_changed_where_the_log_cannot_be_written(console: Console, store: Store) -> None:
    """Redis refuses the entry: it holds something else at the log's place."""
    with console.api() as api:
        store.command("RENAME", keys.AUDIT, "aside")
        store.command("SET", keys.AUDIT, "no stream")
        try:
            answer = api.post("/tokens", json={"name": "unseen", "scope": "read"})
        finally:
            store.command("DEL", keys.AUDIT)
            store.command("RENAME", "aside", keys.AUDIT)
        assert answer.status_code >= 500
        assert "unseen" not in [each["name"] for each in api.get("/tokens").json()]


def test_what_was_begun_and_never_ended_is_told_as_that(store: Store) -> None:
    """By command; the page says the same."""
    store.command(*begin_command(AuditEntry("somebody", "POST /access/tokens")))
    row = read_audit(store, 1)[0]
    assert row.begun
    assert "outcome not known" in " ".join(_cells(row))
