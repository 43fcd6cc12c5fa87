"""The child's loop: a frame in, the user's function, a frame out, in the order of the frames.

An answer is sent before the next run begins, so that the next run's crash cannot take it along.
"""

from __future__ import annotations

import atexit
import faulthandler
import importlib.util
import json
import os
import socket
import struct
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol

from . import binding, capture, isolation, outcome
from .surroundings import Surroundings

_LENGTHS = struct.Struct("<II")
_RECEIVE = 65536  # larger buffers would be mapped and unmapped by malloc at each read
_NOTHING: dict[str, str] = {}

Enter = Callable[["dict[str, Any] | None"], "list[dict[str, Any]]"]
"""Takes the context of the run that begins, None when it has ended; gives what was published since."""


class Executable(Protocol):
    """A script that is loaded. `root` is the folder that it lies in."""

    root: str

    def execute(self, call: dict[str, Any], body: bytes, answer: dict[str, Any]) -> Any:
        """Execute one run; what it returned. What is to be answered besides is noted in the answer."""

    def note(self, result: Any, answer: dict[str, Any]) -> bytes:
        """Encode a result that is not None; what it declares is noted in the answer."""

    def streamed(self, answer: dict[str, Any]) -> bytes:
        """The result of a run without one that is in its log; b"" where there is none."""


LoadScript = Callable[["dict[str, Any]", capture.RunArea], Executable]


class NoMain(outcome.ScriptFault):
    """The script defines no function called main."""


class NoPreprocessor(outcome.ScriptFault):
    """The deployment says that the script has a preprocessor, and it defines none."""


def serve(settings: dict[str, Any], enter: Enter, load_script: LoadScript | None = None) -> None:
    """Load the script (in Python unless `load_script` says otherwise) and answer frames until the parent closes the
    socket; then exit handlers run. Never returns.
    """
    for name in ("socket", "area", "raw"):
        os.set_inheritable(settings[name], False)  # noqa: FBT003 - takes no keyword
    channel = Channel(settings["socket"])
    area = capture.RunArea(settings["area"])
    log = Log(area, capture.RawPipe(settings["raw"]))
    faulthandler.enable()
    log.install()
    try:
        script = (load_script or load_python)(settings, area)
    except BaseException as error:  # noqa: BLE001 - sys.exit() at import is the script's failure too
        failure: dict[str, Any] = {"ready": False, "error": outcome.describe(error, settings["root"])}
        log.take(failure)
        channel.answer(failure, b"")
        os._exit(1)
    channel.answer({"ready": True, "pid": os.getpid()}, b"")
    Session(channel, script, log, enter).serve()
    log.install()
    atexit._run_exitfuncs()  # noqa: SLF001 - an orderly exit would also wait for the script's threads
    os._exit(0)


def load_python(settings: dict[str, Any], _area: capture.RunArea) -> Script:
    """A script in Python, which runs in this process."""
    isolation.limit_memory(settings["memory_bytes"])
    return Script(load(settings["entry"], settings["root"]), settings)


def load(entry: str, root: str) -> ModuleType:
    """Import the script under the name that other modules of the workspace know it by."""
    name = os.path.relpath(entry, root).removesuffix(".py").replace(os.sep, ".")
    if name in sys.modules:  # a script called json.py
        name = "headrace_script"
    spec = importlib.util.spec_from_file_location(name, entry)
    assert spec is not None and spec.loader is not None  # noqa: PT018, S101 - there is a loader for *.py
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


class Script:
    """The user's functions with their parameters bound, and how their results are encoded."""

    def __init__(self, module: ModuleType, settings: dict[str, Any]) -> None:
        name = settings["function"]
        main = getattr(module, name, None)
        if not callable(main):
            raise NoMain(f"the script defines no function {name}: add `def {name}(payload): ...`")
        self.root: str = settings["root"]
        self._limit: int = settings["max_result_bytes"]
        self._mains = {form: binding.payload_call(main, form) for form in binding.FORMS}
        self._main_with = binding.arguments_call(main)
        self._main_after = binding.arguments_call(main, converts=False)
        preprocessor = getattr(module, "preprocessor", None)
        self._preprocessor = binding.event_call(preprocessor) if callable(preprocessor) else None
        self._warning = binding.not_given(main)

    def execute(self, call: dict[str, Any], body: bytes, answer: dict[str, Any]) -> Any:
        """Call main, and the preprocessor before it where the call has an event; what main returned."""
        if (event := call["event"]) is not None:
            return self._preprocessed(event, body, answer)
        form = call.get("form", "windmill")
        if form == "arguments":
            return self._main_with(binding.read_arguments(body))
        if self._warning:
            print(self._warning, file=sys.stderr)  # noqa: T201 - the run's log
            self._warning = ""
        return self._mains[form](body)

    def _preprocessed(self, event: dict[str, Any], payload: bytes, answer: dict[str, Any]) -> Any:
        """Run the preprocessor, note main's arguments in the answer, run main."""
        if self._preprocessor is None:
            raise NoPreprocessor("the script defines no function preprocessor: add it, or deploy the script again")
        arguments = outcome.settle(self._preprocessor(event, payload))
        if not isinstance(arguments, dict):
            raise TypeError(
                f"preprocessor returned {type(arguments).__name__}: it must return a dict of main's arguments"
            )
        answer["args"] = outcome.to_json(arguments, self._limit)
        return self._main_after(arguments)

    def note(self, result: Any, answer: dict[str, Any]) -> bytes:
        """Settle a result, note in the answer what it declares, encode it."""
        return outcome.noted(outcome.settle(result), answer, self._limit)

    def streamed(self, answer: dict[str, Any]) -> bytes:
        """The result that a script which returned nothing has printed instead; its lines leave the log."""
        result, log = outcome.streamed(answer["log"])
        if result is None:
            return b""
        answer["log"] = log
        try:
            return outcome.stream_json(result, self._limit, answer["dropped"]).encode("utf-8", "replace")
        except outcome.ResultTooLarge as error:
            answer["ok"], answer["error"] = False, outcome.describe(error, self.root)
            return b""


class Log:
    """The log of the run that executes."""

    def __init__(self, area: capture.RunArea, pipe: capture.RawPipe) -> None:
        self._area = area
        self._pipe = pipe
        self._streams = capture.text_stream(area, 1), capture.text_stream(area, 2)

    def install(self) -> None:
        """Make print() write here, also after a script has put something else there."""
        sys.stdout, sys.stderr = self._streams

    def begin(self) -> None:
        """A run begins."""
        self._area.begin()
        self.install()

    def take(self, answer: dict[str, Any]) -> None:
        """Put into an answer what was written: nothing when nothing was."""
        if raw := self._pipe.read():
            answer["raw"] = raw.decode("latin-1")
        if self._area.used:
            answer["log"], answer["dropped"] = self._area.read()

    def clear(self) -> None:
        """Start the next run's log."""
        if self._area.used:
            self._area.clear()


class Channel:
    """The socket to the parent."""

    def __init__(self, fd: int) -> None:
        self._socket = socket.socket(fileno=fd)
        self.receive = self._socket.recv
        self._send: Callable[[bytes], None] = self._socket.sendall
        # A fork of this process must neither answer for it nor hold the socket open after its death.
        os.register_at_fork(after_in_child=self._leave)

    def answer(self, head: dict[str, Any], body: bytes) -> None:
        """Send one frame."""
        if len(head) == 1 and "id" in head:  # a run that went well and said nothing
            text = b'{"id":"%b"}' % head["id"].encode()
        else:
            text = outcome.encode(head).encode("utf-8", "replace")
        self._send(_LENGTHS.pack(len(text), len(body)) + text + body)

    def _leave(self) -> None:
        self._socket.close()
        self._send = self._refuse

    @staticmethod
    def _refuse(_data: bytes) -> None:
        os._exit(0)


class Session:
    """What the runs of a child have in common."""

    def __init__(self, channel: Channel, script: Executable, log: Log, enter: Enter) -> None:
        self._channel = channel
        self._script = script
        self._log = log
        self._enter = enter
        self._surroundings = Surroundings()

    def serve(self) -> None:
        """Answer every frame; returns when the parent has closed the socket."""
        read = json.decoder.JSONDecoder().scan_once  # type: ignore[attr-defined]  # what json.loads() calls
        buffer = bytearray()
        while received := self._channel.receive(_RECEIVE):
            buffer += received
            start = 0
            while len(buffer) - start >= _LENGTHS.size:
                head, body = _LENGTHS.unpack_from(buffer, start)
                cut = start + _LENGTHS.size + head
                if len(buffer) < cut + body:
                    break
                call = read(str(buffer[start + _LENGTHS.size : cut], "utf-8"), 0)[0]
                self._run(call, bytes(buffer[cut : cut + body]))
                start = cut + body
            del buffer[:start]

    def _run(self, call: dict[str, Any], payload: bytes) -> None:
        """Execute one run and send its answer."""
        log, script = self._log, self._script
        log.begin()
        self._surroundings.enter(call.get("environment", _NOTHING))
        context = call["context"]
        context["id"] = call["id"]
        self._enter(context)
        answer: dict[str, Any] = {"id": call["id"]}
        body = b""
        try:
            result = script.execute(call, payload, answer)
            if result is not None:
                body = script.note(result, answer)
        except BaseException as error:  # noqa: BLE001 - sys.exit() and KeyboardInterrupt are the script's failures too
            answer["ok"], answer["error"] = False, outcome.describe(error, script.root)
            body = b""
        if messages := self._enter(None):
            answer["messages"] = messages
        log.take(answer)
        if not body and "log" in answer and "error" not in answer:
            body = script.streamed(answer)
        self._channel.answer(answer, body)
        log.clear()
