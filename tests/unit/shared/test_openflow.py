"""The records of a flow: what they hold, and the walk over all of its modules."""

from __future__ import annotations

import msgspec
import pytest

from shared.definitions import Flow, Runnable, decode_definition, encode_definition
from shared.openflow import (
    Branch,
    BranchAll,
    BranchOne,
    ConditionalBranch,
    FlowModule,
    FlowStep,
    FlowValue,
    ForLoop,
    Identity,
    JavaScript,
    Mock,
    RawScript,
    ScriptStep,
    SkipIf,
    Static,
    StopAfterIf,
    WhileLoop,
    walk,
)
from shared.retry_policy import ConstantRetry, ExponentialRetry, Retry

EVERYTHING = FlowValue(
    modules=[
        FlowModule(
            "a",
            RawScript({"t": JavaScript("flow_input.t"), "site": Static("north")}),
            summary="check",
            stop_after_if=StopAfterIf("!result.hot", skip_if_stopped=True),
            skip_if=SkipIf("flow_input.skip"),
            sleep=Static(1),
            timeout=JavaScript("flow_input.patience"),
            retry=Retry(ConstantRetry(2, 1), ExponentialRetry(3, 2, 2, 10), "error.name != 'Fatal'"),
            continue_on_error=True,
            mock=Mock(enabled=True, return_value={"hot": True}),
        ),
        FlowModule(
            "b",
            BranchOne(
                [ConditionalBranch("results.a.hot", [FlowModule("c", FlowStep("f/iot/shutdown"))], "hot")],
                [FlowModule("d", ScriptStep("f/iot/log", {"row": JavaScript("results.a")}))],
            ),
        ),
        FlowModule("e", BranchAll([Branch([FlowModule("g", Identity())], skip_failure=True)], parallel=True)),
        FlowModule(
            "h",
            ForLoop(
                [FlowModule("i", WhileLoop([FlowModule("j", Identity())], skip_failures=True))],
                iterator=JavaScript("[1, 2]"),
                parallel=True,
                parallelism=Static(2),
            ),
            stop_after_all_iters_if=StopAfterIf("result.length > 1", error_message="too many"),
        ),
    ],
    failure_module=FlowModule("failure", ScriptStep("f/iot/on_error", {"error": JavaScript("error")})),
    preprocessor_module=FlowModule("preprocessor", RawScript()),
    same_worker=True,
    skip_expr="flow_input.t == null",
    flow_env={"limit": 30},
    early_return="a",
)


def test_a_flow_survives_being_deployed() -> None:
    """Every field of every kind of module."""
    flow = Flow("f/iot/hot", EVERYTHING, 60, {"a": Runnable("f/iot/hot/a", "0f3a", 30)}, ["t"])
    _, blob = encode_definition(flow)
    assert decode_definition(blob, Flow) == flow


def test_modules_are_walked_in_the_order_of_the_file_each_before_those_within_it() -> None:
    """The preprocessor runs first, the failure module last."""
    assert [module.id for module in walk(EVERYTHING)] == [
        "preprocessor", "a", "b", "c", "d", "e", "g", "h", "i", "j", "failure",
    ]  # fmt: skip


def test_an_unknown_kind_of_module_is_no_flow() -> None:
    """What a newer release deploys is refused by name, not run as something else."""
    with pytest.raises(msgspec.ValidationError, match="aiagent"):
        msgspec.convert({"modules": [{"id": "a", "value": {"type": "aiagent"}}]}, FlowValue)
