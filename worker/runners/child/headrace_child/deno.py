"""Scripts in TypeScript and JavaScript: one Deno process stays warm and executes run after run.

It is spoken to over a Unix socket, in lines of JSON; `deno_child.js` is its side of it. What the code prints goes past
this process, to descriptors 1 and 2.
"""
# ruff: noqa: PTH108, PTH123 - pathlib would take longer to import than everything else together

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import signal
import socket
from collections.abc import Mapping
from typing import Any, NoReturn

from . import binding, keeper, outcome, program
from .capture import RunArea

# In the scratch folder, which both processes work in: the path of a socket may not be long.
_SOCKET = "deno.sock"
_IMPORT_MAP = "deno.imports.json"
_RECEIVE = 262144
_TOLD = ("entry", "root", "function", "parameters", "event_parameters", "clients", "max_result_bytes")


class LoadFault(outcome.ScriptFault):
    """Deno ended while it loaded the script."""


class DenoScript:
    """One script in one Deno, which has loaded it. Raises what the script threw at that, and LoadFault.

    A Deno that ends later takes this process along, in the same way: nobody can tell how far the script had come.
    """

    def __init__(self, settings: Mapping[str, Any], _area: RunArea) -> None:
        self.root: str = settings["root"]
        self._limit: int = settings["max_result_bytes"]
        self._event_names: list[str] = settings["event_parameters"]
        self._loaded = False
        self._busy = True
        self._socket = self._start(settings)
        said = self._ask({name: settings[name] for name in _TOLD})
        if "error" in said:
            raise outcome.Told(said["error"])
        self._loaded = True
        self._busy = False
        for name in (_SOCKET, _IMPORT_MAP):
            os.unlink(name)
        signal.signal(signal.SIGCHLD, self._on_end)
        atexit.register(self._close)

    def execute(self, call: dict[str, Any], body: bytes, answer: dict[str, Any]) -> Any:
        """Have Deno call the script; what `main` returned. Raises what it threw."""
        request: dict[str, Any] = {"run": call["context"], "environment": call.get("environment", {})}
        form = call.get("form", "windmill")
        if (event := call["event"]) is not None:
            request["event"] = binding.event_values(self._event_names, event, body)
        elif form == "arguments":
            request["args"] = binding.read_arguments(body)
        else:
            request["args"] = {"payload": binding.payload_value(body, form)}
        self._busy = True
        said = self._ask(request)
        self._busy = False
        if "messages" in said:
            answer["messages"] = said["messages"]
        if "args" in said:
            answer["args"] = outcome.to_json(said["args"], self._limit)
        if "error" in said:
            raise outcome.Told(said["error"])
        return said.get("result")

    def note(self, result: Any, answer: dict[str, Any]) -> bytes:
        """Note in the answer what a result declares, and encode it."""
        return outcome.noted(result, answer, self._limit)

    def streamed(self, _answer: dict[str, Any]) -> bytes:
        """What the code prints is not seen here: nothing is streamed."""
        return b""

    def _start(self, settings: Mapping[str, Any]) -> socket.socket:
        """Start Deno and wait until it has connected."""
        with open(_IMPORT_MAP, "x", encoding="utf-8") as file:
            json.dump({"imports": settings["imports"]}, file)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(_SOCKET)
            listener.listen(1)
            command = [*settings["command"], f"--import-map={_IMPORT_MAP}", settings["harness"], _SOCKET]
            self._deno = os.posix_spawn(command[0], command, os.environ, setsigdef=program.RESTORED)
            ended = os.pidfd_open(self._deno)
            ready = select.select([listener.fileno(), ended], [], [])[0]
            os.close(ended)
            if listener.fileno() not in ready:
                self._die()
            return listener.accept()[0]

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a line; the line that answers it."""
        received = bytearray()
        try:
            self._socket.sendall(outcome.encode(request).encode("utf-8", "replace") + b"\n")
            while not received.endswith(b"\n"):
                data = self._socket.recv(_RECEIVE)
                received += data
                if not data:
                    self._die()
        except ConnectionError:
            self._die()
        answer: dict[str, Any] = json.loads(received)
        return answer

    def _on_end(self, _number: int, _frame: object) -> None:
        if not self._busy:
            self._die()

    def _die(self) -> NoReturn:
        """End as Deno has ended."""
        returncode = os.waitstatus_to_exitcode(os.waitpid(self._deno, 0)[1])
        if returncode >= 0 and not self._loaded:
            raise LoadFault(f"deno ended with exit status {returncode} while it loaded the script: see the log")
        keeper.end_like(returncode)

    def _close(self) -> None:
        """Deno ends when it is no longer spoken to."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._socket.close()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self._deno, 0)
