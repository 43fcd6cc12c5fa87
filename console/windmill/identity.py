"""Who somebody is to Windmill's clients. Headrace has no users: all runs are those of one, people are their tokens."""

from __future__ import annotations

import re

USERNAME = "headrace"
EMAIL = "headrace@localhost"
PERMISSIONED_AS = f"u/{USERNAME}"
VERSION = "CE v1.850.0"
"""The release of Windmill whose routes these are."""

CONTEXTUAL = {
    "WM_TOKEN": "the token of the run, good as long as it is executed",
    "WM_WORKSPACE": "the name of the workspace",
    "WM_EMAIL": "the address of the user that runs are of",
    "WM_USERNAME": "the name of that user",
    "WM_PERMISSIONED_AS": "the same, as u/NAME",
    "WM_BASE_URL": "the address of the console",
    "WM_JOB_ID": "the id of the run",
    "WM_JOB_PATH": "the path of the script",
    "WM_OBJECT_PATH": "the path of the script",
    "WM_ROOT_FLOW_JOB_ID": "the id of the first run of the line",
    "WM_SCHEDULED_FOR": "when the run was queued",
    "WM_STATE_PATH": "where the state of this script with this trigger is kept",
    "WM_STATE_PATH_NEW": "the same",
}
"""What a run finds in its environment (`worker.environment`)."""


def email_of(name: str) -> str:
    """An address for somebody who is known by a name."""
    return name if "@" in name else f"{re.sub(r'[^A-Za-z0-9._-]+', '-', name) or USERNAME}@localhost"


def username_of(name: str) -> str:
    """A name as it stands in `u/NAME`."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name.partition("@")[0]) or USERNAME
