"""The web console in a real Chromium, on the whole pipeline: what a person does with it, from the first trigger on."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from playwright.sync_api import Browser, expect

from shared.clock import iso_utc
from shared.create_runs import make_run
from shared.scripts.operate import create_runs
from shared.store import Store
from tests.support.browser import PHONE, WIDE, Theme, Visitor, chromium
from tests.support.eventually import eventually
from tests.support.ports import HOST, free_port
from tests.support.web_lab import WebLab
from tests.support.workspaces import trigger_yaml

LEVEL = """\
import json
import time


def main(payload: bytes):
    reading = json.loads(payload)
    print(f"{reading['litres']} litres", flush=True)
    for number in range(reading.get("steps", 0)):
        print(f"step {number}", flush=True)
        time.sleep(0.4)
    if reading["litres"] < 0:
        raise ValueError(f"a tank cannot hold {reading['litres']} litres")
    return {"full": reading["litres"] > 900}
"""
HOSTILE_TOPIC = "t/<img src=x onerror=document.title='owned'>/level"
HOSTILE = "</pre><img src=x onerror=\"document.title='owned'\">"
HIDE = """() => {
    Object.defineProperty(document, "hidden", { value: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""
STREAMS = "async () => (await navigator.locks.query()).held.length"
TRIGGERS = {
    "level": trigger_yaml("level", ("t/{tank}/level", 2)),
    "calm": trigger_yaml("level", ("calm/#", 1)),
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebLab]:
    """One for all tests of this file; each has topics or triggers of its own."""
    lab = WebLab(tmp_path_factory.mktemp("lab"), TRIGGERS, {"level": LEVEL})
    yield lab
    lab.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def visitor(lab: WebLab, browser: Browser) -> Iterator[Visitor]:
    """Somebody who is logged in. Whatever the browser complains about fails the test."""
    visitor = Visitor(browser, lab.console.url)
    visitor.log_in(lab.token)
    yield visitor
    visitor.close()
    assert visitor.complaints == []


def test_a_trigger_is_made_in_the_editor_and_its_first_message_appears_while_one_looks(
    lab: WebLab, visitor: Visitor
) -> None:
    """With a script to start from; the check says what would change before anything does."""
    page = visitor.open("/triggers/new")
    page.get_by_label("Path", exact=True).fill("f/t/made")
    page.get_by_label("Script or flow").fill("f/t/on_made")
    page.get_by_label("Broker", exact=True).fill("f/t/broker")
    page.get_by_text("No script yet?").click()
    page.get_by_label("Make one to start from").check()
    page.get_by_label("Topic filter").fill("made/{site}")
    page.get_by_label("QoS", exact=True).select_option("2")
    page.get_by_role("button", name="Check").click()
    expect(page.locator("#outcome")).to_contain_text("It can be deployed")
    expect(page.locator("#outcome")).to_contain_text("f/t/on_made")
    page.get_by_role("button", name="Deploy").click()
    page.wait_for_url("**/triggers/f/t/made")
    assert "f/t/made is deployed" in visitor.said()
    expect(page.locator("#trigger-now")).to_contain_text("connected")

    visitor.open("/runs?trigger=f/t/made")
    expect(page.get_by_text("No run fits")).to_be_visible()
    lab.publish("made/north", {"litres": 7})
    expect(page.locator("#runs-list")).to_contain_text("made/north")
    page.locator("#runs-list a[data-open]").first.click()
    expect(page.locator("#run-head")).to_contain_text("succeeded")
    way = page.locator(".way").inner_text()
    assert [word for word in ("received", "placed", "started", "ended") if word in way] == [
        "received", "placed", "started", "ended",
    ]  # fmt: skip
    expect(page.locator(".pairs").first).to_contain_text("made/north")
    expect(page.locator("#attempt-1")).to_contain_text("made/north: {'litres': 7}")


def test_what_is_wrong_with_a_trigger_is_said_with_how_to_mend_it_and_nothing_is_deployed(visitor: Visitor) -> None:
    """What was typed is still there."""
    page = visitor.open("/triggers/edit/f/t/level")
    page.get_by_label("Topic filter").fill("t/#/level")
    page.get_by_role("button", name="Deploy").click()
    expect(page.locator("#outcome")).to_contain_text("'#' is not the last level")
    expect(page.get_by_label("Topic filter")).to_have_value("t/#/level")
    expect(visitor.open("/triggers/f/t/level").locator("#trigger-now")).to_contain_text("t/{tank}/level")


def test_a_run_that_failed_is_found_among_the_dead_letters_and_retried(lab: WebLab, visitor: Visitor) -> None:
    """Under the same id; then it is dropped."""
    lab.publish("t/9/level", {"litres": -5})
    page = visitor.open("/dead")
    expect(page.locator("#dead")).to_contain_text("a tank cannot hold -5 litres")
    page.get_by_role("link", name=re.compile("a tank cannot hold")).first.click()
    page.locator("a[data-open][href^='/runs/']").first.click()
    run_id = page.locator("h1").inner_text()
    expect(page.locator(".error-name").first).to_have_text("ValueError")
    page.get_by_role("button", name="Retry", exact=True).click()
    assert visitor.said() == "Queued again, under the same id and idempotency key."
    assert "may happen twice" in visitor.questions[-1]
    assert page.locator("h1").inner_text() == run_id
    expect(page.locator(".way")).to_contain_text("attempt 2")
    expect(page.locator("#run-head")).to_contain_text("among the dead letters")

    visitor.open("/dead?trigger=f/t/level")
    page.get_by_label(f"Pick {run_id}").check()
    page.get_by_role("button", name="Drop 1").click()
    assert visitor.said().startswith("1 dropped")
    expect(page.get_by_label(f"Pick {run_id}")).to_have_count(0)


def test_a_suspended_trigger_keeps_runs_until_they_are_resumed(lab: WebLab, visitor: Visitor) -> None:
    """One is discarded, the others run when the trigger is enabled again."""
    page = visitor.open("/triggers/f/t/calm")
    page.get_by_role("button", name="Suspend").click()
    assert "enabled → suspended" in visitor.said()
    for litres in (1, 2, 3):
        lab.publish("calm/sea", {"litres": litres}, qos=1)
    expect(page.locator("#suspended")).to_contain_text("3 wait")
    page.locator("#suspended tbody input[type=checkbox]").first.check()
    page.get_by_role("button", name="Discard picked 1").click()
    assert visitor.said() == "1 discarded."
    page.get_by_role("button", name="Enable the trigger and resume all").click()
    assert "2 runs that waited are queued" in visitor.said()
    expect(page.locator("#suspended")).to_have_count(0)
    states = eventually(lambda: sorted(run["state"] for run in lab.pipeline.runs("--trigger", "f/t/calm")))
    eventually(
        lambda: (
            sorted(run["state"] for run in lab.pipeline.runs("--trigger", "f/t/calm"))
            == ["cancelled", "succeeded", "succeeded"]
        )
    )
    assert len(states) == 3


def test_a_log_is_seen_while_it_grows_and_the_run_can_be_cancelled(lab: WebLab, visitor: Visitor) -> None:
    """Without loading the page again."""
    lab.publish("t/slow/level", {"litres": 1, "steps": 100})
    page = visitor.open("/runs?state=running")
    page.locator("#runs-list a[data-open]").first.click()
    expect(page.locator("[data-tail]")).to_contain_text("step 0")
    expect(page.locator("[data-tail]")).to_contain_text("step 3")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#run-head")).to_contain_text("cancelled")


def test_a_run_is_made_again_with_edited_arguments(lab: WebLab, visitor: Visitor) -> None:
    """The new one points at the old one."""
    lab.publish("t/again/level", {"litres": 950})
    page = visitor.open("/runs?topic=t/again/level")
    page.locator("#runs-list a[data-open]").first.click()
    first = page.locator("h1").inner_text()
    page.get_by_text("Run again").click()
    page.get_by_label("these arguments of").check()
    page.get_by_label("Arguments as JSON").fill('{"payload": "no base64"}')
    page.get_by_role("button", name="Queue it").click()
    assert first in visitor.said()
    expect(page.locator("#run")).to_contain_text("no base64")
    expect(page.locator("#run")).to_contain_text(f"run {first} again")


def test_a_broker_that_is_being_typed_is_tried_before_anything_is_deployed(lab: WebLab, visitor: Visitor) -> None:
    """One that answers, and one that does not: what was typed stays."""
    page = visitor.open("/triggers/new")
    page.get_by_label("Broker", exact=True).fill("f/t/typed")
    page.get_by_label("Topic filter").fill("typed/#")
    if not page.get_by_label("Host").is_visible():
        page.get_by_text("No broker yet?").click()
    page.get_by_label("Host").fill(HOST)
    page.get_by_label("Port").fill(str(lab.broker.port))
    page.get_by_role("button", name="Test connection").click()
    expect(page.locator("#outcome")).to_contain_text("everything as asked for")
    page.get_by_label("Port").fill(str(free_port()))
    page.get_by_role("button", name="Test connection").click()
    expect(page.locator("#outcome")).to_contain_text("not connected")
    expect(page.get_by_label("Topic filter")).to_have_value("typed/#")
    page.get_by_label("Port").fill("many")
    page.get_by_role("button", name="Test connection").click()
    expect(page.locator("#outcome")).to_contain_text("port")


def test_a_broker_is_asked_what_it_grants_and_a_captured_message_is_run(lab: WebLab, visitor: Visitor) -> None:
    """Beside the deployed session."""
    page = visitor.open("/triggers/f/t/level")
    page.get_by_role("button", name="Test connection").click()
    expect(page.locator("main")).to_contain_text("everything as asked for")
    visitor.open("/triggers/f/t/level")
    page.get_by_role("button", name="Start capturing").click()
    expect(page.locator("[data-capture-state]")).to_have_text("listening")

    def publish_until_seen() -> bool:
        lab.publish("t/seen/level", {"litres": 11})
        page.wait_for_timeout(200)
        return page.locator(".captured").count() > 0

    eventually(publish_until_seen, 20)
    expect(page.locator(".captured").first).to_contain_text('"litres": 11')
    with page.expect_download() as download:
        page.locator(".captured").first.get_by_role("button", name="Save as fixture").click()
    assert json.loads(Path(download.value.path()).read_text())["event"]["topic"] == "t/seen/level"
    page.locator(".captured").first.get_by_role("button", name="Run on this message").click()
    page.wait_for_url("**/runs/q2-api-*")
    expect(page.locator("#run-head")).to_contain_text("succeeded")


def test_what_messages_say_is_shown_and_never_obeyed(lab: WebLab, visitor: Visitor) -> None:
    """Topics and payloads are anybody's."""
    lab.publish(HOSTILE_TOPIC, json.dumps({"litres": 1, HOSTILE: HOSTILE}))
    page = visitor.open("/runs?topic=t/%2B/level")
    expect(page.locator("#runs-list")).to_contain_text("<img src=x")
    page.get_by_role("row").filter(has_text="<img src=x").locator("a[data-open]").first.click()
    expect(page.locator(".view.json")).to_contain_text("onerror")
    page.get_by_text("Hex").click()
    expect(page.locator(".view.hex")).to_be_visible()
    assert "owned" not in page.title()
    assert page.locator("main img, main script").count() == 0


def test_what_is_deployed_can_be_looked_at_and_gone_back_to(visitor: Visitor) -> None:
    """With what would change said first."""
    page = visitor.open("/triggers/edit/f/t/level")
    page.get_by_label("Why, for the list").fill("two tries")
    page.get_by_text("When the code fails").click()
    page.get_by_label("Try again, times").fill("2")
    page.get_by_role("button", name="Deploy").click()
    page.wait_for_url("**/triggers/f/t/level")
    expect(page.locator("#trigger-now")).to_contain_text("2 times after 0 s each")
    visitor.open("/workspace/deployments")
    page.locator("tbody a[data-open]").first.click()
    expect(page.locator(".diff")).to_contain_text("+    attempts: 2")
    number = int(page.locator("h1").inner_text().split()[1])
    visitor.open(f"/workspace/deployments/{number - 1}/back")
    expect(page.locator("main")).to_contain_text("What would change")
    page.get_by_role("button", name=re.compile("Go back to")).click()
    assert f"Deployment {number + 1} equals {number - 1}" in visitor.said()


def test_who_edits_what_somebody_else_has_deployed_meanwhile_is_told_before_it_is_overwritten(
    lab: WebLab, browser: Browser, visitor: Visitor
) -> None:
    """Two browsers with the same form; the second one sees what it would change, and may insist."""
    other = Visitor(browser, lab.console.url)
    other.log_in(lab.token)
    for each, why in ((visitor, "1800"), (other, "900")):
        page = each.open("/triggers/edit/f/t/calm")
        if not page.get_by_label("Time-out of runs, seconds").is_visible():
            page.get_by_text("Connection and limits").click()
        page.get_by_label("Time-out of runs, seconds").fill(why)
    visitor.page.get_by_role("button", name="Deploy").click()
    visitor.page.wait_for_url("**/triggers/f/t/calm")
    other.page.get_by_role("button", name="Deploy").click()
    expect(other.page.locator("#outcome")).to_contain_text("Somebody has deployed this trigger since")
    expect(other.page.locator("#outcome .diff")).to_contain_text("-timeout: 1800")
    other.page.get_by_role("button", name="Deploy").click()
    other.page.wait_for_url("**/triggers/f/t/calm")
    other.close()
    assert other.complaints == []


def test_keys_reach_rows_search_and_pages(lab: WebLab, visitor: Visitor) -> None:
    """And the first thing that Tab reaches leads past the navigation."""
    lab.publish("t/keys/level", {"litres": 1})
    page = visitor.open("/runs")
    expect(page.locator("#runs-list")).to_contain_text("t/keys/level")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "topic"
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    first = page.evaluate("document.activeElement.textContent")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.textContent") != first
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_have_text(first)
    page.keyboard.press("g")
    page.keyboard.press("d")
    page.wait_for_url("**/dead")
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()


def test_everything_but_what_is_live_works_without_scripts(lab: WebLab, browser: Browser) -> None:
    """Forms are forms, and links are links."""
    lab.publish("t/plain/level", {"litres": -1})
    context = browser.new_context(java_script_enabled=False, base_url=lab.console.url)
    page = context.new_page()
    page.goto("/login")
    page.get_by_label("API token").fill(lab.token)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()

    def is_dead() -> bool:
        page.goto("/runs?topic=t/plain/level&state=failed")
        return page.locator("#runs-list a[data-open]").count() > 0

    eventually(is_dead, 20, 0.2)
    page.locator("#runs-list a[data-open]").first.click()
    page.get_by_text("Hex").click()
    expect(page.locator(".view.hex")).to_be_visible()
    page.get_by_role("button", name="Drop").click()
    expect(page.locator("#flash")).to_contain_text("Taken off the dead letters")
    context.close()


PAGES = {
    "overview": "/", "triggers": "/triggers", "trigger": "/triggers/f/t/level", "editor": "/triggers/edit/f/t/level",
    "new-trigger": "/triggers/new", "runs": "/runs", "dead": "/dead", "scripts": "/workspace",
    "files": "/workspace?kind=file", "script": "/workspace/at/script/f/t/level",
    "deployments": "/workspace/deployments", "deployment": "/workspace/deployments/1", "access": "/access",
    "no-such-page": "/runs/q2-none",
}  # fmt: skip
CHECKS = """() => {
  const wrong = [];
  const seen = new Set();
  for (const element of document.querySelectorAll("[id]")) {
    if (seen.has(element.id)) wrong.push(`two elements have the id ${element.id}`);
    seen.add(element.id);
  }
  for (const field of document.querySelectorAll("input:not([type=hidden]), select, textarea")) {
    const named = field.labels?.length || field.getAttribute("aria-label") || field.getAttribute("aria-labelledby");
    if (!named && !field.closest("template")) wrong.push(`no label: ${field.outerHTML.slice(0, 100)}`);
  }
  for (const control of document.querySelectorAll("button, a[href], summary")) {
    const name = control.getAttribute("aria-label") || control.textContent.trim();
    if (!name) wrong.push(`no name: ${control.outerHTML.slice(0, 100)}`);
  }
  for (const image of document.querySelectorAll("img:not([alt]), svg[role=img]:not([aria-label])")) {
    wrong.push(`no text for ${image.outerHTML.slice(0, 100)}`);
  }
  if (document.querySelectorAll("h1").length !== 1) wrong.push("not one h1");
  if (!document.documentElement.lang || !document.title) wrong.push("no lang or title");
  if (!document.querySelector("main")) wrong.push("no main");
  return wrong;
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE, (320, 640)], ids=["wide", "phone", "small"])
def test_every_page_fits_its_screen_and_is_named_for_those_who_do_not_see_it(
    lab: WebLab, browser: Browser, size: tuple[int, int], theme: Theme
) -> None:
    """Nothing to scroll sideways, every field has a label, every control a name. Pictures are kept."""
    visitor = Visitor(browser, lab.console.url, size, theme)
    visitor.log_in(lab.token)
    lab.publish("t/look/level", {"litres": 950, "unit": "l"})
    newest = visitor.open("/runs").locator("#runs-list a[data-open]").first.get_attribute("href")
    name = "wide" if size == WIDE else f"{size[0]}px"
    for page, path in (PAGES | {"run": str(newest)}).items():
        visitor.open(path)
        visitor.page.wait_for_timeout(300 if page == "overview" else 50)  # charts are drawn after the page is there
        wrong = visitor.page.evaluate(CHECKS)
        visitor.picture(f"{page}-{name}-{theme}")
        assert (page, visitor.sideways(), wrong) == (page, 0, [])
    visitor.close()
    assert visitor.complaints == []


def test_the_login_page_is_all_that_a_stranger_sees(lab: WebLab, browser: Browser) -> None:
    """Every other page leads there, and back to where he wanted to go."""
    stranger = Visitor(browser, lab.console.url)
    page = stranger.open("/triggers/f/t/level")
    expect(page.get_by_label("API token")).to_be_visible()
    stranger.picture("login-wide-light")
    page.get_by_label("API token").fill(lab.token)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/triggers/f/t/level")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("API token")).to_be_visible()
    stranger.close()
    assert stranger.complaints == []


def test_who_may_only_read_is_offered_nothing_to_do(lab: WebLab, browser: Browser) -> None:
    """Buttons that would be refused are not there."""
    reader = Visitor(browser, lab.console.url)
    reader.log_in(lab.console.token("read"))
    for path in ("/triggers", "/triggers/f/t/level", "/runs", "/dead", "/workspace/at/script/f/t/level"):
        page = reader.open(path)
        assert page.locator("main form[method=post]").count() == 0, path
    assert "needs the scope" in reader.open("/triggers/new").locator("main").inner_text()
    reader.close()


def test_many_tabs_share_one_stream_of_news_so_that_each_goes_on_answering(lab: WebLab, visitor: Visitor) -> None:
    """A browser opens six connections to a host, and a stream holds one for as long as it is open."""
    tabs = [visitor.page, *(visitor.context.new_page() for _ in range(7))]
    for number, tab in enumerate(tabs):
        tab.goto(f"/runs?topic=tabs/{number}")
    for tab in tabs:
        tab.get_by_role("link", name="Dead letters").click()
        expect(tab.get_by_role("heading", name="Dead letters")).to_be_visible()
    for number, tab in enumerate(tabs):
        tab.goto(f"/runs?topic=t/tabs{number}/level")
    for number, tab in enumerate(tabs):
        lab.publish(f"t/tabs{number}/level", {"litres": 1})
        expect(tab.locator("#runs-list")).to_contain_text(f"t/tabs{number}/level")
    tabs.pop(0).close()
    lab.publish("t/tabs7/level", {"litres": 2})
    expect(tabs[-1].locator("#runs-list a[data-open]")).to_have_count(2)

    for tab in tabs:
        tab.evaluate(HIDE)
    eventually(lambda: tabs[0].evaluate(STREAMS) == 0, 20)
    for tab in tabs[:4]:
        tab.goto("/triggers/f/t/level")
        tab.get_by_role("button", name="Start capturing").click()
    for tab in tabs[:3]:
        expect(tab.locator("[data-capture-state]")).to_have_text("listening")
    expect(tabs[3].locator("[data-capture-state]")).to_contain_text("other tabs of this browser capture already")
    tabs[0].get_by_role("button", name="Stop").click()
    tabs[3].get_by_role("button", name="Start capturing").click()
    expect(tabs[3].locator("[data-capture-state]")).to_have_text("listening")


def test_a_filter_that_fits_few_looks_on_by_itself_until_it_finds_them(lab: WebLab, visitor: Visitor) -> None:
    """Behind more runs than one page looks at."""
    lab.publish("t/rare/level", {"litres": 3})
    eventually(lambda: len(lab.pipeline.runs("--topic", "t/rare/level", "--state", "succeeded")) == 1, 20)
    with closing(Store.connect(lab.valkey.url)) as store:
        for _ in range(11):
            now_ns = time.time_ns()
            made = [make_run("f/t/none", "0" * 16, 60, b"{}", "api") for _ in range(1000)]
            made = [msgspec.structs.replace(each, due_ms=now_ns // 1_000_000 + 3_600_000) for each in made]
            store.run(create_runs(made, iso_utc(now_ns), now_ns // 1000))
    page = visitor.open("/runs?topic=t/rare/level")
    expect(page.locator("#runs-list")).to_contain_text("t/rare/level")
    assert "after=" in page.url
    visitor.open("/runs?topic=t/never/seen")
    expect(page.locator("#runs-list")).to_contain_text("Every run that is kept was looked at")
