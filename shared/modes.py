"""Changing the mode of triggers: a deployment like any other, of their files with another `mode:` in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

import msgspec

from shared.config import Settings
from shared.definitions import Mode, Trigger
from shared.deploy import edit, read_all, read_now
from shared.errors import NotThere, UserError
from shared.store import Store
from shared.workspace.layout import TRIGGER
from shared.workspace.mode_line import with_mode


class ModeChange(msgspec.Struct, frozen=True):
    """What became of a trigger's mode. `deployment` is the one that is current now."""

    trigger: str
    was: Mode
    mode: Mode
    session: str
    deployment: int


def read_triggers(store: Store, paths: Sequence[str]) -> dict[str, Trigger]:
    """These triggers as they are deployed, all if none is named. Raises NotThere for one that is not."""
    triggers = read_all(store, read_now(store).of_kind("trigger"), Trigger)
    for path in paths:
        if path not in triggers:
            near = get_close_matches(path, triggers, 1)
            hint = f"did you mean {near[0]}?" if near else "headrace trigger list shows those that are"
            raise NotThere(f"no trigger {path} is deployed", hint=hint, trigger=path)
    return {path: triggers[path] for path in dict.fromkeys(paths)} if paths else triggers


def set_modes(
    store: Store, settings: Settings, paths: Sequence[str], mode: Mode, *, author: str, message: str
) -> list[ModeChange]:
    """Give these triggers a mode, all in one deployment; without a difference nothing is deployed.

    Raises UserError (not deployed, or not from a file), WorkspaceError (what is deployed cannot be deployed any more),
    StoreUnavailable.
    """
    before = read_triggers(store, paths)
    changing = [path for path, trigger in before.items() if trigger.mode != mode]

    def change(texts: Mapping[str, str]) -> dict[str, str | None]:
        return {path + TRIGGER: with_mode(path + TRIGGER, _text(texts, path), mode) for path in changing}

    number = edit(store, settings, change, author, message).number if changing else read_now(store).number
    return [ModeChange(path, trigger.mode, mode, trigger.session, number) for path, trigger in before.items()]


def _text(texts: Mapping[str, str], path: str) -> str:
    text = texts.get(path + TRIGGER)
    if text is None:
        hint = "push the workspace folder once: its files are then kept with what is deployed"
        raise UserError(f"the file of trigger {path} is not deployed", hint=hint, trigger=path)
    return text
