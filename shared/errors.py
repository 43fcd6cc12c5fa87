"""Errors: one base, and three kinds that say who can mend it.

`UserError` is ours to explain and the user's to fix, `PeerError` is a broker's or a client's doing,
`InternalError` is a defect of Headrace. Every error carries `fields` for the log and a `hint` that says what to do.
"""

from __future__ import annotations


class HeadraceError(Exception):
    """Base of all errors that Headrace raises on purpose."""

    exit_status = 1

    def __init__(self, message: str, *, hint: str = "", **fields: object) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.fields = fields

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class UserError(HeadraceError):
    """Something the user wrote or asked for cannot be done as it stands."""


class Overtaken(HeadraceError):
    """Others change the same all the time, and what was asked for has not come about."""


class NotThere(UserError):
    """What is asked for by its name does not exist."""


class ConfigError(UserError):
    """A setting is unknown, of the wrong type or out of range."""

    exit_status = 2


class WorkspaceError(UserError):
    """A file of the workspace folder is wrong; `fields` hold file, line and key."""


class SecretError(UserError):
    """A secret cannot be sealed or opened: no key, a key that others may read, another key, a damaged text."""


class UnknownReference(UserError):
    """A `$var:` or `$res:` names what is not there, or leads in a circle; `fields` hold path and where it stands."""


class TopicError(UserError):
    """A topic or topic filter breaks the rules of MQTT 5 §4.7."""


class PeerError(HeadraceError):
    """The other side of a connection broke the protocol or refused us."""


class EnvelopeError(HeadraceError):
    """Bytes in the inbox are not an envelope of this version."""


class NewerEnvelope(EnvelopeError):
    """The envelope was written by a newer release: stop and let the upgrade finish."""


class StoreUnavailable(HeadraceError):
    """Redis could not be reached, or the reply was lost. The request may or may not have been carried out."""


class CallGap(StoreUnavailable):
    """An earlier numbered call of a session was not carried out: nothing may overtake it, repeat from there."""


class LeaseLost(HeadraceError):
    """Another process holds the lease: nothing more may be written under the old fencing token."""


class InternalError(HeadraceError):
    """A state that the code says cannot happen."""


class ScriptError(InternalError):
    """A Lua verb failed inside Redis."""


class ExpressionError(UserError):
    """An expression in JavaScript is not one, or fails on what it was given; `fields` say where."""
