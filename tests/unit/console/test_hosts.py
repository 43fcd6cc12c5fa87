"""By which names the console may be asked, and from which pages."""

from __future__ import annotations

import pytest

from console.hosts import is_our_host, is_our_page
from shared.config import ConsoleSettings
from shared.config_keys import is_loopback

PLAIN = ConsoleSettings()
BEHIND = ConsoleSettings(url="https://headrace.example")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_only_this_machine_reaches_a_loopback_address(host: str) -> None:
    """In all their forms."""
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "headrace.example", "localhost.example", ""])  # noqa: S104
def test_any_other_address_may_be_reached_by_others(host: str) -> None:
    """A name that is not known here, too."""
    assert not is_loopback(host)


@pytest.mark.parametrize("header", ["localhost", "localhost:18080", "127.0.0.1:18080", "[::1]:18080", "192.0.2.7"])
def test_localhost_and_numbers_are_names_of_ours(header: str) -> None:
    """What is a number cannot be rebound."""
    assert is_our_host(header, PLAIN)


@pytest.mark.parametrize("header", ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "[", "a b"])
def test_any_other_name_is_not(header: str) -> None:
    """Nor is none at all."""
    assert not is_our_host(header, PLAIN)


def test_the_name_in_the_settings_is_ours() -> None:
    """Whatever its case, with a port or without."""
    assert is_our_host("Headrace.Example", BEHIND)
    assert is_our_host("headrace.example:443", BEHIND)


@pytest.mark.parametrize("origin, site, ours", [
    ("", "", True),
    ("http://localhost:18080", "same-origin", True),
    ("https://headrace.example", "", True),
    ("", "none", True),
    ("null", "", False),
    ("http://localhost:1", "", False),
    ("http://evil.example", "same-origin", False),
    ("http://localhost:18080", "cross-site", False),
    ("", "same-site", False),
])  # fmt: skip
def test_a_page_is_ours_if_its_origin_is(origin: str, site: str, *, ours: bool) -> None:
    """A browser that says nothing is believed: then the token against forgery has to do."""
    assert is_our_page(origin, site, "localhost:18080", BEHIND) is ours
