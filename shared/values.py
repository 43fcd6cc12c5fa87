"""What variables and resources are worth: secrets opened, `$var:` and `$res:` put in place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.definitions import Resource, Variable
from shared.deployment import Deployed, read_all, read_all_async
from shared.errors import UnknownReference
from shared.secrets import SecretBox
from shared.store import AsyncStore, Store

VARIABLE, RESOURCE = "$var:", "$res:"
MAX_DEPTH = 10
"""References that may lead from one resource to the next."""
MASKED_CHARACTERS = 4
"""A shorter secret is not masked: it would be found everywhere."""


class Values:
    """Variables and resources of one deployment. Does no I/O but for the key of the box."""

    def __init__(self, variables: Mapping[str, Variable], resources: Mapping[str, Resource], box: SecretBox) -> None:
        self._variables = variables
        self._resources = resources
        self._box = box
        self._opened: dict[str, str] = {}

    def with_others(self, variables: Mapping[str, Variable], resources: Mapping[str, Resource]) -> Values:
        """These, with others instead of those of the same paths."""
        return Values({**self._variables, **variables}, {**self._resources, **resources}, self._box)

    def variable(self, path: str) -> str:
        """Its plain value. Raises UnknownReference, SecretError."""
        if path not in self._opened:
            if (found := self._variables.get(path)) is None:
                raise _unknown("variable", path)
            self._opened[path] = self._box.open(path, found.value) if found.is_secret else found.value
        return self._opened[path]

    def resource(self, path: str) -> Any:
        """Its value as it was written, references included. Raises UnknownReference."""
        if (found := self._resources.get(path)) is None:
            raise _unknown("resource", path)
        return found.value

    def resolve(self, value: Any) -> Any:
        """The value with every text that is a reference replaced by what it names, at any depth of lists and objects.

        Raises UnknownReference for a name that is not there, a circle, and more than MAX_DEPTH references in a row;
        SecretError. Its message tells the chain of resources that led there.
        """
        return self._resolved(value, ())

    def secrets(self) -> frozenset[str]:
        """The plain values of all secret variables that are long enough to be masked. Raises SecretError."""
        plain = (self.variable(path) for path, found in self._variables.items() if found.is_secret)
        return frozenset(text for text in plain if len(text) >= MASKED_CHARACTERS)

    def referring(self, value: Any) -> Any:
        """The opposite, for secrets: every text that is one of `secrets`, at any depth, replaced by its reference.

        Raises SecretError.
        """
        wanted = self.secrets()
        paths = sorted((path for path, found in self._variables.items() if found.is_secret), reverse=True)
        names = {text: VARIABLE + path for path in paths if (text := self.variable(path)) in wanted}
        return _replaced(value, names) if names else value

    def _resolved(self, value: Any, chain: tuple[str, ...]) -> Any:
        match value:
            case str() if value.startswith(VARIABLE):
                return self._followed(self.variable, value.removeprefix(VARIABLE), chain)
            case str() if value.startswith(RESOURCE):
                path = value.removeprefix(RESOURCE)
                if path in chain or len(chain) >= MAX_DEPTH:
                    why = "leads back to itself" if path in chain else f"is more than {MAX_DEPTH} references away"
                    raise UnknownReference(f"the resource {path} {why}{_way(chain)}", path=path, chain=chain)
                return self._resolved(self._followed(self.resource, path, chain), (*chain, path))
            case dict():
                return {key: self._resolved(each, chain) for key, each in value.items()}
            case list():
                return [self._resolved(each, chain) for each in value]
            case _:
                return value

    def _followed(self, read: Any, path: str, chain: tuple[str, ...]) -> Any:
        try:
            return read(path)
        except UnknownReference as error:
            raise UnknownReference(error.message + _way(chain), hint=error.hint, path=path, chain=chain) from error


def read_values(store: Store, deployed: Deployed, box: SecretBox) -> Values:
    """The variables and resources of a deployment. Raises StoreUnavailable."""
    variables = read_all(store, deployed.of_kind("variable"), Variable)
    return Values(variables, read_all(store, deployed.of_kind("resource"), Resource), box)


async def read_values_async(store: AsyncStore, deployed: Deployed, box: SecretBox) -> Values:
    """As `read_values`."""
    variables = await read_all_async(store, deployed.of_kind("variable"), Variable)
    return Values(variables, await read_all_async(store, deployed.of_kind("resource"), Resource), box)


def _replaced(value: Any, names: Mapping[str, str]) -> Any:
    match value:
        case str():
            return names.get(value, value)
        case dict():
            return {key: _replaced(each, names) for key, each in value.items()}
        case list():
            return [_replaced(each, names) for each in value]
        case _:
            return value


def _unknown(kind: str, path: str) -> UnknownReference:
    return UnknownReference(
        f"there is no {kind} {path}", hint=f"push a folder that holds {path}.{kind}.yaml", path=path
    )


def _way(chain: tuple[str, ...]) -> str:
    return f" (by way of {' → '.join(chain)})" if chain else ""
