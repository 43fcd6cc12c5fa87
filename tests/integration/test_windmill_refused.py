"""What Windmill's routes of content refuse: what another one has just made or changed, what nobody can read."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from windmill_api import AuthenticatedClient

from shared.deploy import read_now
from shared.store import Store
from tests.support.console import WORKSPACE, Console
from tests.support.windmill import FLOW, SCRIPT, api_client, token_of


@pytest.fixture
def client(store: Store, console: Console) -> Iterator[AuthenticatedClient]:
    """Windmill's client with a token that may deploy."""
    with api_client(console, token_of(store, "deploy")) as client:
        yield client


@pytest.mark.parametrize(
    "address, body",
    [
        ("resources/create", {"path": "f/t/x", "value": 1, "resource_type": "n"}),
        ("variables/create", {"path": "f/t/x", "value": "1", "is_secret": False, "description": ""}),
        ("flows/create", FLOW),
        ("scripts/create", SCRIPT),
        ("folders/create", {"name": "x"}),
        ("resources/type/create", {"name": "siren", "schema": {}}),
    ],
)
def test_of_those_who_create_the_same_at_once_one_has_created_it(
    client: AuthenticatedClient, address: str, body: dict[str, Any]
) -> None:
    """Nobody replaces what another one has just made."""
    with ThreadPoolExecutor(4) as pool:
        url = f"/w/{WORKSPACE}/{address}"
        answers = list(pool.map(lambda _: client.get_httpx_client().post(url, json=body).status_code, range(4)))
    assert sorted(answers) == [201, 400, 400, 400]


def test_of_those_who_change_the_same_version_of_a_script_at_once_one_has_changed_it(
    client: AuthenticatedClient,
) -> None:
    """The others learn that it is not the version that they have read."""
    url = f"/w/{WORKSPACE}/scripts/create"
    parent = client.get_httpx_client().post(url, json=SCRIPT).text
    bodies = [SCRIPT | {"content": f"def main(): return {n}\n", "parent_hash": parent} for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda body: client.get_httpx_client().post(url, json=body).status_code, bodies))
    assert sorted(answers) == [201, 400, 400, 400]


LONG = "x" * 240


@pytest.mark.parametrize(
    "address, body, status",
    [
        ("resources/create", {"path": f"f/t/{LONG}", "value": 1, "resource_type": "n"}, 400),
        ("variables/create", {"path": f"f/{LONG}/x", "value": "1", "is_secret": False, "description": ""}, 400),
        ("flows/create", FLOW | {"path": f"f/t/{LONG}"}, 400),
        ("scripts/create", SCRIPT | {"path": f"f/t/{LONG}"}, 400),
        ("scripts/create", SCRIPT | {"schema": "x"}, 422),
        ("folders/create", {"name": LONG}, 400),
        ("folders/create", {"name": "x", "extra_perms": 5}, 422),
        ("folders/create", {"name": "x", "owners": "a"}, 422),
        ("resources/type/create", {"name": LONG, "schema": {}}, 400),
    ],
)
def test_what_no_pull_could_write_and_no_client_read_is_refused(
    store: Store, client: AuthenticatedClient, address: str, body: dict[str, Any], status: int
) -> None:
    """Names that are too long for a file, fields of another type."""
    answer = client.get_httpx_client().post(f"/w/{WORKSPACE}/{address}", json=body)
    assert answer.status_code == status, answer.text
    assert read_now(store).of_kind("file") == {}


def test_what_a_request_lacks_is_told(client: AuthenticatedClient) -> None:
    """In Windmill's words where it has any."""
    ask = client.get_httpx_client().request
    begins = "Failed to deserialize the JSON body into the target type: "
    for address, body in (("folders/create", []), ("folders/create", {}), ("capture/set_config", {"path": 5})):
        said = ask("POST", f"/w/{WORKSPACE}/{address}", json=body)
        assert (said.status_code, said.text.startswith(begins)) == (422, True), said.text
    assert "missing required field `name`" in ask("POST", f"/w/{WORKSPACE}/folders/create").text
    other = ask("PUT", f"/w/{WORKSPACE}/folders/create")
    assert (other.status_code, "POST" in other.text) == (405, True)
    large = ask("POST", f"/w/{WORKSPACE}/folders/create", content=b" " * (17 * 1024 * 1024))
    assert (large.status_code, "16 MiB" in large.text) == (413, True)
