"""The environment variables of user code, named as Windmill names them. Pure.

Most hold for a process, which executes one version of one script. What differs from run to run is set by the child
when the run begins.
"""

from __future__ import annotations

from shared.runs import RunSpec
from shared.tracing.context import TraceContext

USER = "headrace"


def process_environment(url: str, workspace: str, script: str) -> dict[str, str]:
    """What every run of the script at this path finds; `url` is where code reaches the console."""
    return {
        "BASE_INTERNAL_URL": url,
        "WM_BASE_URL": url,
        "WM_WORKSPACE": workspace,
        "WM_EMAIL": f"{USER}@localhost",
        "WM_USERNAME": USER,
        "WM_PERMISSIONED_AS": f"u/{USER}",
        "WM_END_USER_EMAIL": f"{USER}@localhost",
        "WM_WORKER_GROUP": "default",
        "WM_OBJECT_PATH": script,
        "WM_JOB_PATH": script,
    }


def run_environment(
    run_id: str, spec: RunSpec, token: str, scheduled_for: str, trace: TraceContext | None = None
) -> dict[str, str]:
    """What this run finds beside it. Each trigger of a script has a state of its own.

    The trace is named as OpenTelemetry has it for environment variables.
    """
    state = f"{spec.runnable}/{spec.trigger.replace('/', '.') or 'user'}"
    variables = {
        "WM_JOB_ID": run_id,
        "WM_TOKEN": token,
        "WM_SCHEDULED_FOR": scheduled_for,
        "WM_STATE_PATH": state,
        "WM_STATE_PATH_NEW": state,
    }
    if spec.root is not None:
        variables["WM_ROOT_FLOW_JOB_ID"] = spec.root
    if trace is not None:
        variables["TRACEPARENT"] = trace.traceparent
        if trace.state:
            variables["TRACESTATE"] = trace.state
    return variables


def flow_environment(given: dict[str, str], run_id: str, spec: RunSpec, key: str, step: str) -> dict[str, str]:
    """What a step of a flow finds, where its run finds what is `given`. Each step has a state of its own, whatever the
    iteration and the attempt.
    """
    words = [word.partition("~")[0] for word in key.split("/") if not word.isdecimal()]
    state = f"{spec.runnable}/{'.'.join(words)}/{spec.trigger.replace('/', '.') or 'user'}"
    return given | {
        "WM_FLOW_JOB_ID": run_id,
        "WM_ROOT_FLOW_JOB_ID": spec.root or run_id,
        "WM_FLOW_PATH": spec.runnable,
        "WM_FLOW_STEP_ID": step,
        "WM_STATE_PATH": state,
        "WM_STATE_PATH_NEW": state,
    }
