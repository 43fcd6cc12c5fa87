"""A claim, read: what is to be run for it, or why that cannot be."""

from __future__ import annotations

import msgspec

from shared.envelope import Envelope
from shared.errors import EnvelopeError, NewerEnvelope
from shared.runs import RunSpec, decode_job
from shared.scripts.worker import Claim
from worker.runners.base import RunErrorInfo


class Job(msgspec.Struct, frozen=True):
    """A claimed run. One without `spec` is not ours to execute; `problem` then says why. `message` is what made it."""

    claim: Claim
    spec: RunSpec | None = None
    message: Envelope | None = None
    problem: RunErrorInfo | None = None

    @property
    def version(self) -> str:
        """The version of the script or flow that it runs, '' where it runs none."""
        return self.spec.runnable_version if self.spec else ""

    @property
    def starts_alone(self) -> bool:
        """QoS 2: its start is recorded and awaited on its own, so that no other run's crash can interrupt it. A flow
        takes as long as its steps do.
        """
        return self.claim.run_id.startswith("q2-") or self.is_flow

    @property
    def is_flow(self) -> bool:
        """It runs a flow, not a script."""
        return self.spec is not None and self.spec.is_flow

    @property
    def attempt(self) -> int:
        """The number of the start that is to come, from 1."""
        return self.claim.attempts + 1


def read_job(claim: Claim) -> Job:
    """What a claim asks for. Raises NewerEnvelope: a newer release wrote it, leave it to a worker of that release."""
    try:
        spec = decode_job(claim.data)
        return Job(claim, spec, spec.message())
    except NewerEnvelope:
        raise
    except EnvelopeError as error:
        return Job(claim, problem=RunErrorInfo("InvalidJob", f"nothing was executed: {error.message}"))
