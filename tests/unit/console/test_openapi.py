"""The descriptions of both APIs: whole, with errors as they are answered, and with what handlers read by themselves."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from console.api import routes as ours
from console.windmill import routes as windmill
from tests.support.console_routes import OURS, PEOPLE, PEOPLE_AND_RUNS, RUNS
from tests.support.windmill_routes import THEIRS

WHOLE = frozenset(PEOPLE | PEOPLE_AND_RUNS | RUNS)
NAME = "plant"
describe_ours, describe_windmill = cache(ours.describe), cache(windmill.describe)

pytestmark = pytest.mark.filterwarnings("ignore::litestar.exceptions.base_exceptions.LitestarDeprecationWarning")


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """`GET /path` → what is said of it."""
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_every_route_of_both_apis_is_described() -> None:
    """By the table that the tests of security go by; the descriptions themselves are left out."""
    described = operations(describe_ours(NAME)) | operations(describe_windmill(NAME))
    api = {route for route in WHOLE if route.partition(" ")[2].startswith("/api/") and "/openapi." not in route}
    assert len(windmill.of_server) + len(windmill.in_workspace) > 20
    assert set(described) == api


@pytest.mark.parametrize(
    "describe, error_type", [(describe_ours, "application/problem+json"), (describe_windmill, "text/plain")]
)
def test_every_route_says_how_it_refuses(describe: Callable[[str], dict[str, Any]], error_type: str) -> None:
    """And that it takes the one workspace that there is."""
    for route, operation in operations(describe(NAME)).items():
        answers = operation["responses"]
        assert {"400", "401", "403", "404", "503"} <= set(answers), route
        assert all(error_type in answers[status]["content"] for status in ("400", "401", "403", "404")), route
        assert route.startswith("GET") or {"409", "413", "422"} <= set(answers), route
        named = [each["schema"] for each in operation.get("parameters", ()) if each["name"] == "workspace"]
        assert named == ([{"type": "string", "enum": [NAME]}] if "{workspace}" in route else []), route


def test_what_handlers_read_by_themselves_is_described() -> None:
    """Bodies, filters, answers that the code of a script makes."""
    found = operations(describe_windmill(NAME))
    create = found[f"POST {THEIRS}/mqtt_triggers/create"]
    schema = create["requestBody"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/TriggerBody"}
    trigger = describe_windmill(NAME)["components"]["schemas"]["TriggerBody"]
    assert {"path", "subscribe_topics"} <= set(trigger["required"])
    names = {each["name"] for each in found[f"GET {THEIRS}/jobs/list"]["parameters"]}
    assert {"created_by", "broad_filter", "created_before", "per_page"} <= names
    waited = found[f"POST {THEIRS}/jobs/run_wait_result/p/{{path}}"]["responses"]
    assert {"200", "422", "default"} <= set(waited)
    assert "text/plain" in found[f"POST {THEIRS}/jobs/run/p/{{path}}"]["responses"]["201"]["content"]
    stream = operations(describe_ours(NAME))[f"GET {OURS}/triggers/capture/{{path}}"]["responses"]["200"]
    assert list(stream["content"]) == ["text/event-stream"]
