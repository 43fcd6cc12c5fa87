"""`python -m bench [QUESTION ...]`: measures, prints one table. All but `memory` by default."""

from __future__ import annotations

import argparse
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from bench.lab import Lab
from bench.machine import busy_percent, describe
from bench.table import Missing, Row, render

QUESTIONS = ("admit", "place", "run", "flow", "end_to_end", "push", "console", "idle", "retention", "crash")
LONG = ("memory",)


def main() -> int:
    """Ask the questions in order; 1 when a target is missed or a row is left out."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="How fast is it, and beside what?")
    parser.add_argument("question", nargs="*", choices=[*QUESTIONS, *LONG, []], help="all but memory if none is given")
    parser.add_argument("--rounds", type=int, default=3, help="how often each figure is measured (3)")
    arguments = parser.parse_args()
    print(describe(), flush=True)
    busy = [busy_percent()]
    rows: list[Row | Missing] = []
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as root:
        lab = Lab(Path(root), arguments.rounds)
        for question in arguments.question or QUESTIONS:
            rows += import_module(f"bench.{question}").measure(lab)
            busy.append(busy_percent())
    print(f"beside: the cores were {', '.join(f'{value:.0f} %' for value in busy)} busy before, between and after")
    print(f"\n{render(rows)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
