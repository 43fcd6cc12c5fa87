"""Who a run is to Windmill's clients. Headrace has no users: all runs are those of one."""

from __future__ import annotations

USERNAME = "headrace"
EMAIL = "headrace@localhost"
PERMISSIONED_AS = f"u/{USERNAME}"
VERSION = "CE v1.850.0"
"""The release of Windmill whose routes these are."""
