"""Changes of the workspace by scripts: deployments, as if the folder had been pushed with one file changed."""

from __future__ import annotations

import re

from shared.config import Settings
from shared.definitions import Resource, Variable, kind_of
from shared.deploy import edit
from shared.errors import UserError
from shared.store import Store
from shared.workspace.layout import RESOURCE, VARIABLE, means_something, owner_of
from shared.workspace.render import resource_yaml, variable_yaml

_PATH = re.compile(r"[uf](/[A-Za-z0-9_-]+){2,}")


def deploy_one(settings: Settings, item: Variable | Resource, author: str) -> None:
    """Deploy a variable (the value of a secret one is plain here) or a resource; blocks meanwhile.

    Raises UserError for a path that would be no file of its own, WorkspaceError, SecretError, StoreUnavailable.
    """
    if isinstance(item, Variable):
        file, text = item.path + VARIABLE, variable_yaml(item)
    else:
        file, text = item.path + RESOURCE, resource_yaml(item)
    if not (_PATH.fullmatch(item.path) and means_something(file) and owner_of(file) == (kind_of(item), item.path)):
        raise UserError(
            f"{item.path!r} is no path for a {kind_of(item)}", hint="a path is f/FOLDER/NAME or u/USER/NAME"
        )
    store = Store.connect(settings.redis_url)
    try:
        edit(store, settings, {file: text}, author)
    finally:
        store.close()
