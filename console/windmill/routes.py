"""All routes of Windmill's that there are: those of the server, and those in its one workspace."""

from __future__ import annotations

from typing import Final

from litestar import Router

from console.windmill import (
    audit_log,
    capture_routes,
    flows,
    folders,
    job_actions,
    job_ends,
    job_lists,
    job_updates,
    jobs,
    lock_requests,
    resource_types,
    resources,
    scripts,
    server,
    starting,
    tokens,
    trigger_family,
    triggers,
    users,
    variables,
    workspaces,
)

of_server: Final[list[Router]] = [
    server.server_routes, users.server_routes, tokens.server_routes, workspaces.server_routes,
]  # fmt: skip
in_workspace: Final[list[Router]] = [
    variables.routes, resources.routes, resource_types.routes, triggers.routes, trigger_family.routes, jobs.routes,
    starting.routes, job_lists.routes, job_actions.routes, job_ends.routes, job_updates.routes, users.routes,
    scripts.routes, flows.routes, folders.routes, workspaces.routes, audit_log.routes, capture_routes.routes,
    lock_requests.routes,
]  # fmt: skip
