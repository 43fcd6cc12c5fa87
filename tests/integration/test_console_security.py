"""Who is let in to the console, to what, and what is kept from him: asked from outside, of the real process."""

from __future__ import annotations

import html
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import msgspec
import pytest

from console.blocking import Blocking
from console.live import Live
from console.needs import Needs, needs_of
from console.view import static_url
from console.web import Tools, handlers_of, make_app
from console.workspace import Workspace
from shared import browser_sessions, keys, tokens
from shared.config_sources import load_settings
from shared.secrets import SecretBox
from shared.store import AsyncStore, Store
from shared.tokens import SCOPES
from tests.support.console import Console, executing
from tests.support.console_routes import PEOPLE, PEOPLE_AND_RUNS, RUNS
from tests.support.pipeline import COMMAND
from tests.support.processes import headrace_env
from tests.support.valkey import ValkeyServer

ALL = PEOPLE | PEOPLE_AND_RUNS | RUNS
KEPT_OUT = (
    "this needs the scope",
    "does not allow this",
    "only a run can do this",
    "a token is needed",
    "/login?next=",
)
EVIL = "evil.example"


@pytest.fixture
def store(valkey: ValkeyServer) -> Iterator[Store]:
    """The server as it is."""
    store = Store.connect(valkey.url)
    yield store
    store.close()


@pytest.fixture
def browser(console: Console) -> Iterator[httpx.Client]:
    """One that is logged in, as admin."""
    with console.browser() as browser:
        assert log_in(browser, console.token("admin", "ann")).status_code == 303
        yield browser


def log_in(browser: httpx.Client, token: str, **form: str) -> httpx.Response:
    """Send the form of the login page."""
    return browser.post("/login", data={"token": token, "next": "/"} | form)


def csrf_of(browser: httpx.Client) -> str:
    """The token that the pages of this session hold."""
    found = re.search(r'name="_csrf" value="(\w+)"', browser.get("/").text)
    assert found
    return found[1]


@pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarDeprecationWarning")  # of its release 3
def test_every_route_is_in_the_table_with_what_it_needs(tmp_path: Path) -> None:
    """By enumeration of the application: a new route has to be thought about."""
    settings = load_settings({}, tmp_path)
    store, work = AsyncStore.connect(settings.redis_url), Blocking(settings.redis_url)
    content = Workspace(store, work, settings, SecretBox.without_key())
    app = make_app(Tools(store, work, content, Live(work, settings)), settings, b"key")
    found: dict[str, Needs] = {}
    for route in app.routes:
        for handler in handlers_of(app):
            if handler in getattr(route, "route_handlers", ()):
                needs = needs_of(handler.opt)
                assert needs is not None
                found |= {f"{method} {route.path_format}": needs for method in handler.http_methods}

    assert {name: needs.scope or "nothing" for name, needs in found.items()} == ALL
    assert {name for name, needs in found.items() if needs.runs} - PEOPLE_AND_RUNS.keys() == RUNS.keys()
    assert {name for name, needs in found.items() if not needs.people} == RUNS.keys()
    work.close()


def test_the_metrics_that_are_guarded_are_for_every_token_of_a_person_and_for_no_run(
    tmp_path: Path, valkey: ValkeyServer, store: Store
) -> None:
    """Besides the token of the setting. One that is revoked is none."""
    guarded = Console(tmp_path, valkey.url, HEADRACE_METRICS__TOKEN="a-long-secret")

    def status_for(text: str) -> int:
        return httpx.get(f"{guarded.url}/metrics", headers={"Authorization": f"Bearer {text}"}, timeout=20).status_code

    with guarded.process:
        guarded.process.start().wait_ready()
        assert httpx.get(f"{guarded.url}/metrics", timeout=20).status_code == 401
        for text in ("wrong", "hr_api_none_" + "x" * 43, guarded.mint(*executing(store))):
            assert status_for(text) == 401
        reads = guarded.token("read", "prometheus")
        assert [status_for(text) for text in ("a-long-secret", reads, guarded.token("admin"))] == [200] * 3
        tokens.revoke(store, reads.split("_")[2])
        assert status_for(reads) == 401


@pytest.mark.parametrize("who", ["nobody", *SCOPES, "run"])
def test_each_route_lets_in_whom_it_needs_and_nobody_else(who: str, console: Console, store: Store) -> None:
    """The whole matrix, route by route, for each kind of caller."""
    headers = {}
    if who == "run":
        headers = {"Authorization": f"Bearer {console.mint(*executing(store))}"}
    elif who != "nobody":
        headers = {"Authorization": f"Bearer {console.token(who)}"}  # type: ignore[arg-type]
    wrong = {}
    with httpx.Client(base_url=console.url, headers=headers, timeout=20) as client:
        for name, needs in ALL.items():
            allowed = is_allowed(who, name, needs)
            if is_let_in(client, name) != allowed:
                wrong[name] = f"should be {'let in' if allowed else 'kept out'}"

    assert wrong == {}


def is_allowed(who: str, name: str, needs: str) -> bool:
    """What the table says."""
    if who == "run":
        return needs == "nothing" or name in PEOPLE_AND_RUNS or name in RUNS
    if needs == "nothing":
        return True
    return who in SCOPES and name not in RUNS and SCOPES.index(who) >= SCOPES.index(needs)


def is_let_in(client: httpx.Client, name: str) -> bool:
    """Ask, for things that are not there; whether the guard let it through to the handler."""
    method, _, path = name.partition(" ")
    given = {"workspace": "headrace"} | dict.fromkeys(("number", "capture_id", "nonce"), "999")
    address = re.sub(r"\{(\w+)\}", lambda part: given.get(part[1], "x"), path)
    with client.stream(method, address, json={} if method == "POST" else None) as answer:
        if answer.status_code not in {401, 403, 303}:
            return True
        said = answer.read().decode() + answer.headers.get("location", "")
        return not any(text in said for text in KEPT_OUT)


def test_a_token_that_is_wrong_expired_or_revoked_lets_nobody_in(console: Console, store: Store) -> None:
    """Not by a header, and not by the login page."""
    now_ms = time.time_ns() // 1_000_000
    old = tokens.make_token("old", "admin", "x", now_ms - 10_000, now_ms - 1)
    tokens.create(store, old)
    gone = console.token("admin", "gone")
    assert console.request("GET", "/w/headrace/headrace/status", gone).status_code == 200
    tokens.revoke(store, tokens.find(store, "gone").id)
    good = console.token("read", "good")

    for text in ("", "x", old.text, gone, good[:-1] + ("A" if good[-1] != "A" else "B"), good[:-2]):
        assert console.request("GET", "/w/headrace/headrace/status", text or "x").status_code == 401, text
        with console.browser() as browser:
            assert log_in(browser, text).status_code == 401
            store.command("DEL", keys.login_tries("127.0.0.1"))


def test_only_a_digest_of_a_token_or_a_session_is_kept(console: Console, store: Store, browser: httpx.Client) -> None:
    """Whoever reads Redis cannot come in with what he finds."""
    secret = console.token("admin").rpartition("_")[2]
    cookie = browser.cookies["headrace"]

    for key in store.command("KEYS", "headrace:*"):
        kind = store.command("TYPE", key)
        kept = (
            store.command("HGETALL", key) if kind == b"hash" else store.command("GET", key) if kind == b"string" else ""
        )
        for text in (secret, cookie):
            assert text not in f"{key!r}{kept!r}"


def test_last_use_and_expiry_of_tokens_are_listed(console: Console) -> None:
    """By the API, and by the command."""
    with console.api("admin", "the lister") as api:
        made = api.post("/tokens", json={"name": "made by api", "scope": "operate", "expires_in_s": 3600}).json()
        listed = {row["name"]: row for row in api.get("/tokens").json()}
        entries = [e for e in api.get("/audit").json()["entries"] if e["what"] == "make token"]
    assert made["token"] not in str(listed)
    assert listed["the lister"]["last_used_at"] is not None
    assert listed["made by api"]["created_by"] == "the lister"
    assert (entries[0]["who"], entries[0]["after"]["name"]) == ("the lister", "made by api")
    assert made["token"] not in str(entries)


def test_a_write_by_cookie_needs_the_sessions_csrf_token(console: Console, browser: httpx.Client) -> None:
    """As a header or as a field of a form; that of another session does not count."""
    address = "/api/w/headrace/headrace/dead/drop"
    body: dict[str, list[str]] = {"ids": []}
    with console.browser() as other:
        log_in(other, console.token("admin"))
        foreign = csrf_of(other)

    assert browser.post(address, json=body).status_code == 403
    assert browser.post(address, json=body, headers={"X-CSRF-Token": foreign}).status_code == 403
    assert browser.post(address, json=body, headers={"X-CSRF-Token": csrf_of(browser)}).status_code == 200
    assert browser.post("/logout", data={"_csrf": "x"}).status_code == 403
    assert browser.get("/").status_code == 200
    assert browser.post("/logout", data={"_csrf": csrf_of(browser)}).headers["location"] == "/login"
    assert browser.get("/").headers["location"] == "/login?next=/"


@pytest.mark.parametrize("header", ["Basic YTpi", "Bearer", "x"])
def test_another_kind_of_authorization_does_not_stand_for_the_csrf_token(header: str, browser: httpx.Client) -> None:
    """Browsers add what a proxy in front has asked for by themselves, to any request."""
    answer = browser.post("/api/w/headrace/headrace/dead/drop", json={"ids": []}, headers={"Authorization": header})
    assert answer.status_code in {401, 403}
    assert browser.get("/", headers={"Authorization": header, "Host": EVIL}).status_code in {303, 421}


@pytest.mark.parametrize("headers", [
    {"Origin": f"http://{EVIL}"},
    {"Origin": "null"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
])  # fmt: skip
def test_a_write_from_somebody_elses_page_is_refused(headers: dict[str, str], browser: httpx.Client) -> None:
    """Even with the token against forgery; and a login from there, too."""
    answer = browser.post("/api/w/headrace/headrace/dead/drop", json={"ids": []},
                          headers={"X-CSRF-Token": csrf_of(browser)} | headers)  # fmt: skip
    assert (answer.status_code, "not the console's" in answer.text) == (403, True)
    assert browser.post("/login", data={"token": "x"}, headers=headers).status_code == 403


def test_a_name_that_is_not_the_consoles_is_refused(console: Console, browser: httpx.Client) -> None:
    """Else a page of somebody's could let its own name point here. Whoever brings a token is no browser."""
    assert browser.get("/", headers={"Host": EVIL}).status_code == 421
    assert browser.get("/login", headers={"Host": f"{EVIL}:{console.port}"}).status_code == 421
    assert browser.get("/api/w/headrace/headrace/status", headers={"Host": EVIL}).status_code == 421
    assert browser.get("/", headers={"Host": f"localhost:{console.port}"}).status_code == 200
    with console.api("read") as api:
        assert api.get("/status", headers={"Host": EVIL}).status_code == 200


def test_logins_that_fail_are_limited(console: Console, store: Store) -> None:
    """Per address; then nobody's token is looked at for a while, and a good login forgets what failed before."""
    store.command("DEL", keys.login_tries("127.0.0.1"))
    good = console.token("read")
    with console.browser() as browser:
        assert [log_in(browser, "x").status_code for _ in range(9)] == [401] * 9
        assert log_in(browser, good).status_code == 303
    with console.browser() as browser:
        assert [log_in(browser, "x").status_code for _ in range(11)] == [401] * 10 + [429]
        answer = log_in(browser, good)
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 60
    store.command("DEL", keys.login_tries("127.0.0.1"))


def test_a_link_logs_a_browser_in_once(console: Console, store: Store) -> None:
    """The one of the ready line, and one that the command makes; the audit log tells."""
    made = subprocess.run([*COMMAND, "login", "--scope", "read"], env=headrace_env(console.env), capture_output=True,
                          text=True, check=True, cwd=console.settings.data.parent).stdout.strip()  # fmt: skip

    for link in (console.link, made):
        with console.browser() as browser, console.browser() as other:
            answer = browser.get(link)
            assert (answer.status_code, answer.headers["location"]) == (303, "/")
            assert browser.get("/").status_code == 200
            assert other.get(link).status_code == 401
            assert other.get("/").status_code == 303
    with console.api() as api:
        assert api.get("/audit").json()["entries"][0]["what"] == "log in by link"
    store.command("DEL", keys.login_tries("127.0.0.1"))


def test_a_session_ends_with_its_token_and_in_time(console: Console, store: Store, browser: httpx.Client) -> None:
    """Whoever is revoked is out at once; a session that is over lets nobody in, whatever Redis still holds."""
    token = console.token("read", "to be revoked")
    with console.browser() as other:
        log_in(other, token)
        assert other.get("/").status_code == 200
        tokens.revoke(store, tokens.find(store, "to be revoked").id)
        assert other.get("/").status_code == 303
    (cookie,) = [each for each in browser.cookies.jar if each.name == "headrace"]
    assert cookie.value
    found = browser_sessions.read_session(store.command(*browser_sessions.session_command(cookie.value)))
    assert found
    past = browser_sessions.BrowserSession(found.name, found.scope, found.token, 0, time.time_ns() // 1_000_000 - 1)
    (begin,) = browser_sessions.begin_commands(cookie.value, found)
    store.command(begin[0], begin[1], msgspec.json.encode(past))
    assert browser.get("/").status_code == 303


def test_all_browsers_are_logged_out_by_a_command(console: Console, browser: httpx.Client) -> None:
    """Whatever they logged in with; tokens stay good."""
    assert browser.get("/").status_code == 200
    done = subprocess.run([*COMMAND, "token", "revoke", "--browsers"], env=headrace_env(console.env),
                          capture_output=True, text=True, check=True, cwd=console.settings.data.parent)  # fmt: skip
    assert "logged out" in done.stdout
    assert browser.get("/").status_code == 303


def test_the_cookie_is_kept_from_scripts_and_other_sites(console: Console) -> None:
    """And a login begins a session of its own, whatever cookie was there before."""
    with console.browser() as browser:
        browser.cookies.set("headrace", "chosen-by-somebody")
        said = log_in(browser, console.token("read")).headers["set-cookie"]
    assert "HttpOnly" in said
    assert "SameSite=lax" in said
    assert "Max-Age=43200" in said
    assert "chosen-by-somebody" not in said


def test_behind_https_the_cookie_goes_nowhere_else(tmp_path: Path, valkey: ValkeyServer) -> None:
    """Where console.url says that browsers come by HTTPS; and its name is one of the console's."""
    console = Console(tmp_path, valkey.url, HEADRACE_CONSOLE__URL="https://headrace.example")
    with console.process, console.browser() as browser:
        console.process.start().wait_ready()
        origin = {"Host": "headrace.example", "Origin": "https://headrace.example"}
        answer = browser.post("/login", data={"token": console.token("read")}, headers=origin)
    assert answer.status_code == 303
    assert answer.headers["set-cookie"].startswith("__Host-headrace=")
    assert "; Secure" in answer.headers["set-cookie"]
    assert answer.headers["strict-transport-security"]


def test_answers_forbid_what_pages_do_not_need(console: Console) -> None:
    """Also those to errors and of the API; only static files may be kept."""
    for path in ("/login", "/none", "/api/version", "/api/w/headrace/headrace/status", "/static/none.js"):
        headers = httpx.get(console.url + path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers
    kept = httpx.get(f"{console.url}{static_url('console.css')}").headers["cache-control"]
    assert "immutable" in kept


def test_a_link_leads_to_its_page_with_all_its_filters_once_one_has_logged_in(console: Console) -> None:
    """As somebody else had them."""
    link = "/runs?state=failed&state=lost&topic=t%2F%23&error=a+b"
    with console.browser() as browser:
        asked = browser.get(link).headers["location"]
        assert parse_qs(urlsplit(asked).query) == {"next": [link]}
        form = re.search(r'name="next" value="([^"]+)"', browser.get(asked).text)
        assert form
        assert log_in(browser, console.token("read"), next=html.unescape(form[1])).headers["location"] == link


def test_a_page_leads_on_only_within_the_console(console: Console) -> None:
    """Whatever address the login page was given."""
    for to in ("//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"):
        with console.browser() as browser:
            assert log_in(browser, console.token("read"), next=to).headers["location"] == "/"


def test_beyond_this_machine_it_starts_only_with_a_token(tmp_path: Path, own_valkey: ValkeyServer) -> None:
    """It says which command makes one; and then it makes no link."""
    console = Console(tmp_path, own_valkey.url, HEADRACE_CONSOLE__HOST="0.0.0.0")  # noqa: S104 - what is tested
    with console.process as process:
        assert process.start().wait() == 2
        assert "headrace token create" in process.output
        console.token("read")
        process.start().wait_ready()
        assert 'login="headrace login"' in process.output
        assert process.sigterm() == 0
