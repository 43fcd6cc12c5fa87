"""The console as a process: starts, refuses what it must not do, stops, and survives Redis."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from console.view import static_url
from shared.config import MIB
from shared.store import Store
from tests.support.console import Console, executing
from tests.support.eventually import eventually
from tests.support.valkey import ValkeyServer
from tests.support.workers import queue_runs


@pytest.fixture
def console(tmp_path: Path, redis_url: str) -> Iterator[Console]:
    """A console that is ready."""
    console = Console(tmp_path, redis_url)
    with console.process:
        console.process.start().wait_ready()
        yield console


def test_the_ready_line_names_its_address_and_sigterm_ends_it(console: Console) -> None:
    """One line when it starts, exit status 0 when it is told to stop."""
    assert f"url={console.url}" in console.process.output
    assert console.process.sigterm() == 0
    assert "headrace console stopped" in console.process.output


def test_an_address_that_others_can_reach_is_refused_without_a_token(tmp_path: Path, redis_url: str) -> None:
    """It says so before it listens, as a wrong setting."""
    with Console(tmp_path, redis_url, HEADRACE_CONSOLE__HOST="0.0.0.0").process as process:  # noqa: S104 - refused
        assert process.start().wait() == 2
        assert "error: console.host is '0.0.0.0'" in process.output
        assert "headrace token create" in process.output


def test_a_port_that_is_taken_is_said_with_what_to_do(tmp_path: Path, redis_url: str) -> None:
    """And the exit status is not that of a wrong setting."""
    console = Console(tmp_path, redis_url)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", console.port))
        taken.listen()
        with console.process as process:
            assert process.start().wait() == 1
            assert f"cannot listen on 127.0.0.1 port {console.port}" in process.output
            assert "HEADRACE_CONSOLE__PORT" in process.output


def test_nobody_is_let_in_without_a_token(console: Console) -> None:
    """Not to an address that exists, and not with a token that somebody has made up."""
    for token in ("", "hr_run_x.y", "secret"):
        answer = console.request("GET", "/w/headrace/variables/get_value/f/t/password", token)
        assert (answer.status_code, answer.text.partition(":")[0]) == (401, "Unauthorized")
        assert answer.headers["content-type"].startswith("text/plain")


def test_the_version_is_told_to_anybody(console: Console) -> None:
    """Clients ask for it before they know who they are."""
    assert console.request("GET", "/version").text == "CE v1.850.0"


def test_unknown_addresses_are_answered_with_a_text(console: Console, redis_url: str) -> None:
    """Another workspace is one."""
    token = console.mint(*executing(Store.connect(redis_url)))

    for path in ("/w/headrace/nothing", "/w/other/jobs/list", "/nothing"):
        answer = console.request("GET", path, token)
        assert (answer.status_code, answer.text.partition(":")[0]) == (404, "Not found")
    assert console.request("POST", "/w/headrace/variables/list", token).status_code == 405


def test_while_redis_is_away_requests_are_answered_with_503_and_then_again(
    tmp_path: Path, own_valkey: ValkeyServer
) -> None:
    """The process goes on through an outage."""
    console = Console(tmp_path, own_valkey.url)
    with console.process:
        console.process.start().wait_ready()
        token = console.mint(*executing(Store.connect(own_valkey.url)))
        assert console.request("GET", "/w/headrace/users/whoami", token).status_code == 200
        own_valkey.kill9()
        answer = console.request("GET", "/w/headrace/users/whoami", token)
        assert (answer.status_code, answer.text.startswith("Redis is not available")) == (503, True)
        own_valkey.start()
        eventually(lambda: console.request("GET", "/w/headrace/users/whoami", token).status_code == 200)


def test_open_streams_do_not_hold_up_its_end(console: Console) -> None:
    """They end with it, in good order; nobody has to wait for them."""
    with console.api("read") as api, api.stream("GET", "/events") as events, api.stream("GET", "/events") as others:
        lines = events.iter_lines()
        assert next(lines) == ": listening"
        assert console.process.sigterm(timeout_s=8) == 0
        assert all(not line.startswith("data") or line for line in lines)
        others.read()
    assert "headrace console stopped" in console.process.output


def test_without_ingest_a_test_says_so_and_what_is_static_needs_no_redis(
    tmp_path: Path, own_valkey: ValkeyServer
) -> None:
    """The first with 503 and why; the second is served to whoever is logged in, too."""
    console = Console(tmp_path, own_valkey.url)
    with console.process, console.browser() as browser:
        console.process.start().wait_ready()
        with console.api("deploy") as api:
            answer = api.post("/triggers/test", json={"draft": {"resource": "f/t/broker"}})
            assert (answer.status_code, "no ingest process" in answer.json()["detail"]) == (503, True)
        browser.get(console.link)
        own_valkey.kill9()
        assert browser.get(static_url("console.css")).status_code == 200
        assert browser.get("/").status_code == 503
        own_valkey.start()
        eventually(lambda: browser.get("/").status_code == 200)


def test_it_starts_while_redis_is_away(tmp_path: Path, own_valkey: ValkeyServer) -> None:
    """Processes come up in any order."""
    own_valkey.kill9()
    console = Console(tmp_path, own_valkey.url)
    with console.process as process:
        process.start().wait_ready()
        assert console.request("GET", "/version").status_code == 200
        process.send(signal.SIGINT)
        assert process.wait() == 0


def test_what_large_payloads_took_is_given_back(console: Console, redis_url: str) -> None:
    """Whoever looks at one does not make the process large for good."""
    payload = 16 * MIB
    store = Store.connect(redis_url)
    queue_runs(store, "0" * 16, "q1-a-1-1", payload=bytes(payload))
    store.close()
    process = psutil.Process(console.process.pid)
    before = process.memory_info().rss
    with console.api("read") as api, console.browser() as browser:
        browser.post("/login", data={"token": console.token("read")})
        for _ in range(6):
            assert len(browser.get("/runs/q1-a-1-1").content) < MIB
            assert len(browser.get("/runs/q1-a-1-1/payload").content) == payload

        def used() -> int:
            assert len(api.get("/runs").json()["runs"]) == 1
            return process.memory_info().rss - before

        eventually(lambda: used() < 6 * payload, 20)
