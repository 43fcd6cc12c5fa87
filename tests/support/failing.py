"""Triggers with a retry policy and an error handler, deployed by hand; scripts that fail as often as they are told."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from textwrap import dedent
from typing import Any

import msgspec

from shared import keys
from shared.definitions import ErrorHandler, Runnable, Script, encode_definition
from shared.envelope import encode_envelope
from shared.retry_policy import Retry
from shared.runs import RunSpec, encode_job
from shared.scripts.dispatch import NewRun, Placement, place
from shared.store import Store
from tests.support.factories import NOW_ISO, NOW_MS, TRIGGER, HeldSession, make_envelope, make_trigger, read_entries

SCRIPT, HANDLER = "f/t/script", "f/t/on_error"
_sessions = count()


class Book:
    """What really ran, a line per execution, as the scripts wrote it."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "book"

    def failing(self, times: int, error: str = "ValueError('too hot')", before: str = "") -> str:
        """A script that fails so many times, and then succeeds; how often it has run is in the book."""
        return dedent(f"""
            import headrace

            def main(payload: bytes):
                book = {str(self._file)!r}
                with open(book, "a") as file:
                    file.write(headrace.run.id + "\\n")
                {before or "pass"}
                tries = open(book).read().split().count(headrace.run.id)
                print("try", tries)
                if tries <= {times}:
                    raise {error}
                return tries
            """)

    def handling(self, result: str = "None") -> str:
        """An error handler that writes down its arguments."""
        return dedent(f"""
            import json
            import headrace

            def main(error, path, is_flow, trigger_path, workspace_id, email, job_id, started_at, channel=None):
                with open({str(self._file)!r}, "a") as file:
                    file.write("handler:" + job_id + "\\n")
                given = dict(locals())
                given.pop("file")
                print(json.dumps(given))
                return {result}
            """)

    def executed(self, run_id: str) -> int:
        """How often the code of this run was begun."""
        return self._lines().count(run_id)

    def handled(self, run_id: str) -> int:
        """How often an error handler was called for it."""
        return self._lines().count(f"handler:{run_id}")

    def _lines(self) -> list[str]:
        return self._file.read_text().split() if self._file.exists() else []


def deploy_script(store: Store, path: str, source: str, **changes: Any) -> Runnable:
    """Put a script among the definitions."""
    script = Script(path, "python3", f"{path}.py", {f"{path}.py": source}, **changes)
    version, blob = encode_definition(script)
    store.command("HSET", keys.DEFINITIONS, version, blob)
    return Runnable(path, version, script.timeout_s or 60)


def deploy_trigger(
    store: Store, script: Runnable, retry: Retry | None = None, handler: Runnable | None = None, **args: Any
) -> str:
    """A trigger for this script; its version. `args` are those of the error handler."""
    trigger = make_trigger(
        runnable=script.path,
        runnables={each.path: each for each in (script, handler) if each},
        retry=retry,
        error_handler=ErrorHandler(handler.path, args=args) if handler else None,
    )
    version, blob = encode_definition(trigger)
    store.command("HSET", keys.DEFINITIONS, version, blob)
    return version


def queue(
    store: Store, script: Runnable, trigger_version: str, *run_ids: str, payload: bytes = b"go", handled: bool = False
) -> None:
    """Place runs of the script, each for a message that this version of the trigger admitted."""
    session = f"session{next(_sessions)}"
    envelopes = [
        make_envelope(qos=int(run_id[1]), payload=payload, trigger_version=trigger_version) for run_id in run_ids
    ]
    HeldSession(store, session, session).admit(*envelopes)
    placements = []
    for entry, run_id, message in zip(read_entries(store), run_ids, envelopes, strict=True):
        blob = encode_envelope(message)
        spec = RunSpec(TRIGGER, script.path, script.version, run_id[3:], {}, blob, is_flow=script.is_flow)
        run = NewRun(run_id, encode_job(spec), script.path, script.timeout_s, handled)
        placements.append(Placement(entry, TRIGGER, "run", [run]))
    store.run(place(placements, NOW_ISO, NOW_MS * 1000, 1000))


def handler_of(run_id: str) -> str:
    """The run of the error handler for a run."""
    return f"q2-{run_id[3:]}-eh"


def due_in_s(store: Store, run_id: str) -> float:
    """Seconds until a scheduled run is to be tried again, by Redis' clock."""
    score, (now_s, now_us) = store.commands([("ZSCORE", keys.RQ_SCHEDULED, run_id), ("TIME",)])
    return float(score) - (int(now_s) + int(now_us) / 1_000_000)


def printed(log: str) -> dict[str, Any]:
    """The arguments that `Book.handling` has printed."""
    return msgspec.json.decode(log, type=dict[str, Any])
