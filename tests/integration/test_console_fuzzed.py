"""Schemathesis asks our API whatever its description allows and forbids: no defect, no answer that is not described."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.console import Console
from tests.support.mosquitto import Mosquitto
from tests.support.pipeline import Pipeline
from tests.support.workspaces import RECORDER, trigger_yaml, write_workspace

BUDGET_S = 30
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
COMMAND = "from schemathesis.cli import schemathesis; schemathesis()"


@pytest.mark.timeout(300)
def test_no_request_finds_a_defect_or_an_answer_that_is_not_described(
    tmp_path: Path, redis_url: str, mosquitto: Mosquitto
) -> None:
    """Bounded in time. Streams that do not end are left out."""
    console = Console(tmp_path, redis_url)
    pipeline = Pipeline(tmp_path, redis_url)
    triggers = {"a": trigger_yaml("a", ("t/a", 1))}
    pipeline.push(write_workspace(tmp_path / "workspace", mosquitto.port, triggers, {"a": RECORDER}))
    try:
        pipeline.start("ingest")
        with console.process:
            console.process.start().wait_ready()
            pipeline.wait_connected("f/t/a")
            done = subprocess.run(
                [sys.executable, "-c", COMMAND, "run", f"{console.url}/api/w/headrace/headrace/openapi.json",
                 "--header", f"Authorization: Bearer {console.token('admin')}", "--checks", CHECKS,
                 "--exclude-path-regex", "/events$", "--max-time", str(BUDGET_S), "--request-timeout", "20",
                 "--phases", "examples,coverage,fuzzing", "--max-examples", "15",
                 "--warnings", "off", "--suppress-health-check", "all", "--generation-deterministic",
                 "--no-color", "--workers", "1", "--continue-on-failure"],
                capture_output=True, text=True, check=False, cwd=tmp_path, timeout=BUDGET_S + 150,
            )  # fmt: skip
            assert done.returncode == 0, (
                f"{done.stdout[-20000:]}\n{done.stderr[-2000:]}\n{console.process.output[-5000:]}"
            )
            assert "Traceback" not in console.process.output
    finally:
        pipeline.close()
