"""Handing notices to the script and the webhook that the workspace names, each at least once.

A notice waits in Redis until both have it. The script's run has an id that follows from the notice's, so that it is
made once; a webhook may hear of a notice twice, when the process dies between its answer and the note of it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from shared.alerts.model import Notice, encode
from shared.alerts.webhook import Posting
from shared.clock import iso_utc
from shared.create_runs import make_alert_run
from shared.definitions import Script
from shared.deployment import Deployed, read_all
from shared.errors import SecretError, UnknownReference
from shared.events import emit
from shared.run_record import iso_ms
from shared.scripts.alerts import alerts_told
from shared.scripts.operate import create_runs
from shared.secrets import SecretBox
from shared.store import Store
from shared.values import read_values
from shared.workspace.alerts import Alerts, Target

ATTEMPTS: Final = 12
FIRST_WAIT_S: Final = 10.0
LONGEST_WAIT_S: Final = 600.0
_NS_PER_US: Final = 1000


class Delivery:
    """Delivers what waits, one webhook at a time, without waiting for it."""

    def __init__(self, store: Store, box: SecretBox, workspace: str, default_timeout_s: float) -> None:
        self._store = store
        self._box = box
        self._workspace = workspace
        self._default_timeout_s = default_timeout_s
        self._posting: tuple[Notice, Posting] | None = None
        self.lacks_key = False
        """A secret of the webhook cannot be opened here: another process may be able to."""

    @property
    def under_way(self) -> bool:
        """Whether an answer is awaited."""
        return self._posting is not None

    def step(self, notices: Iterable[Notice], alerts: Alerts, deployed: Deployed, now_ms: int) -> None:
        """Do what is due now. `notices`: as Redis has them. Raises StoreUnavailable."""
        known = {notice.id: notice for notice in notices}
        self._conclude(known, now_ms)
        for notice in sorted(known.values(), key=lambda each: each.at_ms):
            if not notice.waits or notice.next_ms > now_ms:
                continue
            left = notice
            if "runnable" in left.waits:
                left = self._run(left, alerts, deployed, now_ms)
            if "webhook" in left.waits and self._posting is None and left.next_ms <= now_ms:
                self._post(left, alerts, deployed, now_ms)

    def _conclude(self, known: dict[str, Notice], now_ms: int) -> None:
        """Write down what came of the POST that was under way, if that is known."""
        if self._posting is None or not self._posting[1].over():
            return
        (notice, posting), self._posting = self._posting, None
        if (now := known.get(notice.id)) is not None and "webhook" in now.waits:
            known[notice.id] = self._settled(now, "webhook", posting.error, now_ms)

    def _run(self, notice: Notice, alerts: Alerts, deployed: Deployed, now_ms: int) -> Notice:
        path = alerts.runnable
        version = None if path is None else deployed.versions.get(f"script:{path}")
        if path is None or version is None:
            error = "no script is named any more" if path is None else f"the script {path} is not deployed"
            return self._settled(notice, "runnable", error, now_ms)
        script = read_all(self._store, {path: version}, Script).get(path)
        seconds = math.ceil((script and script.timeout_s) or self._default_timeout_s)
        args = msgspec.json.encode(_content(notice, self._workspace) | alerts.args)
        run = make_alert_run(notice.id, path, version, seconds, args)
        now_ns = time.time_ns()
        self._store.run(create_runs([run], iso_utc(now_ns), now_ns // _NS_PER_US))
        return self._settled(msgspec.structs.replace(notice, run=run.id), "runnable", None, now_ms)

    def _post(self, notice: Notice, alerts: Alerts, deployed: Deployed, now_ms: int) -> None:
        if alerts.webhook is None:
            self._settled(notice, "webhook", "no webhook is named any more", now_ms)
            return
        try:
            values = read_values(self._store, deployed, self._box)
            url, headers = values.resolve(alerts.webhook.url), values.resolve(alerts.webhook.headers)
        except SecretError:
            self.lacks_key = True
            self._settled(notice, "webhook", "a secret of the webhook cannot be opened without its key", now_ms)
            return
        except UnknownReference as error:
            self._settled(notice, "webhook", error.message, now_ms)
            return
        body = msgspec.json.encode({**_content(notice, self._workspace), "text": _text(notice)})
        self._posting = notice, Posting(str(url), {name: str(value) for name, value in headers.items()}, body)

    def _settled(self, notice: Notice, target: Target, error: str | None, now_ms: int) -> Notice:
        """Write down what came of telling this one: done, tried again later, or given up."""
        others = [each for each in notice.waits if each != target]
        if error is None:
            overcome = (notice.error or "").startswith(f"{target}:")
            after = msgspec.structs.replace(notice, waits=others, error=None if overcome else notice.error)
        else:
            attempts = notice.attempts + 1
            gives_up = target == "runnable" or attempts >= ATTEMPTS or notice.status == "test"
            wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (attempts - 1))
            again = {} if gives_up else {"retry_in_s": wait_s}
            emit("alert.undelivered", alert=notice.id, kind=notice.kind, target=target, reason=error,
                 attempt=attempts, **again)  # fmt: skip
            after = msgspec.structs.replace(
                notice, waits=others if gives_up else notice.waits, error=f"{target}: {error}", attempts=attempts,
                next_ms=0 if gives_up else now_ms + round(wait_s * 1000),
            )  # fmt: skip
        self._store.run(alerts_told(notice.id, encode(after)))
        return after


def _content(notice: Notice, workspace: str) -> dict[str, Any]:
    """What script and webhook are told."""
    return {
        "id": notice.id,
        "kind": notice.kind,
        "status": notice.status,
        "subjects": notice.subjects,
        "what": notice.what,
        "fix": notice.fix,
        "since": iso_ms(notice.since_ms),
        "at": iso_ms(notice.at_ms),
        "workspace": workspace,
    }


def _text(notice: Notice) -> str:
    """The line that chat services show of a webhook's `text`."""
    begun = {"active": "", "still": "still: ", "resolved": "over: ", "test": "test: "}[notice.status]
    return f"Headrace: {begun}{notice.what}" + (f" → {notice.fix}" if notice.fix else "")
