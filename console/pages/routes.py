"""All pages."""

from __future__ import annotations

from typing import Final

from console.pages import (
    access,
    dead,
    deployments,
    overview,
    run,
    run_actions,
    runs,
    trigger,
    trigger_editor,
    triggers,
    trying,
    workspace,
)

PAGES: Final = (
    overview.routes, triggers.routes, trigger.routes, trigger_editor.routes, trying.routes, runs.routes, run.routes,
    run_actions.routes, dead.routes, workspace.routes, deployments.routes,
    access.routes,
)  # fmt: skip
