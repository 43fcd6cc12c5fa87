"""`retention`: how many runs of a trigger are kept, and for how long; its own, or that of all in `headrace.yaml`."""

from __future__ import annotations

from shared.definitions import Retention
from shared.workspace.yaml_lines import Table

MAX_AGE_S = 10 * 366 * 24 * 3600
_MAX_RUNS = 1_000_000_000


def read_retention(table: Table) -> Retention | None:
    """The table `retention`; None where it is not given."""
    if (retention := table.table("retention")) is None:
        return None
    runs_max = retention.integer("runs_max", 0, _MAX_RUNS)
    runs_max_age_s = retention.integer("runs_max_age_s", 1, MAX_AGE_S)
    retention.close()
    if runs_max is None and runs_max_age_s is None:
        retention.warn("runs_max", "nothing is bounded", "write runs_max or runs_max_age_s, or leave retention out")
    return Retention(runs_max, runs_max_age_s)
