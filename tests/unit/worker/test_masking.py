"""What is left of secrets in what runs leave behind."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from shared.run_tokens import mint
from worker.masking import Mask
from worker.runners.base import Message, RunDone, RunErrorInfo, RunEvent, RunnerBroken, RunnerDied, RunnerReady, run_log

SECRET = 'pa"ss\nwörd\\7'
MASK = Mask([SECRET, "12345678"])
TOKEN = mint(b"key", "q2-f-t-level-1-1", "worker-7")


def test_without_secrets_nothing_is_touched() -> None:
    """Not even copied."""
    events: list[RunEvent] = [RunDone("q1-a-1-1", ok=True, result_json=b'"x"', log="x")]

    assert Mask().events(events) is events


@pytest.mark.parametrize("written", [SECRET, json.dumps(SECRET), json.dumps(SECRET, ensure_ascii=False), repr(SECRET)])
def test_a_secret_is_found_in_every_way_to_write_it(written: str) -> None:
    """As it is, as JSON with and without escapes, as Python prints a dict."""
    assert MASK.text(f"before {written} after") in ("before *** after", 'before "***" after', "before '***' after")


def test_a_longer_secret_wins_over_one_within_it() -> None:
    """Nothing of it is left."""
    assert Mask(["secret", "secret-and-more"]).text("secret-and-more, secret") == "***, ***"


def test_a_result_stays_json() -> None:
    """In values, keys, lists and numbers."""
    result: Any = {SECRET: [SECRET, 12345678, 1.5, None, True], "n": {"deep": f"<{SECRET}>"}}

    masked = MASK.json(json.dumps(result).encode())

    assert masked is not None
    assert json.loads(masked) == {"***": ["***", "***", 1.5, None, True], "n": {"deep": "<***>"}}
    assert MASK.json(b'{"a": 1}') == b'{"a": 1}'
    assert MASK.json(None) is None
    assert MASK.json(b"no json: 12345678") == b'"***"'


def test_every_part_of_an_answer_is_masked() -> None:
    """Result, error with stack and attributes, log, arguments, labels."""
    quoted = json.dumps(SECRET).encode()
    error = RunErrorInfo(f"E{SECRET}", SECRET, f"Traceback {SECRET}", {"why": [SECRET]})
    done = RunDone(
        "r", ok=False, result_json=quoted, error=error, log=SECRET, arguments_json=quoted, labels=(SECRET, "x")
    )

    masked, ready = MASK.events([done, RunnerReady()])

    assert isinstance(masked, RunDone)
    assert masked.error == RunErrorInfo("E***", "***", "Traceback ***", {"why": ["***"]})
    assert (masked.result_json, masked.log, masked.arguments_json) == (b'"***"', "***", b'"***"')
    assert masked.labels == ("***", "x")
    assert ready == RunnerReady()


def test_what_a_dead_or_broken_runner_said_is_masked() -> None:
    """Its log and its last words."""
    died = RunnerDied(1, None, "ended", "r", ("r",), log=SECRET, stderr_tail=SECRET)
    dead, broken = MASK.events([died, RunnerBroken(RunErrorInfo("E", SECRET), SECRET)])

    assert isinstance(dead, RunnerDied)
    assert (dead.log, dead.stderr_tail) == ("***", "***")
    assert broken == RunnerBroken(RunErrorInfo("E", "***"), "***")


def test_a_log_that_is_cut_within_a_secret_shows_no_piece_of_it() -> None:
    """At any length; other logs that end like the beginning of a secret are left alone."""
    mask = Mask(["abcdefghij"])

    for size in range(5, 15):
        cut = mask.text(run_log(b"....abcdefghij....", b"", 0, size))
        assert "abcd" not in cut
        assert "bytes dropped" in cut
    assert mask.text("....abcde") == "....abcde"


def test_a_long_text_that_begins_or_ends_within_a_secret_shows_no_piece_of_it() -> None:
    """As the tail of a raw output may."""
    assert Mask(["abcdefghij"]).text("efghij" + "." * 1000 + "abcdef") == "***" + "." * 1000 + "***"


def test_the_token_of_a_run_is_masked_like_a_secret_wherever_it_stands() -> None:
    """Also where nothing is secret, and in what is published; the text around it stays."""
    quoted = json.dumps([f"Bearer {TOKEN}"]).encode()
    error = RunErrorInfo("E", f"401 for {TOKEN}", "", {"token": TOKEN})
    message = Message(f"t/{TOKEN}", TOKEN.encode() + b"\xff", user_properties=(("token", TOKEN),))
    done = RunDone("r", ok=False, result_json=quoted, error=error, log=f"<{TOKEN}>", messages=(message,))

    for mask in (MASK, Mask()):
        [masked] = mask.events([done])
        assert isinstance(masked, RunDone)
        assert (masked.result_json, masked.log) == (b'["Bearer ***"]', "<***>")
        assert masked.error == RunErrorInfo("E", "401 for ***", "", {"token": "***"})
        [sent] = masked.messages
        assert (sent.topic, sent.payload, sent.user_properties) == ("t/***", b"***\xff", (("token", "***"),))
        [died] = mask.events([RunnerDied(1, None, "ended", "r", ("r",), stderr_tail=f"{TOKEN[40:]}\n…")])
        assert isinstance(died, RunnerDied)
        assert died.stderr_tail == "***\n…"


def test_a_text_that_goes_on_shows_no_piece_of_a_token() -> None:
    """It is held back until all of it is there."""
    whole = f"a {TOKEN} hr_runs hr_run_!"
    shown = [Mask().growing(whole[:end]) for end in range(len(whole) + 1)]

    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(shown))
    assert shown[-1] == "a *** hr_runs ***!"
    assert not any("hr_run_" in text for text in shown)


def test_a_text_that_goes_on_is_shown_only_as_far_as_no_secret_may_have_begun() -> None:
    """What was held back comes, or is masked, with the rest."""
    mask = Mask(["hunter2", "abab"])

    assert mask.growing("key hun") == "key "
    assert mask.growing("key hunter2") == "key ***"
    assert mask.growing("key hunger") == "key hunger"
    assert mask.growing("x ab") == "x "
    assert mask.growing("x abab!") == "x ***!"
    assert Mask().growing("hunt") == "hunt"


def test_a_text_that_goes_on_never_shows_what_is_masked_in_the_end() -> None:
    """However it is cut, each beginning is one of the whole."""
    mask = Mask(["hunter2", "hunter2-long", "abab"])
    whole = "a hunter2 b hunter2-long c ababab abab d hunter"
    shown = [mask.growing(whole[:end]) for end in range(len(whole) + 1)]

    assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(shown))
    assert not any("hunter2" in text or "abab" in text for text in shown)
