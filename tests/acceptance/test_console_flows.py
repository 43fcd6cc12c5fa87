"""Flows in the web console, in a real Chromium: how each step has fared, and beginning again from one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.support.browser import PHONE, Visitor, chromium
from tests.support.web_lab import WebLab

TRIGGER = """\
script_path: f/t/job
is_flow: true
mqtt_resource_path: f/t/broker
subscribe_topics:
  - topic: job
    qos: qos2
"""
FLOW = """\
summary: A job
value:
  modules:
    - id: read
      summary: Read the message
      value:
        type: rawscript
        content: '!inline read.py'
        language: python3
        input_transforms:
          payload: {type: javascript, expr: flow_input.payload}
    - id: each
      value:
        type: forloopflow
        iterator: {type: javascript, expr: results.read}
        skip_failures: true
        modules:
          - id: tell
            summary: Tell everybody WHO IS ON THE LIST that there is news, MWMWMWMW
            value:
              type: script
              path: f/t/tell
              input_transforms:
                who: {type: javascript, expr: flow_input.iter.value}
    - id: last
      value:
        type: rawscript
        content: '!inline last.py'
        language: python3
        input_transforms:
          told: {type: javascript, expr: results.each}
"""
FILES = {
    "f/t/job.flow/flow.yaml": FLOW,
    "f/t/job.flow/read.py": "import base64\n\n\ndef main(payload: str):\n    print('reading')\n"
    "    return base64.b64decode(payload).decode().split()\n",
    "f/t/job.flow/last.py": "def main(told: list):\n    return len(told)\n",
}
TELL = "def main(who: str):\n    if who == 'nobody':\n        raise ValueError('nobody listens')\n    return who\n"

RUNS_OUT = """() => [...document.querySelectorAll('.graph svg')].flatMap(box => [...box.querySelectorAll('text')]
    .filter(text => text.getBBox().x + text.getBBox().width > box.width.baseVal.value).map(text => text.textContent))"""
"""What is written beyond the box that it stands in."""
SHRUNK = """() => { const drawn = document.querySelector('.graph');
    return drawn.getBoundingClientRect().width < drawn.viewBox.baseVal.width - 1; }"""
"""Whether the drawing is smaller than it was made: its letters would be too."""


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebLab]:
    """A pipeline with a flow."""
    lab = WebLab(tmp_path_factory.mktemp("lab"), {"job": TRIGGER}, {"tell": TELL}, FILES)
    yield lab
    lab.close()


def test_a_flow_is_drawn_with_how_its_steps_have_fared_and_begun_again_from_one(lab: WebLab) -> None:
    """The new run keeps what came before."""
    with chromium() as browser:
        visitor = Visitor(browser, lab.console.url)
        visitor.log_in(lab.token)
        page = visitor.open("/workspace/at/flow/f/t/job")
        expect(page.locator(".graph")).to_contain_text("Read the message")
        lab.publish("job", "ann ben nobody")
        visitor.open("/runs")
        page.locator("#runs-list a[data-open]").first.click()
        expect(page.locator("#run-head")).to_contain_text("succeeded")
        first = page.locator("h1").inner_text()
        expect(page.locator(".graph")).to_contain_text("read · code")
        expect(page.locator(".graph")).to_contain_text("2 succeeded, 1 failed")
        expect(page.locator("[id='step-each/2/tell']")).to_contain_text("ValueError: nobody listens")
        page.locator("#step-read").get_by_text("Inputs, result, log").click()
        expect(page.locator("#step-read")).to_contain_text("reading")
        expect(page.locator("#step-each .step-head").first).to_contain_text("succeeded")
        page.locator("#step-each").get_by_text("Inputs, result, log").first.click()
        expect(page.locator("#step-each")).to_contain_text("nobody listens")
        assert page.evaluate(RUNS_OUT) == []
        visitor.picture("flow-wide-light")

        page.locator("#step-last").get_by_role("button", name="Restart from here").click()
        assert visitor.said() == f"This is {first} again, from step last on."
        expect(page.locator("#run-head")).to_contain_text("succeeded")
        assert page.locator("h1").inner_text() != first
        expect(page.locator("#step-last")).to_contain_text("succeeded")
        assert visitor.complaints == []

        small = Visitor(browser, lab.console.url, PHONE, "dark")
        small.log_in(lab.token)
        small.open(f"/runs/{first}")
        assert small.sideways() == 0
        assert small.page.evaluate(RUNS_OUT) == []
        assert small.page.evaluate(SHRUNK) is False
        small.picture("flow-390px-dark")
        small.close()
        visitor.close()
