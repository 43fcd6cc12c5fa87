"""Silence: what is sent to a quiet broker, and when it counts as gone."""

from __future__ import annotations

from ingest.codec import (
    PingReqPacket,
    PingRespPacket,
)
from ingest.session_events import (
    Silent,
)
from ingest.session_states import State
from tests.unit.ingest.session_driver import NOW_MS, Driver, only, publish


def test_a_broker_that_does_not_answer_connect_is_given_up() -> None:
    """After the time that settings give it."""
    driver = Driver()
    driver.connect()
    driver.session.tick(NOW_MS + 9_999)
    waiting = driver.session.state
    driver.session.tick(NOW_MS + 10_000)

    assert waiting is State.CONNECTING
    assert driver.events(Silent) == [Silent("CONNECT")]


def test_a_ping_goes_out_before_the_keep_alive_time_is_over() -> None:
    """After three quarters of it without sending."""
    driver = Driver()
    driver.establish(server_keep_alive=10)
    driver.session.tick(NOW_MS)
    driver.session.tick(NOW_MS + 7_499)
    early = driver.sent()
    driver.session.tick(NOW_MS + 7_500)

    assert early == []
    assert only(PingReqPacket, driver.sent())


def test_a_broker_that_is_not_heard_after_a_ping_is_given_up() -> None:
    """Anything that comes proves that it lives: PINGRESP may be stuck behind a backlog."""
    driver = Driver()
    driver.establish(server_keep_alive=10)
    for answer in (PingRespPacket(), publish(qos=0)):
        driver.now_ms += 7_500
        driver.session.tick(driver.now_ms)
        driver.now_ms += 5_000
        driver.feed(answer)
        driver.session.tick(driver.now_ms)
    alive = driver.session.state
    driver.session.tick(driver.now_ms + 7_500)
    driver.session.tick(driver.now_ms + 12_501)

    assert alive is State.ESTABLISHED
    assert driver.events(Silent) == [Silent("PINGREQ")]


def test_while_nothing_is_read_pings_go_on_and_no_answer_is_missed() -> None:
    """Back-pressure must not look like a dead broker."""
    driver = Driver()
    driver.establish(server_keep_alive=10)
    driver.session.tick(driver.now_ms)
    driver.session.pause()
    for _ in range(5):
        driver.now_ms += 7_500
        driver.session.tick(driver.now_ms)
    pings = only(PingReqPacket, driver.sent())
    driver.session.resume()
    driver.session.tick(driver.now_ms + 4_000)

    assert len(pings) == 5
    assert driver.session.state is State.ESTABLISHED


def test_no_keep_alive_no_pings() -> None:
    """The broker may switch it off."""
    driver = Driver()
    driver.establish(server_keep_alive=0)
    driver.session.tick(NOW_MS + 10_000_000)

    assert driver.sent() == []
