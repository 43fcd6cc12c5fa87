"""The workspace as scripts read and change it: variables, resources, the state that scripts keep, what can be run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from console.blocking import Blocking
from console.errors import not_found
from shared import keys
from shared.asking import Draft
from shared.config import Settings
from shared.definitions import File, Flow, Resource, Script, Variable
from shared.deploy import NOTHING, EditOptions, Editor, Edits, Pushed, edit
from shared.deployment import NUMBER, TABLE, Deployed, definition_command, read_all_async, read_deployed
from shared.deployments import Deployment
from shared.errors import HeadraceError, InternalError, SecretError, WorkspaceError
from shared.secrets import SecretBox
from shared.stamps import STAMPS, Stamps, read_stamps
from shared.store import AsyncStore
from shared.values import Values

STATE_TYPE = "state"
ANY_PATH = ""
"""No variable stands there: what is sealed for it opens nowhere by itself."""
GOING_S = 3600
"""How long something that is deleted may wait for what still needs it."""


class State(msgspec.Struct, frozen=True):
    """What a script keeps from run to run. `edited_at` is epoch milliseconds."""

    value: Any
    edited_at: int
    description: str = ""


class Current(msgspec.Struct, frozen=True):
    """A deployment, read. `identity` is its number, and that of the installation: Redis may be emptied meanwhile."""

    identity: tuple[bytes | None, ...]
    deployed: Deployed
    variables: Mapping[str, Variable]
    resources: Mapping[str, Resource]
    values: Values


class OldVersion(msgspec.Struct, frozen=True):
    """A version that was deployed, when (epoch ms), why, and by whom."""

    version: str
    at: int
    message: str
    author: str = ""


class Workspace:
    """Reads through Redis at each request, and keeps what belongs to the number of a deployment.

    A change is a deployment, as if the workspace folder had been pushed with one file changed. State is none: it is
    written at once, and the last one to write wins.
    """

    def __init__(self, store: AsyncStore, work: Blocking, settings: Settings, box: SecretBox) -> None:
        self.name = settings.workspace
        self._store = store
        self._work = work
        self._settings = settings
        self._box = box
        self._current: Current | None = None
        self._texts: tuple[tuple[bytes | None, ...], Mapping[str, str]] | None = None
        self._changes: tuple[tuple[bytes | None, ...], Stamps] | None = None
        self._editing = asyncio.Lock()

    def sealed(self, draft: Draft) -> Draft:
        """As it may go through Redis. Raises SecretError."""
        return draft.sealed(self._box)

    async def current(self) -> Current:
        """What is deployed now. Raises StoreUnavailable."""
        identity = tuple(await self._store.command("HMGET", keys.DEPLOYMENT, "id", "number"))
        if self._current is None or self._current.identity != identity:
            self._current = await self._read(identity)
        return self._current

    async def variable(self, path: str) -> Variable:
        """As deployed: a secret one is sealed. Raises Refusal (404)."""
        found = (await self.current()).variables.get(path)
        if found is None:
            raise not_found(f"Variable not found at path: {path}")
        return found

    async def resource(self, path: str) -> Resource:
        """A deployed resource, or else a state, as it was written. Raises Refusal (404)."""
        if (found := await self.find_resource(path)) is None:
            raise not_found(f"Resource not found at path: {path}")
        return found

    async def find_resource(self, path: str) -> Resource | None:
        """The same; None where there is none."""
        return (await self.current()).resources.get(path) or await self.state(path)

    async def state(self, path: str) -> Resource | None:
        """The state at this path as a resource."""
        blob = await self._store.command("HGET", keys.STATE, path)
        return None if blob is None else _as_resource(path, blob)

    async def resources(self) -> list[Resource]:
        """All, by path."""
        found = dict((await self.current()).resources)
        stored = await self._store.command("HGETALL", keys.STATE)
        states = {path.decode(): blob for path, blob in _pairs(stored)}
        found |= {path: _as_resource(path, blob) for path, blob in states.items() if path not in found}
        return [found[path] for path in sorted(found)]

    async def script(self, path: str) -> tuple[str, Script]:
        """The version that is deployed at a path, and what it is. Raises Refusal (404)."""
        version = (await self.current()).deployed.of_kind("script").get(path)
        if version is None:
            raise not_found(f"Script not found at path: {path}")
        return version, await self.script_version(version)

    async def flow(self, path: str) -> tuple[str, Flow]:
        """The version that is deployed, and the flow. Raises Refusal (404)."""
        version = (await self.current()).deployed.of_kind("flow").get(path)
        found = None if version is None else (await read_all_async(self._store, {path: version}, Flow)).get(path)
        if version is None or found is None:
            raise not_found(f"Flow not found at path: {path}")
        return version, found

    async def script_version(self, version: str) -> Script:
        """A script by its version, which may not be the newest. Raises Refusal (404)."""
        blob = await self._store.command(*definition_command(version))
        try:
            return msgspec.json.decode(blob or b"", type=Script)
        except msgspec.DecodeError as error:
            raise not_found(f"Script not found with hash: {version}") from error

    async def set_state(self, path: str, value: Any, description: str = "") -> None:
        """Keep this, whatever was there before."""
        state = State(value, time.time_ns() // 1_000_000, description)
        await self._store.command("HSET", keys.STATE, path, msgspec.json.encode(state))

    async def forget_state(self, path: str) -> None:
        """Nothing is kept there any more."""
        await self._store.command("HDEL", keys.STATE, path)

    async def texts(self) -> Mapping[str, str]:
        """The deployed files, by path; values of secrets are not in them."""
        current = await self.current()
        if self._texts is None or self._texts[0] != current.identity:
            files = await read_all_async(self._store, current.deployed.of_kind("file"), File)
            self._texts = current.identity, {path: file.text for path, file in files.items()}
        return self._texts[1]

    async def changes(self) -> Stamps:
        """Who has made and who has changed what is deployed, and when."""
        current = await self.current()
        if self._changes is None or self._changes[0] != current.identity:
            self._changes = current.identity, read_stamps(await self._store.commands(STAMPS))
        return self._changes[1]

    async def versions_of(self, name: str) -> list[OldVersion]:
        """What was deployed under `<kind>:<path>`, newest first, as far as the list of deployments goes back.

        What is deployed now is among them however long ago that was.
        """
        entries = await self._store.command("LRANGE", keys.DEPLOYMENTS, 0, -1)
        deployments = [msgspec.json.decode(entry, type=Deployment) for entry in entries]
        found = [
            OldVersion(each.changed[name], each.at, each.message, each.author)
            for each in deployments
            if name in each.changed
        ]
        newest, version = (await self.changes()).newest.get(name), (await self.current()).deployed.versions.get(name)
        if not found and newest is not None and version is not None:
            found.append(OldVersion(version, newest.at, newest.message, newest.author))
        return found

    async def edit(
        self,
        edits: Edits | Editor,
        author: str,
        message: str = "",
        renamed: Mapping[str, str] = NOTHING,
        *,
        by_run: bool = False,
    ) -> Pushed:
        """Deploy files that are changed, one change at a time; then what was to go and is needed no more goes as well.

        `renamed`: triggers that keep their session under another path, new path → old one. `by_run`: a run does it.

        Raises WorkspaceError, UserError (which an editor raises), SecretError, StoreUnavailable.
        """
        async with self._editing:
            options = EditOptions(renamed=renamed, by_run=by_run)
            pushed: Pushed = await self._work(edit, self._settings, edits, author, message, options)
            await self._let_go({name.removeprefix("file:") for name in pushed.plan.changed}, author)
        return pushed

    async def remove(self, files: Iterable[str], author: str, *, may_wait: bool) -> Pushed | None:
        """Deploy without these files. `may_wait`: where something needs them still, they go with it, within GOING_S,
        and None is given.

        Raises as `edit`; WorkspaceError only if they may not wait.
        """
        going = sorted(files)
        try:
            return await self.edit(dict.fromkeys(going), author)
        except WorkspaceError as error:
            if not may_wait:
                raise still_named(going, error) from error
            group = msgspec.json.encode(going)
            await self._store.commands([("SADD", keys.GOING, group), ("EXPIRE", keys.GOING, GOING_S)])
            return None

    async def _let_go(self, written: set[str], author: str) -> None:
        """Files that wait to go, unless they were written anew meanwhile: all of them, or those of which it is true."""
        groups = {blob: msgspec.json.decode(blob, type=list[str]) for blob in await self._members(keys.GOING)}
        back = [blob for blob, files in groups.items() if written & set(files)]
        waiting = [blob for blob in groups if blob not in back]
        tries = [waiting] if len(waiting) == 1 else [waiting, *([blob] for blob in waiting)]
        gone: list[bytes] = []
        for each in tries if waiting else ():
            files = [file for blob in each if blob not in gone for file in groups[blob]]
            with suppress(HeadraceError):  # the change itself is made; these wait on
                if files:
                    await self._work(edit, self._settings, dict.fromkeys(files), author, "")
                    gone += each
        if back or gone:
            await self._store.command("SREM", keys.GOING, *back, *gone)

    async def _members(self, key: str) -> list[bytes]:
        return list(await self._store.command("SMEMBERS", key))

    def opened(self, variable: Variable) -> str:
        """Its plain value. Raises SecretError."""
        return self._box.open(variable.path, variable.value) if variable.is_secret else variable.value

    def encrypted(self, text: str) -> str:
        """A text sealed for whatever variable it is given to, `already_encrypted`. Raises SecretError."""
        return self._box.seal(ANY_PATH, text)

    def decrypted(self, path: str, sealed: str) -> str:
        """The text that `encrypted` has sealed, or that is sealed for this path. Raises SecretError."""
        try:
            return self._box.open(ANY_PATH, sealed)
        except SecretError:
            return self._box.open(path, sealed)

    async def referring(self, arguments: bytes) -> bytes:
        """Arguments of a run, as JSON, that name a secret where they held it: the run gets it when it starts."""
        plain = msgspec.json.decode(arguments)
        try:
            referring = (await self.current()).values.referring(plain)
        except SecretError:  # what cannot be opened has not been handed out either
            return arguments
        return arguments if referring == plain else msgspec.json.encode(referring)

    async def _read(self, identity: tuple[bytes | None, ...]) -> Current:
        number, table = await self._store.commands([NUMBER, TABLE])
        deployed = read_deployed(number, table)
        variables = await read_all_async(self._store, deployed.of_kind("variable"), Variable)
        resources = await read_all_async(self._store, deployed.of_kind("resource"), Resource)
        return Current(identity, deployed, variables, resources, Values(variables, resources, self._box))


def still_named(files: Iterable[str], error: WorkspaceError) -> WorkspaceError:
    """What is wrong without these files, for somebody who wants to be rid of them."""
    problems = error.fields.get("problems")
    if not isinstance(problems, list):
        return error
    places = [f"{each.file}:{each.line} ({each.key})" if each.line else each.file for each in problems]
    what = f"{', '.join(files)} cannot be deleted: still named by {', '.join(places)}"
    return WorkspaceError(what, hint="change that first, or delete it", problems=problems)


def _as_resource(path: str, blob: bytes) -> Resource:
    try:
        state = msgspec.json.decode(blob, type=State)
    except msgspec.DecodeError as error:
        raise InternalError(f"the state at {path} cannot be read: {error}") from error
    return Resource(path, STATE_TYPE, state.value, state.description)


def _pairs(reply: Any) -> list[tuple[bytes, bytes]]:
    return list(reply.items()) if isinstance(reply, dict) else list(zip(reply[::2], reply[1::2], strict=True))
