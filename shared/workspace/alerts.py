"""`alerts`, in `headrace.yaml`: who is told when something is wrong, of what, and how soon."""

from __future__ import annotations

from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from shared.values import VARIABLE
from shared.workspace.problems import did_you_mean
from shared.workspace.references import Reference, references_in
from shared.workspace.yaml_lines import Table

AlertKind = Literal["session", "backlog", "dead_letters", "stalled", "durability"]
Target = Literal["runnable", "webhook"]
KINDS: Final[tuple[AlertKind, ...]] = ("session", "backlog", "dead_letters", "stalled", "durability")
_DAY_S = 24 * 3600
_SCRIPT, _FLOW = "script/", "flow/"
_FOUR_WEEKS_S = 28 * _DAY_S


class Webhook(msgspec.Struct, frozen=True):
    """Where a notice is posted to. Each text may be `$var:<path>`; none is ever shown."""

    url: str
    headers: dict[str, str] = {}


class Alerts(msgspec.Struct, frozen=True):
    """Who is told: a script of the workspace, a webhook, or nobody. Times are seconds.

    Something has to be wrong for `…_after_s` before it is told. Of the same thing there is at most one notice within
    `quiet_s`, and one more every `repeat_s` while it lasts (0: none).
    """

    runnable: str | None = None
    args: dict[str, Any] = {}
    webhook: Webhook | None = None
    kinds: tuple[AlertKind, ...] = KINDS
    session_after_s: int = 60
    stalled_after_s: int = 30
    backlog_age_s: int = 60
    quiet_s: int = 300
    repeat_s: int = _DAY_S
    resolved: bool = True

    @property
    def targets(self) -> list[Target]:
        """Who is told."""
        named: dict[Target, object] = {"runnable": self.runnable, "webhook": self.webhook}
        return [target for target, who in named.items() if who is not None]


class AlertsEntry(msgspec.Struct, frozen=True):
    """What the file says, where it names the script, and what it refers to."""

    alerts: Alerts
    file: str
    line: int
    references: list[Reference] = []


def read_alerts(table: Table) -> AlertsEntry | None:
    """The table `alerts`; None where it is not given."""
    if (alerts := table.table("alerts")) is None:
        return None
    defaults = Alerts()
    seconds = {
        key: alerts.integer(key, low, _FOUR_WEEKS_S)
        for key, low in (
            ("session_after_s", 0),
            ("stalled_after_s", 0),
            ("backlog_age_s", 1),
            ("quiet_s", 0),
            ("repeat_s", 0),
        )
    }
    runnable, args, webhook = _runnable(alerts), _args(alerts), _webhook(alerts)
    kinds, resolved = _kinds(alerts), alerts.flag("resolved")
    references = list(references_in(alerts.file, [*alerts.texts("webhook"), *alerts.texts("args")]))
    alerts.close()
    if runnable is None and webhook is None:
        alerts.warn("runnable", "nobody is told", "write runnable or webhook; headrace alerts lists what is wrong")
    given = {key: value for key, value in seconds.items() if value is not None}
    found = msgspec.structs.replace(
        defaults,
        runnable=runnable, args=args, webhook=webhook, kinds=kinds, resolved=resolved is not False, **given,
    )  # fmt: skip
    return AlertsEntry(found, alerts.file, alerts.line("runnable"), references)


def _runnable(table: Table) -> str | None:
    path = table.text("runnable")
    if path is not None and path.startswith(_FLOW):
        table.error("runnable", f"{path} is a flow", "name a script: it is to work when little else does")
        return None
    return None if path is None else path.removeprefix(_SCRIPT)


def _args(table: Table) -> dict[str, Any]:
    args = table.data("args")
    if args is not None and not isinstance(args, dict):
        table.error("args", "not a table of arguments", "write name: value lines under it")
        return {}
    return args or {}


def _webhook(table: Table) -> Webhook | None:
    if (webhook := table.table("webhook")) is None:
        return None
    url, headers = webhook.text("url", required=True, secret=True), webhook.data("headers")
    webhook.close()
    if headers is not None and not _is_texts(headers):
        webhook.error("headers", "not a table of texts", "write Name: value lines under it, values in quotes")
        headers = None
    if url is None:
        return None
    if not url.startswith(VARIABLE) and not is_web_address(url):
        webhook.error("url", "no address of the web", "write https://…, or $var:<path> of a variable that holds it")
    elif url.startswith("http://") and headers:
        webhook.warn("url", "headers are sent to an http:// address, for anybody on the way to read", "write https://")
    return Webhook(url, headers or {})


def is_web_address(url: str) -> bool:
    """Whether it can be posted to."""
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def _is_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


def _kinds(table: Table) -> tuple[AlertKind, ...]:
    names = table.data("kinds")
    if names is None:
        return KINDS
    if not isinstance(names, list):
        table.error("kinds", "not a list", f"write some of {', '.join(KINDS)}")
        return KINDS
    for name in names:
        if name not in KINDS:
            hint = did_you_mean(str(name), KINDS) or f"known are {', '.join(KINDS)}"
            table.error("kinds", f"there is no kind {name!r}", hint)
    return tuple(kind for kind in KINDS if kind in names)
