"""Which findings people are told of, and when: pure.

| what is remembered | it is found | it is not found |
|---|---|---|
| nothing | remembered, and told once it has lasted as long as its kind asks for | – |
| not told yet | told once it has lasted, unless the same was told within `quiet_s` | forgotten once that time is over |
| told | told again every `repeat_s` | told as resolved once it has stayed away for SETTLE_MS |

A backlog is told when it is growing: when its oldest message is older than it was before. New dead letters are events,
not a state: they are told at once, and what comes within `quiet_s` of that is told together after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from shared.alerts.model import Finding, Notice, Record, Records, Status, named
from shared.workspace.alerts import AlertKind, Alerts

SETTLE_MS: Final = 30_000
BASELINE: Final = "dead_letters:"
"""Says that dead letters have been counted before; those that there were then are nobody's news."""
_MS: Final = 1000
_DEAD: Final = "dead_letters"
_DEAD_FIX: Final = "headrace dead list shows them; mend what is wrong, then headrace dead retry"


class Decided(msgspec.Struct, frozen=True):
    """What is remembered from now on, and what is told."""

    records: Records
    notices: list[Notice]


def decide(
    records: Mapping[str, Record], found: Iterable[Finding], dead: Mapping[str, int], alerts: Alerts, now_ms: int
) -> Decided:
    """One look. `dead`: how many dead letters each trigger has ever had."""
    present = {finding.key: finding for finding in found if finding.kind in alerts.kinds}
    kept: Records = {}
    told: list[tuple[Status, Record]] = []
    for key in {**{key: None for key in records if not key.startswith(BASELINE)}, **dict.fromkeys(present)}:
        after, status = _next(records.get(key), present.get(key), alerts, now_ms)
        if after is not None:
            kept[key] = after
            if status is not None:
                told.append((status, after))
    letters, news = _dead_letters(records, dead, alerts, now_ms)
    notices = [*_notices(told, now_ms), *news]
    numbered = [
        msgspec.structs.replace(notice, id=f"{now_ms}-{index}", waits=alerts.targets)
        for index, notice in enumerate(notices)
        if notice.status != "resolved" or alerts.resolved
    ]
    return Decided(kept | letters, numbered)


def _next(
    record: Record | None, finding: Finding | None, alerts: Alerts, now_ms: int
) -> tuple[Record | None, Status | None]:
    """What is remembered after this look, and whether it is told."""
    if finding is None:
        return (None, None) if record is None else _absent(record, alerts, now_ms)
    if record is None:
        record = Record(finding.kind, finding.subject, finding.what, finding.fix, now_ms)
        grows = finding.kind != "backlog"
    else:
        grows = finding.kind != "backlog" or finding.level > record.level
        if record.clear_ms and not record.open:  # it had gone, and comes back
            record = msgspec.structs.replace(record, since_ms=now_ms)
            grows = finding.kind != "backlog"
    now = msgspec.structs.replace(record, what=finding.what, fix=finding.fix, level=finding.level, clear_ms=0)
    if now.open:
        if alerts.repeat_s and now_ms - now.told_ms >= alerts.repeat_s * _MS:
            return msgspec.structs.replace(now, told_ms=now_ms), "still"
        return now, None
    lasted = now_ms - now.since_ms >= _patience_s(finding.kind, alerts) * _MS
    if lasted and grows and not _is_quiet(now, alerts, now_ms):
        return msgspec.structs.replace(now, told_ms=now_ms, open=True), "active"
    return now, None


def _absent(record: Record, alerts: Alerts, now_ms: int) -> tuple[Record | None, Status | None]:
    gone = msgspec.structs.replace(record, clear_ms=record.clear_ms or now_ms)
    if gone.open:
        if now_ms - gone.clear_ms >= SETTLE_MS:
            return msgspec.structs.replace(gone, open=False), "resolved"
        return gone, None
    return (gone, None) if _is_quiet(gone, alerts, now_ms) else (None, None)


def _is_quiet(record: Record, alerts: Alerts, now_ms: int) -> bool:
    return record.told_ms > 0 and now_ms - record.told_ms < alerts.quiet_s * _MS


def _patience_s(kind: AlertKind, alerts: Alerts) -> int:
    return {"session": alerts.session_after_s, "stalled": alerts.stalled_after_s}.get(kind, 0)


def _dead_letters(
    records: Mapping[str, Record], dead: Mapping[str, int], alerts: Alerts, now_ms: int
) -> tuple[Records, list[Notice]]:
    """Counts that are told, and the notices. Without a baseline all that there are count as told."""
    known = {key: record for key, record in records.items() if key.startswith(BASELINE)}
    is_first = BASELINE not in known
    kept = {**known, BASELINE: Record(_DEAD, "", "", "", now_ms)}
    news: list[tuple[Record, int]] = []
    for trigger, count in dead.items():
        key = BASELINE + trigger
        before = known.get(key) or Record(_DEAD, trigger, "", "", now_ms, level=count if is_first else 0)
        new = count - before.level
        if new > 0 and _DEAD in alerts.kinds and not _is_quiet(before, alerts, now_ms):
            news.append((before, new))
            before = msgspec.structs.replace(before, told_ms=now_ms, level=count)
        elif new < 0 or _DEAD not in alerts.kinds:
            before = msgspec.structs.replace(before, level=count)
        kept[key] = before
    if not news:
        return kept, []
    each = [f"{new} of {record.subject}" for record, new in news]
    what = f"{sum(new for _, new in news)} new dead letters: {named(each)}"
    since = min(record.told_ms or now_ms for record, _ in news)
    subjects = [record.subject for record, _ in news]
    return kept, [Notice("", _DEAD, "active", subjects, what, _DEAD_FIX, since, now_ms)]


def _notices(told: Iterable[tuple[Status, Record]], now_ms: int) -> list[Notice]:
    """One for each kind of news: hundreds of sessions that a broker refuses are one message."""
    alike: dict[tuple[AlertKind, Status], list[Record]] = {}
    for status, record in told:
        alike.setdefault((record.kind, status), []).append(record)
    return [
        Notice(
            "", kind, status, [each for record in group if (each := record.subject)], "; ".join(_whats(group)),
            "" if status == "resolved" else group[0].fix, min(record.since_ms for record in group), now_ms,
        )
        for (kind, status), group in alike.items()
    ]  # fmt: skip


def _whats(group: list[Record]) -> list[str]:
    """What is wrong, said once where it is the same of many."""
    said: dict[str, list[str]] = {}
    for record in group:
        said.setdefault(record.what, []).append(record.subject)
    return [f"{named(subjects)}: {what}" if any(subjects) else what for what, subjects in said.items()]
