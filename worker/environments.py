"""The environments of scripts, made beside the worker's loop: ahead of the first message, and when a run needs one."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread

from shared.definitions import Flow, Script
from shared.dependencies.environments import Environments
from shared.deployment import NUMBER, TABLE, read_all, read_deployed, read_number
from shared.errors import WorkspaceError
from shared.events import emit
from shared.store import Store
from worker.uplink import Uplink

REMOVE_EVERY_S = 6 * 3600.0
TOUCH_EVERY_S = 3600.0
FAILED_S = 30.0
"""So long no run tries again what has just failed."""

_Deployed = dict[str, Script]


class _Making:
    """An environment that a thread looks after. `path` or `error` is there as soon as `over` is set."""

    def __init__(self) -> None:
        self.over = Event()
        self.path: Path | None = None
        self.error: WorkspaceError | None = None
        self.at = 0.0
        """When it was over, or was last seen to be used."""

    @property
    def may_be_outdated(self) -> bool:
        """Whether to look again: what failed may go well now, and what is there has to be known as used."""
        age = time.monotonic() - self.at
        return self.over.is_set() and age > (FAILED_S if self.error else TOUCH_EVERY_S)


class ScriptEnvironments:
    """Makes environments in threads of their own, which end with the process: what they leave undone, another does."""

    def __init__(self, environments: Environments, uplink: Uplink) -> None:
        self._environments = environments
        self._uplink = uplink
        self._makings: dict[str, _Making] = {}
        self._ahead: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._number: int | None = None
        self._seen: frozenset[str] = frozenset()
        Thread(target=self._work_ahead, name="environments", daemon=True).start()

    def get(self, lock: str, runnable: str, wait_s: float) -> Path | None:
        """The folder with the packages of this lock; None while it is being made, which this call begins.

        Waits so long at most. Raises WorkspaceError when it cannot be made.
        """
        making = self._makings.get(lock)
        if making is None or making.may_be_outdated:
            making = self._makings[lock] = _Making()
            Thread(target=self._make, args=(making, lock, runnable), name="environment", daemon=True).start()
        if not (making.over.is_set() or making.over.wait(wait_s)):
            return None
        if making.error is not None:
            raise making.error
        return making.path

    def follow(self) -> None:
        """Make what newly deployed scripts need, in the background; to be called now and then."""
        answer = self._uplink.attempt(self._changed)
        for path, script in (answer or {}).items():
            if script.language == "python3" and script.lock:
                self._ahead.put(lambda lock=script.lock, path=path: self._prepare(lock, path))  # type: ignore[misc]

    def tidy(self) -> None:
        """Remove environments that nothing has used for long, in the background; to be called now and then.

        Those of deployed scripts are used.
        """
        self._number, self._seen = None, frozenset()
        self.follow()
        self._ahead.put(self._environments.remove_unused)

    def _changed(self, store: Store) -> _Deployed:
        """Scripts, and those that flows hold themselves, that were deployed since it was last asked for."""
        number = read_number(store.commands([NUMBER])[0])
        if number == self._number:
            return {}
        deployed = read_deployed(*store.commands([NUMBER, TABLE]))
        versions = deployed.of_kind("script")
        for path, flow in read_all(store, deployed.of_kind("flow"), Flow).items():
            versions |= {f"{path}/{step}": each.version for step, each in flow.own_code().items()}
        fresh = read_all(store, {path: each for path, each in versions.items() if each not in self._seen}, Script)
        self._number, self._seen = deployed.number, frozenset(versions.values())
        return fresh

    def _work_ahead(self) -> None:
        while True:
            self._ahead.get()()

    def _prepare(self, lock: str, runnable: str) -> None:
        making = _Making()
        self._make(making, lock, runnable)
        self._makings[lock] = making

    def _make(self, making: _Making, lock: str, runnable: str) -> None:
        began = time.monotonic()
        try:
            making.path = self._environments.prepare(lock)
        except WorkspaceError as error:
            making.error = error
            emit("environment.failed", runnable=runnable, error=error)
        else:
            emit("environment.made", runnable=runnable, duration_ms=round((time.monotonic() - began) * 1000))
        finally:
            making.at = time.monotonic()
            making.over.set()
