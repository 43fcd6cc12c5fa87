"""The verbs of alerts: what is wrong, who is told."""

from __future__ import annotations

from collections.abc import Mapping

from shared import keys
from shared.scripts.call import Arg, Call

ROLE = "alerts"
"""The task of looking after alerts (`role_hold`)."""


def alerts_record(
    process: str, records: Mapping[str, bytes], notices: Mapping[str, bytes], notices_max: int
) -> Call[bool]:
    """Replace all records and add notices; False: another process looks after alerts. May be repeated."""
    args: list[Arg] = [process, notices_max, len(records)]
    for key, blob in [*records.items(), *notices.items()]:
        args += (key, blob)
    names = [keys.role(ROLE), keys.ALERTS, keys.ALERTS_NOTICES]
    return Call("alerts_record", names, args, lambda reply: reply == 1)


def alerts_told(notice_id: str, blob: bytes, *, new: bool = False) -> Call[bool]:
    """Write a notice over, or (`new`) down; False: it is not there any more. May be repeated."""
    return Call("alerts_told", [keys.ALERTS_NOTICES], [notice_id, blob, int(new)], lambda reply: reply == 1)
