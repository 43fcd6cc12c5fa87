"""Pages as the server makes them: statuses, what is escaped, who may do what, forms that lead somewhere."""

from __future__ import annotations

import html
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import httpx
import msgspec
import pytest

from shared import keys
from shared.alerts.model import Record, encode
from shared.audit import read_audit
from shared.clock import iso_utc
from shared.create_runs import make_run
from shared.dead import DeadLetter, encode_letter
from shared.definitions import Runnable, Trigger, Variable
from shared.definitions import Topic as Filter
from shared.history import search_page
from shared.outgoing import OUTGOING_VERSION, Outgoing, encode_outgoing
from shared.run_query import Query
from shared.scripts.alerts import ROLE
from shared.scripts.operate import MadeRun, create_runs
from shared.stamps import Stamp
from shared.store import Store
from tests.support.console import Console, deploy, script
from tests.support.workers import SCRIPT, queue_runs
from tests.support.workers import deploy as deploy_script

NOW_NS = time.time_ns()
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u202e\x07"
DEEP = '{"x": ' + "[" * 100_000 + "]" * 100_000 + "}"
PAGES = (
    "/", "/triggers", "/triggers/new", "/runs", "/dead", "/workspace", "/workspace?kind=flow",
    "/workspace?kind=resource", "/workspace?kind=broker", "/workspace?kind=variable",
    "/workspace?kind=file", "/workspace/deployments", "/access",
)  # fmt: skip


class Person:
    """Somebody with a browser that runs no scripts."""

    def __init__(self, console: Console, scope: str) -> None:
        self.client = console.browser()
        self.client.post("/login", data={"token": console.token(scope)})  # type: ignore[arg-type]

    def get(self, path: str, expect: int = 200) -> str:
        """A page."""
        answer = self.client.get(path)
        assert answer.status_code == expect, f"{path}: {answer.status_code}\n{answer.text[:2000]}"
        return answer.text

    def post(self, path: str, /, **fields: str | list[str]) -> httpx.Response:
        """A form, as the page has it."""
        token = re.search(r'name="_csrf" value="([^"]+)"', self.get("/runs"))
        assert token
        return self.client.post(
            path, data={"_csrf": token[1], **fields}, headers={"Origin": str(self.client.base_url).rstrip("/")}
        )

    def said(self, path: str, /, **fields: str | list[str]) -> str:
        """What the page after a form says."""
        answer = self.post(path, **fields)
        assert answer.status_code == 303, answer.text[:2000]
        page = self.get(answer.headers["location"])
        told = re.search(r'<div class="what">(.*?)</div>', page, re.DOTALL)
        assert told, page[:3000]
        return told[1].strip()


@pytest.fixture
def console(tmp_path: Path, redis_url: str) -> Iterator[Console]:
    """A console that is ready."""
    console = Console(tmp_path, redis_url)
    with console.process:
        console.process.start().wait_ready()
        yield console


@pytest.fixture
def admin(console: Console) -> Iterator[Person]:
    """Somebody who may do everything."""
    person = Person(console, "admin")
    yield person
    person.client.close()


def a_trigger(path: str, topic: str) -> Trigger:
    """A trigger as it is deployed."""
    runnable = Runnable("f/t/script", "0" * 16, 60)
    return Trigger(path, "session", "client", "f/t/broker", "f/t/script", {"f/t/script": runnable}, [Filter(topic, 1)])


def made_by(runnable: str, source: Literal["api", "child", "preview"], args: bytes, who: str = "") -> MadeRun:
    """A run that no message made."""
    return msgspec.structs.replace(make_run(runnable, "0" * 16, 60, args, source), created_by=who)


def test_every_page_is_there_when_nothing_is(admin: Person) -> None:
    """And says how to get going."""
    for path in PAGES:
        assert 'id="main"' in admin.get(path)
    assert "headrace init" in admin.get("/")
    assert "No triggers yet" in admin.get("/triggers")
    assert "No runs yet" in admin.get("/runs")
    assert "No dead letters" in admin.get("/dead")


def test_what_does_not_exist_is_404_and_what_makes_no_sense_is_400(admin: Person) -> None:
    """As a page that says so."""
    for path in ("/runs/q2-none", "/runs/nonsense", "/dead/m-none", "/triggers/f/t/none", "/triggers/edit/f/t/none",
                 "/workspace?kind=nothing", "/workspace/at/script/f/t/none", "/workspace/at/nothing/f/t/none",
                 "/workspace/deployments/7", "/nothing"):  # fmt: skip
        assert "<h1>Not Found</h1>" in admin.get(path, 404)
    assert "is no cursor" in admin.get("/runs?after=nonsense")
    assert "is no cursor" in admin.get("/dead?after=nonsense", 400)


def test_a_filter_that_cannot_be_used_is_said_and_kept_as_it_was_typed(admin: Person) -> None:
    """The page is there all the same."""
    page = admin.get("/runs?topic=a/%23/b&since=yesterday")
    assert "is not the last level" in page
    assert 'value="a/#/b"' in page
    assert "is not a time" in admin.get("/runs?since=yesterday")


def test_topics_payloads_and_results_are_shown_as_the_texts_that_they_are(store: Store, admin: Person) -> None:
    """Nothing of them becomes part of the page."""
    version = deploy_script(store, "def main(payload: bytes): ...")
    queue_runs(store, version, "q1-hostile-1-1", payload=HOSTILE.encode())
    for path in ("/runs", "/runs/q1-hostile-1-1"):
        page = admin.get(path)
        assert "<script>alert" not in page
        assert "<img src=x" not in page
    page = admin.get("/runs/q1-hostile-1-1")
    assert "&lt;script&gt;alert(1)" in page
    assert "\u202e" not in page
    assert "\x07" not in page


def test_what_is_typed_into_addresses_and_forms_is_escaped_too(admin: Person) -> None:
    """Search texts, filters, fields of the editor."""
    typed = quote(HOSTILE)
    for path in (f"/triggers?q={typed}", f"/runs?error={typed}&trigger={typed}", f"/dead?error={typed}",
                 f"/workspace?q={typed}"):  # fmt: skip
        page = admin.get(path)
        assert "<script>alert" not in page
        assert "<img src=x" not in page
    answer = admin.post("/triggers/check", path=HOSTILE, script_path=HOSTILE, mqtt_resource_path=HOSTILE, topic=HOSTILE,
                        topic_qos="1", topic_runnable=HOSTILE, topic_retained="")  # fmt: skip
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text
    assert "<img src=x" not in answer.text


def test_a_payload_is_handed_out_as_a_file_and_never_as_a_page(store: Store, admin: Person) -> None:
    """A browser that opened it would run what it says."""
    version = deploy_script(store, "def main(payload: bytes): ...")
    queue_runs(store, version, "q1-file-1-1", payload=HOSTILE.encode())
    answer = admin.client.get("/runs/q1-file-1-1/payload")
    assert answer.content == HOSTILE.encode()
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_no_page_holds_a_script_or_style_of_its_own(admin: Person) -> None:
    """The headers would forbid it."""
    for path in PAGES:
        page = admin.get(path)
        assert not re.search(r"<script(?![^>]*\bsrc=)", page), path
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=", page), path


def test_static_files_are_kept_by_browsers_under_an_address_that_changes_with_them(admin: Person) -> None:
    """Modules find each other below it."""
    page = admin.get("/")
    for address in re.findall(r'(?:src|href)="(/static/[^"#]+)"', page):
        answer = admin.client.get(address)
        assert answer.status_code == 200, address
        assert "immutable" in answer.headers["cache-control"]
    root = re.search(r"/static/[0-9a-f]{12}", page)
    assert root
    assert admin.client.get(f"{root[0]}/times.js").status_code == 200
    assert admin.client.get("/static/000000000000/times.js").status_code == 404


@pytest.mark.parametrize(
    "scope, refused",
    [
        ("read", ["/runs/q1-x-1-1/cancel", "/dead/retry", "/triggers/mode", "/triggers/deploy", "/access/tokens"]),
        ("operate", ["/triggers/deploy", "/triggers/delete", "/access/tokens"]),
        ("deploy", ["/access/tokens"]),
    ],
)
def test_forms_are_refused_to_those_who_may_not(console: Console, scope: str, refused: list[str]) -> None:
    """Whatever their page shows."""
    person = Person(console, scope)
    for path in refused:
        assert person.post(path).status_code == 403, path
    person.client.close()


def test_a_form_without_the_sessions_token_is_refused(admin: Person) -> None:
    """As one from another page."""
    assert admin.client.post("/dead/drop", data={"which": "all"}).status_code == 403
    assert admin.client.post("/dead/drop", data={"which": "all", "_csrf": "guessed"}).status_code == 403


def test_runs_are_cancelled_one_and_many(store: Store, admin: Person) -> None:
    """And what was done is said."""
    version = deploy_script(store, "def main(payload: bytes): ...")
    queue_runs(store, version, "q1-a-1-1", "q1-b-1-1", "q1-c-1-1")
    assert admin.said("/runs/q1-a-1-1/cancel") == "The run is cancelled."
    assert admin.said("/runs/q1-a-1-1/cancel") == "It has ended already: cancelled."
    said = admin.said("/runs/picked", id=["q1-a-1-1", "q1-b-1-1", "q1-c-1-1"], do="cancel")
    assert said == "2 runs cancelled; 1 had ended already."
    assert admin.said("/runs/picked", do="cancel") == "No run was picked."
    assert "cancel run" in admin.get("/access")


def test_all_runs_that_fit_are_cancelled_not_only_those_of_a_page(store: Store, admin: Person) -> None:
    """What does not fit goes on, and without a filter nothing is done."""
    version = deploy_script(store, "def main(payload: bytes): ...")
    queue_runs(store, version, *[f"q1-n-1-{number}" for number in range(120)])
    made = make_run("f/t/other", version, 60, b"{}", "api")
    store.run(create_runs([made], iso_utc(NOW_NS), NOW_NS // 1000))
    assert "Choose a filter first" in admin.said("/runs/fitting", back="/runs")
    assert "All that fit" in admin.get("/runs?runnable=f/t/script&state=queued")
    assert "All that fit" not in admin.get("/runs?state=succeeded")
    assert admin.said("/runs/fitting", back="/runs?source=message&state=queued&state=failed") == "120 runs cancelled."
    assert admin.said("/runs/fitting", back="/runs?source=message") == "0 runs cancelled."
    left = search_page(store, Query(states=frozenset({"queued"}))).runs
    assert [run.id for run in left] == [made.id]


def test_pages_of_runs_follow_each_other_and_miss_none(store: Store, admin: Person) -> None:
    """By the link at their end."""
    version = deploy_script(store, "def main(payload: bytes): ...")
    queue_runs(store, version, *[f"q1-n-1-{number}" for number in range(120)])
    path, seen = "/runs", list[str]()
    while path:
        page = admin.get(path)
        seen += re.findall(r'data-open href="/runs/(q1-n-1-\d+)"', page)
        older = re.search(r'<a href="([^"]+)" rel="next">', page)
        path = older[1].replace("&amp;", "&") if older else ""
    assert sorted(seen) == sorted(f"q1-n-1-{number}" for number in range(120))


def test_runs_are_filtered_in_the_address_and_a_page_says_how_far_it_has_looked(store: Store, admin: Person) -> None:
    """What runs have started is there when it is asked for; what has to be read is read for a thousand at a time."""
    old = made_by("f/plant/hall/check", "api", b'{"site": "Nord"}', "alice")
    child = made_by("f/t/script", "child", b"{}")
    others = [made_by("f/t/script", "preview", b"{}") for _ in range(1100)]
    now_us = time.time_ns() // 1000
    for several in ([old, child], others):
        store.run(create_runs(several, iso_utc(now_us * 1000), now_us))
        now_us += 10_000

    def shows(query: str, *wanted: MadeRun) -> bool:
        page = admin.get(f"/runs?{query}")
        return [run.id for run in (old, child) if f'id="{run.id}"' in page] == [run.id for run in wanted]

    assert shows("source=api", old)
    assert shows("source=api&source=child", old, child)
    assert shows("folder=f%2Fplant", old)
    assert shows("folder=f%2Fpla")
    assert shows("user=alice", old)
    assert shows("user=alice&worker=w1")
    assert shows("runnable=f%2Ft%2Fscript&source=child", child)
    assert shows(f"until={quote(iso_utc((now_us - 10_000) * 1000))}", old)
    assert shows(f"steps=1&until={quote(iso_utc((now_us - 10_000) * 1000))}", old, child)
    assert "alice" in admin.get("/runs?user=alice")
    page = admin.get("/runs?args=nord")
    assert re.search(r"among the 1.000 that were looked at, back to <time", page)
    older = re.search(r'href="([^"]+)" rel="next"', page)
    assert older
    assert f'id="{old.id}"' in admin.get(older[1].replace("&amp;", "&"))
    assert "is not JSON" in admin.get("/runs?result=%7B")


def test_triggers_are_listed_by_folder_and_script_with_who_changed_them_and_what_can_be_done(
    store: Store, admin: Person, console: Console
) -> None:
    """Each row leads to all of it, for whoever may."""
    changed = msgspec.json.encode(Stamp(1, "console by alice", 1_767_225_600_000))
    store.command("HSET", keys.DEPLOYED_NEWEST, "trigger:f/plant/b", changed)
    deploy(store, a_trigger("f/t/a", "t/a"), a_trigger("f/plant/b", "plant/b"), script("f/t/script", "def main(): ..."))

    def shown(query: str) -> list[str]:
        return re.findall(r'data-open href="/triggers/([^"]+)"', admin.get(f"/triggers?{query}"))

    assert shown("") == shown("runnable=f/t/script") == ["f/plant/b", "f/t/a"]
    assert shown("folder=f/plant") == shown("q=PLANT") == ["f/plant/b"]
    assert shown("folder=f/plant&q=t/a") == shown("runnable=f/t/other") == shown("folder=f/pla") == []
    assert shown("first=1") == ["f/plant/b"]
    page = admin.get("/triggers")
    assert re.search(r'edited by alice \(console\), <time datetime="2026-01-01T00:00:00.000Z"', page)
    assert page.count("edited by") == 1
    for action in ("/triggers/edit/f/t/a", "/workspace/at/script/f/t/script", "/runs?trigger=f/t/a"):
        assert f'href="{action}"' in page
    assert 'action="/triggers/delete"' in page
    assert 'aria-label="Disable f/t/a"' in page
    reader = Person(console, "read")
    page = reader.get("/triggers")
    reader.client.close()
    assert 'href="/workspace/at/script/f/t/script"' in page
    assert not re.search(r"/triggers/(edit|delete|mode)", page)


def test_a_script_is_run_with_arguments_that_have_to_be_an_object(store: Store, admin: Person) -> None:
    """What is wrong is said, and nothing is queued."""
    deploy(store, script("f/t/script", "def main(x: int): ..."))
    for wrong, why in (("nonsense", "no JSON"), ("[1]", "no JSON object"), (DEEP, "nested too deeply")):
        answer = admin.post("/workspace/run", kind="script", path="f/t/script", args=wrong)
        assert answer.status_code == 422
        assert f"the arguments are {why}" in html.unescape(answer.text)
        assert f">{wrong}</textarea>" in html.unescape(answer.text)
    assert "Queued: f/t/script" in admin.said("/workspace/run", kind="script", path="f/t/script", args='{"x": 1}')
    page = admin.get("/runs")
    (run_id,) = re.findall('data-open href="/runs/(q2-api-[^"]+)"', page)
    deep = admin.post(f"/runs/{run_id}/again", **{"with": "edited", "args": DEEP})
    assert (deep.status_code, "nested too deeply" in deep.text) == (422, True)
    assert admin.post("/triggers/run-on", trigger="f/t/none", event=DEEP).status_code == 303


def test_a_message_that_never_became_a_run_is_shown_handed_out_and_dropped(store: Store, admin: Person) -> None:
    """With why; grouped with its like."""
    letter = DeadLetter(
        1, "oversized", "f/t/x", HOSTILE, 1, HOSTILE.encode(), 99_000, "00ff", None, 1_700_000_000_000, "99000 bytes"
    )
    store.command("HSET", keys.DEAD_LETTERS, "m-1", encode_letter(letter))
    store.command("ZADD", keys.DEAD, letter.at, "m-1")
    page, listed = admin.get("/dead/m-1"), admin.get("/dead")
    assert "<script>alert" not in page + listed
    assert "99000 bytes" in page
    assert "a message that never became a run" in listed
    group = re.search(r'href="(/dead\?group=\w+)"', listed)
    assert group
    assert "/dead/m-1" in admin.get(group[1])
    assert admin.client.get("/dead/m-1/payload").content == HOSTILE.encode()
    assert "left alone" in admin.said("/dead/retry", which="picked", id="m-1")
    assert admin.said("/dead/drop", which="all", reason="oversized").startswith("1 dropped")
    admin.get("/dead/m-1", 404)


def test_what_could_not_be_published_is_retried_from_its_page_and_waits_in_the_outbox(
    store: Store, admin: Person, console: Console
) -> None:
    """The page, the overview and the API tell of the outbox."""
    message = encode_outgoing(Outgoing(OUTGOING_VERSION, "f/t/broker", "f/t/x", "", "q1-x-1-1", "q1-x.1", "t", b"{}"))
    letter = DeadLetter(1, "unsent", "f/t/x", "t", 1, b"{}", 2, "00ff", None, 1_700_000_000_000, "refused", message)
    store.command("HSET", keys.DEAD_LETTERS, "m-1", encode_letter(letter))
    store.command("ZADD", keys.DEAD, letter.at, "m-1")
    for page in (admin.get("/dead/m-1"), admin.get("/dead")):
        assert "a message that could not be published" in page
    said = admin.said("/dead/retry", which="picked", id="m-1")
    assert said == "1 put back into the outbox, to be published."
    assert "No dead letters" in admin.get("/dead")
    page = admin.get("/")
    assert re.search(r'id="outbox-1".*f/t/broker.*no ingest sends from it.*data-label="Waiting">1<', page, re.DOTALL)
    with console.api("read") as api:
        (outbox,) = api.get("/status").json()["outboxes"]
    assert (outbox["broker"], outbox["waiting"], outbox["state"]) == ("f/t/broker", 1, "idle")
    deploy(store, a_trigger("f/t/x", "t"), script(SCRIPT, "def main(): ..."))
    assert "1 message to be published" in admin.get("/triggers/f/t/x")


def test_alerts_that_are_active_are_on_the_overview_and_those_that_are_over_are_not(
    store: Store, tmp_path: Path, redis_url: str
) -> None:
    """With what to do. Nobody looks for what is wrong here: the lease for that is the test's."""
    store.command("SET", keys.role(ROLE), "the test")
    since = 1_700_000_000_000
    for subject, told, clear in (("f/t/told", since + 5000, since + 9000), ("f/t/new", 0, 0), ("f/t/over", 0, since)):
        record = Record(
            "session", subject, "the session is <refused>", "mend it", since, told, clear, open=bool(told)
        )  # fmt: skip
        store.command("HSET", keys.ALERTS, f"session:{subject}", encode(record))
    console = Console(tmp_path, redis_url)
    with console.process:
        console.process.start().wait_ready()
        reader = Person(console, "read")
        page = reader.get("/")
        reader.client.close()
        with console.api("read") as api:
            listed = api.get("/alerts").json()
    section = page[page.index('id="alerts"') : page.index('aria-label="Charts"')]
    for shown in ("f/t/told", "f/t/new", "the session is &lt;refused&gt;", "mend it", "not yet"):
        assert shown in section
    assert "f/t/over" not in section
    told_at = {each["subject"]: each["told_at"] for each in listed}
    assert told_at == {"f/t/told": "2023-11-14T22:13:25.000Z", "f/t/new": None}


def test_secrets_are_shown_to_nobody(store: Store, admin: Person) -> None:
    """Neither sealed nor open."""
    deploy(store, Variable("f/t/secret", "hr1:c2VhbGVk", is_secret=True), Variable("f/t/plain", "in the clear"))
    listed, one = admin.get("/workspace?kind=variable"), admin.get("/workspace/at/variable/f/t/secret")
    assert "hr1:" not in listed + one
    assert "in the clear" in admin.get("/workspace/at/variable/f/t/plain")


def test_what_can_be_got_can_be_asked_for_with_head(admin: Person) -> None:
    """RFC 9110: the same head, and no body; a stream that nobody reads ends."""
    for path in ("/", "/healthz", "/metrics", "/api/w/headrace/headrace/status", "/api/w/headrace/headrace/events"):
        answer = admin.client.head(path)
        assert (path, answer.status_code, answer.content) == (path, 200, b"")
    assert admin.client.head("/nowhere").status_code == 404


def test_a_link_leads_to_where_it_led_after_a_login_too(console: Console) -> None:
    """With its filters."""
    with console.browser() as browser:
        login = browser.get("/runs?state=failed&topic=a/%2B").headers["location"]
        page = browser.get(login).text
        (next_page,) = re.findall(r'name="next" value="([^"]*)"', page)
        answer = browser.post("/login", data={"token": console.token("read"), "next": html.unescape(next_page)})
        assert answer.headers["location"] == "/runs?state=failed&topic=a/%2B"


def test_what_a_form_is_refused_is_in_no_audit_log(store: Store, admin: Person) -> None:
    """Nothing was changed; a failed login is an event."""
    before = len(read_audit(store, 1000))
    assert admin.post("/triggers/mode", trigger="f/t/none", mode="nowhere").status_code == 303
    assert admin.post("/runs/q1-none/again", **{"with": "edited", "args": "nonsense"}).status_code == 404
    assert len(read_audit(store, 1000)) == before


def test_an_empty_form_of_a_trigger_says_what_is_missing_in_the_forms_own_words(admin: Person) -> None:
    """And there is a row for a topic, with scripts or without."""
    answer = admin.post("/triggers/deploy", is_new="1", path="", script_path="", mqtt_resource_path="")
    assert answer.status_code == 422
    assert "Path: missing" in answer.text
    form = re.sub(r"<(noscript|template).*?</\1>", "", answer.text, flags=re.DOTALL)
    assert form.count('name="topic"') == 1
    answer = admin.post("/triggers/deploy", is_new="1", path="f/t/new", script_path="", mqtt_resource_path="")
    assert "Script or flow: missing" in answer.text
    assert "mqtt_trigger.yaml" not in re.search(r'id="outcome".*?</section>', answer.text, re.DOTALL)[0]  # type: ignore[index]


def test_only_paths_of_the_console_are_gone_back_to(admin: Person) -> None:
    """A form cannot send anybody elsewhere."""
    for wrong in ("https://evil.example/", "//evil.example/", "/\\evil.example"):
        answer = admin.post("/runs/picked", back=wrong)
        assert answer.headers["location"] == "/runs"


def test_a_token_is_made_shown_once_and_revoked(console: Console, admin: Person) -> None:
    """The audit log tells of it, and not its text."""
    answer = admin.post("/access/tokens", name="ci", scope="deploy", life="30d")
    token = re.search(r"hr_api_\w+?_[\w-]{43}", answer.text)
    assert token
    with console.browser() as browser:
        assert browser.post("/login", data={"token": token[0]}).status_code == 303
    page = admin.get("/access")
    assert token[0] not in page
    assert "make token" in page
    token_id = token[0].split("_")[2]
    assert "is revoked" in admin.said(f"/access/tokens/{token_id}/revoke")
    with console.browser() as browser:
        assert browser.post("/login", data={"token": token[0]}).status_code == 401


def test_a_trigger_that_is_not_from_a_file_cannot_be_edited_but_looked_at(store: Store, admin: Person) -> None:
    """It says how to come by its file."""
    deploy(store, a_trigger("f/t/bare", "t/<b>/#"), script(SCRIPT, "def main(): ..."))
    page = admin.get("/triggers/f/t/bare")
    assert "t/<wbr>&lt;b&gt;/<wbr>#" in page
    assert "/triggers/edit/" not in page
    assert "headrace push" in admin.get("/triggers/edit/f/t/bare", 404)
