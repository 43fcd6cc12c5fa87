"""Puts the worker process together."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from shared.alerts.watch import Watch
from shared.config import Settings
from shared.dependencies.environments import Environments
from shared.errors import ConfigError, HeadraceError
from shared.events import emit
from shared.metrics.catalogue import EXECUTING, RUNNERS
from shared.metrics.listener import listen
from shared.run_tokens import PURPOSE
from shared.scripts.worker import Limits
from shared.secrets import SecretBox
from shared.store import Store
from shared.tracing import spans
from worker.arguments import Calls
from worker.chores import Chores
from worker.endings import RunEndings
from worker.environment import process_environment
from worker.environments import REMOVE_EVERY_S, ScriptEnvironments
from worker.error_handlers import ErrorHandlers
from worker.execution import Execution
from worker.executor import Executor
from worker.flows.engine import FlowEngine
from worker.flows.evaluation import expression_limits
from worker.flows.steps import StepCalls, StepEndings, Steps
from worker.flows.tools import Bounds, Tools
from worker.flows.versions import FlowVersions
from worker.follow_up import FOLLOW_UP_EVERY_S, FollowUp
from worker.lease import BEATS_PER_LEASE
from worker.live_log import TELL_EVERY_S, LiveLog
from worker.loop import WorkLoop
from worker.outcomes import Ended
from worker.pool import RunnerPool
from worker.reporting import Reporter
from worker.retention import PRUNE_EVERY_S, Retention
from worker.retrying import Retrying
from worker.rq_worker import RqWorker
from worker.runners import RUNNERS as LANGUAGES
from worker.runners.base import MIB, Runner, RunnerLimits, RunnerSettings, ScriptFiles
from worker.runners.child.headrace_child.keeper import adopt_orphans
from worker.runners.process import sweep_scratch
from worker.scripts import Scripts, Triggers
from worker.sending import Sending
from worker.stopping import StopRequest
from worker.sweeper import SWEEP_EVERY_S, Sweeper
from worker.tracing import Traced
from worker.uplink import Uplink
from worker.values import FOLLOW_EVERY_S, DeployedValues

DRAIN_S = 25.0
TIDY_EVERY_S = 600.0


def run(settings: Settings) -> int:
    """Execute runs until SIGTERM or SIGINT. What is executing then may end, for 25 s or until a second signal; what is
    only claimed goes back. Returns the exit status.
    """
    stop = StopRequest(DRAIN_S)
    stop.install()
    name = secrets.token_hex(4)
    store = Store.connect(settings.redis_url)
    pool = RunnerPool(runner_maker(settings), settings.worker.runners_max)
    adopt_orphans()
    spans.turn_on("worker")
    alerts = Watch(settings).start()
    try:
        told = _work(settings, name, store, pool, stop)
    except HeadraceError as error:
        emit("process.failed", process="worker", error=error)
        return error.exit_status
    finally:
        alerts.stop()
        pool.close()
        store.close()
        spans.turn_off()
    if not told:
        emit("process.failed", process="worker", error="Redis could not be told how the last runs ended")
        return 1
    emit("process.stopped", process="worker")
    return 0


class _Known(msgspec.Struct, frozen=True):
    """What executing needs to know of the deployment, and the key that signs the tokens of runs."""

    uplink: Uplink
    scripts: Scripts
    values: DeployedValues
    triggers: Triggers
    token_key: bytes


def _make_execution(
    settings: Settings, pool: RunnerPool, stop: StopRequest, known: _Known, report: Callable[[Ended], None]
) -> Execution:
    """What executes runs of scripts, and of flows."""
    timeout_s, masked = settings.worker.default_timeout_s, known.values.masked
    calls = Calls(known.triggers, known.values, known.token_key)
    executor = Executor(pool, calls, masked, timeout_s, stop, RunEndings(report))
    endings, step_calls = StepEndings(), StepCalls(known.values, known.token_key)
    steps = Executor(pool, step_calls, masked, timeout_s, stop, endings)
    tools = Tools(
        known.uplink, known.scripts, Steps(steps, endings, step_calls), known.values, known.triggers, stop,
        Bounds(settings.worker.max_crashes, expression_limits(settings.worker)),
    )  # fmt: skip
    engine = FlowEngine(tools, known.triggers, known.values, report)
    return Execution(known.scripts, executor, FlowVersions(known.uplink), engine, steps)


def _work(settings: Settings, name: str, store: Store, pool: RunnerPool, stop: StopRequest) -> bool:
    lease_ms = settings.worker.lease_ttl_ms
    limits = Limits(settings.worker.max_crashes, settings.retention.dead_max)
    shows_finished = settings.log.runs or settings.log.level == "debug"
    uplink = Uplink(store, name, lease_ms, stop)
    reporter = Reporter(uplink, limits, show_finished=shows_finished)
    box = SecretBox.load(settings, create=True)
    values = DeployedValues(uplink, box)
    triggers = Triggers(uplink)
    retention = Retention(uplink, settings.retention)
    chores = Chores()
    environments = ScriptEnvironments(Environments(settings.environments, settings.worker.python), uplink)
    scripts = Scripts(uplink, settings.cache / "scripts", environments)
    add = Traced(reporter.add).report if spans.is_on() else reporter.add
    report = Retrying(Sending(add, triggers).report, triggers, scripts).report
    known = _Known(uplink, scripts, values, triggers, box.derive(PURPOSE))
    execution = _make_execution(settings, pool, stop, known, report)
    loop = WorkLoop(uplink, reporter, execution, settings.worker, stop, chores)
    face = RqWorker(name, settings.redis_url, uplink, execution)
    chores.add(lease_ms / 1000 / BEATS_PER_LEASE / 2, uplink.keep_alive)
    chores.add(FOLLOW_EVERY_S, values.follow)
    chores.add(FOLLOW_EVERY_S, environments.follow)
    chores.add(REMOVE_EVERY_S, environments.tidy)
    chores.add(lease_ms / 1000, loop.doubt)
    chores.add(1.0, lambda: face.show(loop.state, stopping=stop.requested))
    chores.add(SWEEP_EVERY_S, Sweeper(uplink, limits).sweep)
    chores.add(FOLLOW_UP_EVERY_S, FollowUp(uplink, ErrorHandlers(uplink, triggers, settings.workspace)).run)
    chores.add(TIDY_EVERY_S, _tidy)
    for forget in (retention.prune, retention.prune_triggers, retention.expire_dead):
        chores.add(PRUNE_EVERY_S, forget)
    chores.add(TELL_EVERY_S, LiveLog(uplink, execution, values.growing).tell)

    EXECUTING.read_by(lambda: float(execution.current is not None))
    RUNNERS.read_by(lambda: len(pool))
    url = listen(settings.metrics, "worker", uplink.not_ready)

    def work() -> bool:
        emit("process.ready", process="worker", name=name, url=url)
        told = loop.run()
        uplink.part()
        return told

    return face.run(work)


def _tidy() -> None:
    """What workers that were killed have left on disk."""
    sweep_scratch(Path(tempfile.gettempdir()))


def runner_maker(settings: Settings) -> Callable[[ScriptFiles], Runner]:
    """Makes the runner of a script, within its own limits and, where it has none, the worker's."""

    def make(script: ScriptFiles) -> Runner:
        runner = LANGUAGES.get(script.language)
        if runner is None:
            raise ConfigError(f"this worker has no runner for {script.language}")
        variables = process_environment(settings.console.url, settings.workspace, script.path)
        limits = script_limits(script, settings.worker.runner_memory_mib)
        cache = str(settings.cache.resolve())
        return runner(script, limits, RunnerSettings(settings.worker.python, environment=variables, cache=cache))

    return make


def script_limits(script: ScriptFiles, memory_mib: int) -> RunnerLimits:
    """What a run of this script may use, where the worker's own bound is `memory_mib` (0: none)."""
    memory = (script.memory_mib or memory_mib) * MIB or None
    if script.output_bytes is None:
        return RunnerLimits(memory_bytes=memory)
    return RunnerLimits(memory_bytes=memory, max_output_bytes=script.output_bytes, max_result_bytes=script.output_bytes)
