"""The page of the console's own API, from its routes."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from shared.docs.page import page, table
from shared.tokens import MEANINGS, SCOPES

_INTRODUCTION = """\
# The console's API

What the pages of the console show and do, for programs: below `/api/w/WORKSPACE/headrace`, where the setting
`workspace` is the name. [Windmill's routes](windmill-api.md) are beside it.

```bash
token=$(headrace token create "night watch" --scope read)
curl -H "Authorization: Bearer $token" http://127.0.0.1:18080/api/w/headrace/headrace/status
```

The same in OpenAPI 3.1, with every field, is served at `…/headrace/openapi.json`; that needs no token.

**Errors** are [problem documents](https://www.rfc-editor.org/rfc/rfc9457) (`application/problem+json`) with `title`,
`status`, `detail` and `hint`: 400 for what makes no sense, 401 without a good token, 403 for a token without the scope,
404 for what is not there, 409 for what is not in a state for it, 413 for a body over 16 MiB, 421 for a name that is not
the console's ([secure the console](../howto/secure-the-console.md)), 422 for a body that says what cannot be done, 503
while Redis or ingest is away.

**Lists** come in pages: `next` of one is the `cursor` (or `before`) of the one after it, and null at the end. A page of
a search may hold fewer than asked for where much had to be looked at; go on until `next` is null.

**Streams** (`events`, `capture`) are server-sent events. They cost nothing while nobody listens, and end after a
quarter of an hour, or when the console stops: open them again.

**Secrets**: no value of a secret variable is in any answer. Passwords and keys that stand plainly in a resource are
`***` for whoever may not deploy.

**Scopes**, each with those before it:"""


def render() -> str:
    """The whole page."""
    document = import_module("console.api.routes").describe("WORKSPACE")
    scopes = table(["Scope", "Who has it may"], [(f"`{scope}`", MEANINGS[scope]) for scope in SCOPES])
    routes = [
        (path.removeprefix("/api/w/{workspace}/headrace"), method.upper(), operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    rows = [_row(*route, document) for route in sorted(routes, key=lambda route: route[:2])]
    return page(_INTRODUCTION, scopes, "## Routes", table(["Route", "Scope", "", "Takes"], rows))


def _row(path: str, method: str, operation: dict[str, Any], document: dict[str, Any]) -> tuple[str, ...]:
    said = operation["description"].partition("\n\nNeeds the scope")[0]
    return (f"{method} `{path}`", f"`{operation['x-scope']}`", " ".join(said.split()), _takes(operation, document))


def _takes(operation: dict[str, Any], document: dict[str, Any]) -> str:
    """Query parameters, or the fields of the body."""
    names = [each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if reference := body.get("$ref"):
        names += document["components"]["schemas"][reference.rpartition("/")[2]].get("properties", {})
    return ", ".join(f"`{name}`" for name in names)
