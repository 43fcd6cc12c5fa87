"""What variables and resources are worth: secrets opened, `$var:` and `$res:` put in place."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from shared.definitions import Broker, Resource, Variable
from shared.deployment import Deployed, read_all, read_all_async
from shared.errors import SecretError, UnknownReference
from shared.expressions import Lookup
from shared.run_tokens import PREFIX
from shared.secrets import SecretBox
from shared.store import AsyncStore, Store

VARIABLE, RESOURCE = "$var:", "$res:"
SEALED = "$sealed:"
"""What follows is a value as JSON, sealed like a secret. Only `Values.sealed` writes it."""
MAX_DEPTH = 10
"""References that may lead from one resource to the next."""
MASKED_CHARACTERS = 4
"""A shorter secret is not masked: it would be found everywhere."""
_ARGUMENTS = "among the arguments of a run"


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
        """The value with every text that is a reference replaced by what it names, at any depth of lists and objects,
        and what `referring` has sealed opened.

        Raises UnknownReference for a name that is not there, a circle, and more than MAX_DEPTH references in a row;
        SecretError. Its message tells the chain of resources that led there.
        """
        return self._resolved(value, ())

    def everything(self) -> dict[str, dict[str, Any]]:
        """All variables and resources by path, secrets opened and references put in place, where that can be done.

        Raises SecretError.
        """
        resources = {}
        for path, found in self._resources.items():
            with suppress(UnknownReference):
                resources[path] = self._resolved(found.value, (path,))
        return {"variables": {path: self.variable(path) for path in self._variables}, "resources": resources}

    def secrets(self) -> frozenset[str]:
        """The plain values of all secret variables that are long enough to be masked. Raises SecretError."""
        plain = (self.variable(path) for path, found in self._variables.items() if found.is_secret)
        return frozenset(text for text in plain if len(text) >= MASKED_CHARACTERS)

    def referring(self, value: Any) -> Any:
        """The opposite, for secrets: every text that is one of `secrets`, at any depth, replaced by its reference, and
        what contains one, or the token of a run, sealed. The keys of the outermost object, which are names of
        parameters, stay.

        Raises SecretError.
        """
        wanted = self.secrets()
        paths = sorted((path for path, found in self._variables.items() if found.is_secret), reverse=True)
        names = {text: VARIABLE + path for path in paths if (text := self.variable(path)) in wanted}
        forms = [PREFIX, *(form for secret in wanted for form in written_forms(secret))]
        if isinstance(value, dict):
            return {key: self._referring(each, names, forms) for key, each in value.items()}
        return self._referring(value, names, forms)

    def sealed(self, value: Any) -> str:
        """A text that stands for the value, whatever that is; `resolve` opens it. Raises SecretError."""
        return SEALED + self._box.seal(_ARGUMENTS, json.dumps(value))

    def _referring(self, value: Any, names: Mapping[str, str], forms: Iterable[str]) -> Any:
        match value:
            case str() if value in names:
                return names[value]
            case dict() if not any(form in key for key in value for form in forms):
                return {key: self._referring(each, names, forms) for key, each in value.items()}
            case list():
                return [self._referring(each, names, forms) for each in value]
            case dict():
                return self.sealed(value)
            case _:
                return self.sealed(value) if any(form in str(value) for form in forms) else value

    def _resolved(self, value: Any, chain: tuple[str, ...]) -> Any:
        match value:
            case str() if value.startswith(VARIABLE):
                return self._followed(self.variable, value.removeprefix(VARIABLE), chain)
            case str() if value.startswith(SEALED):
                return json.loads(self._box.open(_ARGUMENTS, value.removeprefix(SEALED)))
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


def looked_up(resolve: Callable[[Any], Any]) -> Lookup:
    """What `variable(path)` and `resource(path)` of an expression come to, by what resolves references."""

    def lookup(kind: str, path: str) -> Mapping[str, Any]:
        try:
            return {"value": resolve((VARIABLE if kind == "variable" else RESOURCE) + path)}
        except (UnknownReference, SecretError) as error:
            return {"error": error.message}

    return lookup


def read_values(store: Store, deployed: Deployed, box: SecretBox) -> Values:
    """The variables and resources of a deployment. Raises StoreUnavailable."""
    variables = read_all(store, deployed.of_kind("variable"), Variable)
    return Values(variables, read_all(store, deployed.of_kind("resource"), Resource), box)


async def read_values_async(store: AsyncStore, deployed: Deployed, box: SecretBox) -> Values:
    """As `read_values`."""
    variables = await read_all_async(store, deployed.of_kind("variable"), Variable)
    return Values(variables, await read_all_async(store, deployed.of_kind("resource"), Resource), box)


def broker_references(broker: Broker) -> Iterator[tuple[str, str]]:
    """(field, path of the variable) for each text of a broker that is a reference."""
    for field in broker.__struct_fields__:
        value = getattr(broker, field)
        if isinstance(value, str) and value.startswith(VARIABLE):
            yield field, value.removeprefix(VARIABLE)


def written_forms(secret: str) -> set[str]:
    """What to look for: the secret as it is, and as JSON and Python write it inside of quotes."""
    shapes = {secret, secret.strip()}
    quoted = {write(shape)[1:-1] for shape in shapes for write in (json.dumps, repr, _plain_json)}
    return {form for form in shapes | quoted if len(form) >= MASKED_CHARACTERS}


def _plain_json(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _unknown(kind: str, path: str) -> UnknownReference:
    return UnknownReference(
        f"there is no {kind} {path}", hint=f"push a folder that holds {path}.{kind}.yaml", path=path
    )


def _way(chain: tuple[str, ...]) -> str:
    return f" (by way of {' → '.join(chain)})" if chain else ""
