"""The program of the engine's process: evaluates one JavaScript expression after another.

Run by file name, with this package out of its reach. Frames come on stdin and are answered on stdout, one at a time;
it ends when stdin does. No function of ours is in JavaScript's reach, so there is nothing to do input or output with.

QuickJS counts processor time, and looks at it only between its own steps: what hangs inside a step (a join of a
thousand million elements) is ended, with the process, by the kernel's timer.
"""

from __future__ import annotations

import resource
import signal
import struct
import sys
from typing import Any, BinaryIO

REQUEST = struct.Struct("<BIIdQ")
"""What to do; bytes of source and of variables (JSON); limits: s, bytes."""
COMPILE, CALL, CALL_PURE = range(3)
"""A pure function leaves its world as it was: all of them share one."""
REPLY = struct.Struct("<?I")
"""Whether it went well; bytes of the result (JSON) or of the error's text."""

STACK_BYTES = 1 << 20
KEPT_FUNCTIONS = 256
BYTES_PER_S = 10_000_000
"""Reading large variables is not the expression's doing: the kernel's timer waits for it at this rate."""

# Its line is 1, so that a position on a later line is one in the expression. What the expression gives is made JSON
# with what there was before the expression could touch it.
FINISH = """((stringify, P, E, apply, then) => {
  let settled;
  const text = (value) => {
    const kind = typeof value;
    if (kind === 'function' || kind === 'symbol') throw new E('it gives a ' + kind);
    return stringify(value) ?? 'null';
  };
  return (call, variables) => {
    settled = undefined;
    const value = call(variables);
    if (!(value instanceof P)) return text(value);
    const failed = (error) => { settled = [undefined, error]; };
    apply(then, value, [(got) => { try { settled = [text(got)]; } catch (error) { failed(error); } }, failed]);
    return () => {
      if (settled === undefined) throw new E('it waits for what never comes');
      if (settled.length > 1) throw settled[1];
      return settled[0];
    };
  };
})(JSON.stringify, Promise, TypeError, Reflect.apply, Promise.prototype.then)""".replace("\n", " ")


class World:
    """A new world of JavaScript. What needs no world of its own shares one, as long as nothing goes wrong in it."""

    def __init__(self) -> None:
        import quickjs  # noqa: PLC0415 - not in the process that starts this one and shares its frames

        self._context = quickjs.Context()
        self._context.set_max_stack_size(STACK_BYTES)
        self._finish = self._context.eval(FINISH)
        self._functions: dict[str, Any] = {}

    def limit(self, time_s: float, memory: int) -> None:
        """Limits of what comes next: seconds of processor time, bytes in all."""
        self._context.set_time_limit(time_s)
        self._context.set_memory_limit(memory)

    def compile(self, source: str) -> Any:
        """The function that the source is."""
        function = self._functions.get(source)
        if function is None:
            if len(self._functions) >= KEPT_FUNCTIONS:
                self._functions.clear()
            self._functions[source] = function = self._context.eval(source)
        return function

    def call(self, source: str, variables: str) -> bytes:
        """What the function gives, as JSON."""
        result = self._finish(self.compile(source), self._context.parse_json(variables))
        if not isinstance(result, str):  # a promise: once nothing more is to be done, it is settled or never will be
            while self._context.execute_pending_job():
                pass
            result = result()
        text: str = result
        return text.encode()


def main() -> None:
    """Answer until stdin ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    requests, replies = sys.stdin.buffer, sys.stdout.buffer
    shared, own = World(), World()
    while len(head := requests.read(REQUEST.size)) == REQUEST.size:
        action, source_bytes, variables_bytes, time_s, memory = REQUEST.unpack(head)
        source = requests.read(source_bytes).decode()
        variables = requests.read(variables_bytes).decode()
        world = shared if action == CALL_PURE else own
        signal.setitimer(signal.ITIMER_PROF, 3 * time_s + (source_bytes + variables_bytes) / BYTES_PER_S)
        try:
            world.limit(time_s, memory + 2 * variables_bytes)
            if action == COMPILE:
                world.compile(source)
            ok, text = True, b"" if action == COMPILE else world.call(source, variables)
        except Exception as error:  # noqa: BLE001 - whatever an expression brings about is an answer
            ok, text = False, str(error).encode(errors="replace")
        signal.setitimer(signal.ITIMER_PROF, 0)
        _reply(replies, ok=ok, text=text)
        if action != CALL_PURE:
            own = World()  # made while nobody waits
        elif not ok:
            shared = World()


def _reply(replies: BinaryIO, *, ok: bool, text: bytes) -> None:
    replies.write(REPLY.pack(ok, len(text)))
    replies.write(text)
    replies.flush()


if __name__ == "__main__":
    main()
