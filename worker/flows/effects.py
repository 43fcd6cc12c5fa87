"""What the interpreter of flows asks for, and what it is answered.

Each effect has a *key*, unique within a run, that tells where in the flow it stands: `a` is step a, `a~1` its second
attempt, `l/3/x` step x in iteration 3 of loop l, `b?stop` an expression of step b. An answer is for good: whoever has
recorded it under that key gives it again, and the interpreter, begun anew, comes to the same point.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from shared.definitions import Runnable
from shared.flow_records import Limit
from shared.openflow import Inputs, InputTransform
from shared.retry_policy import Retry


class Place(msgspec.Struct, frozen=True):
    """Where an expression stands: the id of its step ('' for the flow itself) and the field."""

    step: str
    field: str

    def __str__(self) -> str:
        return f"step {self.step}, {self.field}" if self.step else self.field


class Execute(msgspec.Struct, frozen=True):
    """Execute a version of a script. Answer: Done with its result, or Failed.

    `inputs` are worked out from `variables`, unless an earlier attempt has had them: then they are those recorded under
    `inputs_of`. A preprocessor (`wants_event`) gets the event instead. `timeout` None: as its runnable says.
    """

    key: str
    step: str
    runnable: Runnable
    inputs: Inputs
    variables: Mapping[str, Any]
    timeout: InputTransform | None = None
    inputs_of: str = ""
    wants_event: bool = False
    limit: Limit | None = None


class Allow(msgspec.Struct, frozen=True):
    """A step that consists of steps begins: how long may it take? Answer: Done with [seconds, the time when they are
    over (epoch ms)], or with None: as long as it takes; or Failed.
    """

    key: str
    step: str
    timeout: InputTransform
    variables: Mapping[str, Any]


class Turn(msgspec.Struct, frozen=True):
    """A loop that may have no end goes round once more. Answer: Done, or Failed where it must not."""

    key: str
    limit: Limit | None = None


class Evaluate(msgspec.Struct, frozen=True):
    """Work out a value. Answer: Done with it, or Failed."""

    key: str
    place: Place
    transform: InputTransform
    variables: Mapping[str, Any]


class Judge(msgspec.Struct, frozen=True):
    """Is an expression true, as JavaScript has it? Answer: Done with a bool, or Failed."""

    key: str
    place: Place
    expr: str
    variables: Mapping[str, Any]


class Choose(msgspec.Struct, frozen=True):
    """Which expression is the first to be true? Answer: Done with its index, None if none is, or Failed."""

    key: str
    place: Place
    exprs: Sequence[str]
    variables: Mapping[str, Any]


class Enter(msgspec.Struct, frozen=True):
    """Work out the inputs of a flow within the flow. Answer: Done with them, or Failed."""

    key: str
    step: str
    inputs: Inputs
    variables: Mapping[str, Any]


class Again(msgspec.Struct, frozen=True):
    """Something has failed under this key for good. Has somebody since asked to have it done again? Answer: a bool."""

    key: str


class Later(msgspec.Struct, frozen=True):
    """When is something that has failed to be tried again, after `made` retries? Answer: Done with seconds or None
    (not at all), or Failed where `retry_if` cannot be evaluated.
    """

    key: str
    step: str
    policy: Retry
    made: int
    variables: Mapping[str, Any]


class Wait(msgspec.Struct, frozen=True):
    """Let so many seconds pass. Answer: Done, or Failed where the time of a step around it ends before."""

    key: str
    seconds: float
    limit: Limit | None = None


class FanOut(msgspec.Struct, frozen=True):
    """Carry out parts of the flow side by side: of the step that stands at `container`, those with these numbers, each
    with its `flow_input.iter` (None for a branch). At most `parallelism` at once if it is not None.

    Answer: Done with a list of Done and Failed, in order, recorded under `<fan>/<number>`. What a part knows besides
    is `flow_input` and `results`.
    """

    key: str
    container: str
    fan: str
    parts: Sequence[tuple[int, Any]]
    parallelism: int | None
    flow_input: dict[str, Any]
    results: dict[str, Any]
    limit: Limit | None = None


class Entered(msgspec.Struct, frozen=True):
    """Told, not asked: a step that consists of steps begins, a flow within the flow with these `inputs`, a loop with
    these `items`. Answer: Done.
    """

    key: str
    inputs: dict[str, Any] | None = None
    items: list[Any] | None = None


class Left(msgspec.Struct, frozen=True):
    """Told, not asked: what runs no code of its own (a step that consists of steps, an iteration or branch of one, a
    step that passes something on) has come to this. Answer: Done.

    `of`: that is the result of what stands at this key. `parts`: it is the list of those of so many iterations or
    branches. `how`: it was `mocked`, or `skipped`.
    """

    key: str
    answer: Answer
    of: str = ""
    parts: int | None = None
    how: str = ""


Mark = Entered | Left
Effect = Execute | Evaluate | Judge | Choose | Enter | Again | Later | Wait | FanOut | Allow | Turn | Mark


class Done(msgspec.Struct, frozen=True):
    """It has been done, with this result."""

    result: Any = None


class Failed(msgspec.Struct, frozen=True):
    """It has failed: `error` has `name`, `message`, and others. `result` is what code has returned all the same.

    `final`: nothing in the flow may handle it. `limit`: nothing within the step with this key may, whose time is over.
    """

    error: dict[str, Any]
    result: Any = None
    final: bool = False
    limit: str = ""


Answer = Done | Failed
T = TypeVar("T")
Asking = Generator[Effect, Answer, T]


class Outcome(msgspec.Struct, frozen=True):
    """How a flow, or a part of one, has ended. `skipped`: it was stopped early and says that it does not count.

    `failed_at` is the key of what has failed, to be asked for again if the run is to go on.
    """

    ok: bool
    result: Any
    error: dict[str, Any] | None = None
    skipped: bool = False
    failed_at: str = ""
