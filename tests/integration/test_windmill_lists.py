"""Windmill's own API client against the console: which rows its lists of content hold, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from windmill_api import AuthenticatedClient
from windmill_api.api.flow import list_flows
from windmill_api.api.resource import list_resource
from windmill_api.api.script import list_scripts
from windmill_api.api.variable import list_variable

from shared.store import Store
from tests.support.console import WORKSPACE, Console
from tests.support.windmill import api_client, push_files, token_of

FLOW = "summary: {}\nvalue: {{modules: []}}\n"
FILES = {
    "f/t/one.py": "def main(): return 1\n",
    "f/t/one.script.yaml": "summary: first\nlabels: [iot, hot]\n",
    "f/t/two.py": "def main(): return 2\n",
    "f/t/one.flow/flow.yaml": FLOW.format("first"),
    "f/t/limit.variable.yaml": "value: '30'\nis_secret: false\ndescription: The Upper one\nlabels: [iot]\n",
    "f/t/limits.variable.yaml": "value: '40'\nis_secret: false\n",
    "f/t/key.variable.yaml": "value: hunter2\nis_secret: true\n",
    "f/t/db.resource.yaml": "resource_type: postgresql\nvalue: {host: Db-1, port: 1}\nlabels: [a, b]\n",
    "f/t/broker.resource.yaml": "resource_type: mqtt\nvalue: {broker: 127.0.0.1, port: 1883}\n",
}


@pytest.fixture
def client(store: Store, console: Console, tmp_path: Path) -> Iterator[AuthenticatedClient]:
    """Windmill's client with a token that may read, of a console where these files are deployed."""
    push_files(store, console, tmp_path, FILES)
    with api_client(console, token_of(store, "read")) as client:
        yield client


def names(rows: Any) -> list[str]:
    """The last part of the path of each."""
    return [row.to_dict()["path"].rpartition("/")[2] for row in rows or []]


@pytest.mark.parametrize(
    "filters, found",
    [
        ({"path": "f/t/limit"}, ["limit"]),
        ({"path_start": "f/t/lim"}, ["limit", "limits"]),
        ({"label": "iot"}, ["limit"]),
        ({"description": "upper"}, ["limit"]),
        ({"value": "4"}, ["limits"]),
        ({"value": "hunter2"}, []),
        ({"broad_filter": "30"}, ["limit"]),
        ({"broad_filter": "KEY"}, ["key"]),
        ({"page": 0, "per_page": 2}, ["key", "limit"]),
        ({"page": 2, "per_page": 2}, ["limits"]),
    ],
)
def test_variables_are_found_by_what_the_client_can_ask(
    client: AuthenticatedClient, filters: dict[str, Any], found: list[str]
) -> None:
    """Never by the value of a secret."""
    assert names(list_variable.sync(WORKSPACE, client=client, **filters)) == found


@pytest.mark.parametrize(
    "filters, found",
    [
        ({"label": "b,a"}, ["db"]),
        ({"resource_type_exclude": "mqtt,state"}, ["db"]),
        ({"value": '{"port": 1883}'}, ["broker"]),
        ({"value": "db-1"}, ["db"]),
        ({"broad_filter": "postgres"}, ["db"]),
        ({"description": "x"}, []),
        ({"starred_only": True}, []),
        ({"page": 0, "per_page": 0}, ["broker"]),
    ],
)
def test_resources_are_found_by_what_the_client_can_ask(
    client: AuthenticatedClient, filters: dict[str, Any], found: list[str]
) -> None:
    """JSON is contained in the value; another text is part of it."""
    assert names(list_resource.sync(WORKSPACE, client=client, **filters)) == found


@pytest.mark.parametrize(
    "filters, found",
    [
        ({"label": "iot"}, ["one"]),
        ({"path_exact": "f/t/two"}, ["two"]),
        ({"created_by": "tests"}, ["one", "two"]),
        ({"created_by": "bob"}, []),
        ({"show_archived": True}, []),
        ({"is_template": True}, []),
        ({"starred_only": True}, []),
        ({"dedicated_worker": True}, []),
        ({"parent_hash": "0000000000000000"}, []),
        ({"page": -1}, ["one", "two"]),
    ],
)
def test_scripts_are_found_by_what_the_client_can_ask(
    client: AuthenticatedClient, filters: dict[str, Any], found: list[str]
) -> None:
    """A filter for what there is none of here finds none."""
    assert names(list_scripts.sync(WORKSPACE, client=client, **filters)) == found


def test_scripts_and_flows_that_were_changed_last_come_first_unless_the_order_is_asked_to_be_the_other(
    store: Store, console: Console, client: AuthenticatedClient, tmp_path: Path
) -> None:
    """What one deployment has changed comes by path."""
    later = FILES | {"f/t/zero.py": "def main(): return 0\n", "f/t/zero.flow/flow.yaml": FLOW.format("last")}
    push_files(store, console, tmp_path, later)

    assert names(list_scripts.sync(WORKSPACE, client=client)) == ["zero", "one", "two"]
    assert names(list_scripts.sync(WORKSPACE, client=client, order_desc=True)) == ["zero", "one", "two"]
    assert names(list_scripts.sync(WORKSPACE, client=client, order_desc=False)) == ["one", "two", "zero"]
    assert names(list_flows.sync(WORKSPACE, client=client)) == ["zero", "one"]
    assert names(list_flows.sync(WORKSPACE, client=client, order_desc=False)) == ["one", "zero"]
