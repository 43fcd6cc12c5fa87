"""By which names the console may be asked, and from which pages. Pure.

A page of somebody else's can have a browser on this machine send requests to the console: to its name (cross-site
requests), or to a name of its own that it lets point here (DNS rebinding). The first carries a foreign `Origin`, the
second a foreign `Host`. An address in numbers cannot be rebound.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from shared.config import ConsoleSettings

_OWN_SITE = {"", "same-origin", "none"}


def is_our_host(header: str, settings: ConsoleSettings) -> bool:
    """Whether a `Host` header names us: in numbers, as localhost, or as the settings do."""
    name = _name(f"//{header}")
    if name is None:
        return False
    return _is_address(name) or name in {"localhost", settings.host.lower(), _name(settings.url)}


def is_our_page(origin: str, site: str, host: str, settings: ConsoleSettings) -> bool:
    """Whether a request that changes something comes from a page of ours, by the headers `Origin`, `Sec-Fetch-Site` and
    `Host`, each '' where it is absent.
    """
    if site not in _OWN_SITE:
        return False
    return not origin or origin in {f"http://{host}", f"https://{host}", settings.url}


def _name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
