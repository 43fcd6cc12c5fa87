"""What scripts in TypeScript and JavaScript get, give back, and may do."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from shared.errors import ConfigError
from tests.support.eventually import eventually
from tests.support.runners import CONTEXT, Bench, call, death, is_broken, is_ready, result, until
from worker.runners.base import MIB, Form, Message, RunCall, RunDone, Runner, RunnerBroken, RunnerLimits
from worker.runners.deno import DenoRunner

EVENT = {"kind": "mqtt", "trigger_path": "f/iot/temp", "topic": "plant/7/temp", "qos": 1, "v5": None}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Starts Deno runners."""
    bench = Bench(tmp_path / "cache", DenoRunner, ".ts")
    yield bench
    bench.close()


def with_arguments(**arguments: Any) -> RunCall:
    """A run that no message made."""
    context = {"idempotency_key": "api-1", "attempt": 1, "origin": "api"}
    return RunCall("q2-api-1", msgspec.json.encode(arguments), None, context, "arguments")


def message(payload: bytes, form: Form, **environment: str) -> RunCall:
    """A run that a message made."""
    return RunCall("q1-abcdefgh-1-1", payload, None, dict(CONTEXT), form, environment)


def only(bench: Bench, runner: Runner, run: RunCall) -> RunDone:
    """What comes of this one."""
    (done,) = bench.answers(runner, run)
    return done


def failure(done: RunDone) -> str:
    """Name and message of its error."""
    assert not done.ok
    assert done.error is not None
    return f"{done.error.name}: {done.error.message}"


def deno_below(runner: Runner) -> psutil.Process:
    """The process that executes the code."""
    assert runner.pid is not None
    (deno,) = psutil.Process(runner.pid).children()
    return deno


def test_arguments_are_given_by_name(bench: Bench) -> None:
    """What is missing takes its default, null stays null."""
    runner = bench.start("""
        export async function main(name: string, limits: {high: number} = {high: 7}, count?: number | null) {
            return [name, limits.high, count];
        }
    """)

    assert result(only(bench, runner, with_arguments(count=3, name="north", other=1))) == ["north", 7, 3]
    assert result(only(bench, runner, with_arguments(limits={"high": 1}, count=None))) == [None, 1, None]


def test_a_payload_comes_in_the_form_that_the_trigger_names(bench: Bench) -> None:
    """JSON is read; a payload that is none fails its run."""
    runner = bench.start("export const main = (payload: unknown) => payload;")

    assert result(only(bench, runner, message(b"\x00\xff", "windmill"))) == "AP8="
    assert result(only(bench, runner, message("Füllstand".encode(), "text"))) == "Füllstand"
    assert result(only(bench, runner, message(b'{"t": 21.5}', "json"))) == {"t": 21.5}
    assert "not JSON" in failure(only(bench, runner, message(b"{", "json")))


def test_main_may_be_the_default_export(bench: Bench) -> None:
    """A push takes it for a script, so it runs as one."""
    runner = bench.start("export default async function main(payload: string) { return payload; }")

    assert result(only(bench, runner, message(b"hello", "text"))) == "hello"


def test_a_preprocessor_makes_the_arguments(bench: Bench) -> None:
    """It gets Windmill's event; what it returned is kept, also when main then throws."""
    runner = bench.start("""
        export async function preprocessor(event: {payload: string, topic: string}) {
            return { site: event.topic.split("/")[1], t: JSON.parse(atob(event.payload)).t };
        }
        export async function main(t: number, site: string) {
            if (t > 100) throw new Error("too hot");
            return `${site}: ${t}`;
        }
    """)

    good = only(bench, runner, call("q1-abcdefgh-1-1", b'{"t": 21.5}', EVENT))
    bad = only(bench, runner, call("q1-abcdefgh-1-2", b'{"t": 121.5}', EVENT))

    assert result(good) == "7: 21.5"
    assert good.arguments_json == b'{"site":"7","t":21.5}'
    assert failure(bad) == "Error: too hot"
    assert bad.arguments_json == b'{"site":"7","t":121.5}'


def test_a_preprocessor_of_the_first_form_gets_that(bench: Bench) -> None:
    """The payload as numbers, and wm_trigger."""
    runner = bench.start("""
        export function preprocessor(payload: number[], wm_trigger: {kind: string, mqtt: {topic: string}}) {
            return { payload, topic: wm_trigger[wm_trigger.kind].topic };
        }
        export function main(topic: string, payload: number[]) { return [topic, payload]; }
    """)

    assert result(only(bench, runner, call("q1-abcdefgh-1-1", b"ab", EVENT))) == ["plant/7/temp", [97, 98]]


def test_an_error_has_name_message_stack_and_what_was_set_on_it(bench: Bench) -> None:
    """The stack ends at the user's own lines, with paths of the workspace."""
    source = """
        import { check } from "./rules.ts";
        export function main(payload: string) { return check(1); }
    """
    rules = """
        class TankError extends Error { tank = 7; }
        export function check(level: number): void { throw new TankError("overflow"); }
    """
    runner = bench.start(source, beside={"f/iot/rules.ts": rules})

    (done,) = bench.run(runner)

    assert failure(done) == "TankError: overflow"
    assert done.error is not None
    assert done.error.extra == {"tank": 7}
    lines = done.error.stack.splitlines()
    assert "check (f/iot/rules.ts:3:" in lines[1]
    assert "main (f/iot/on_temp.ts:3:" in lines[2]
    assert len(lines) == 3


@pytest.mark.parametrize(
    "body, said",
    [
        (
            "Promise.reject(new RangeError('nobody waits')); await new Promise((go) => setTimeout(go, 5000));",
            "RangeError",
        ),
        (
            "setTimeout(() => { throw new RangeError('later') }); await new Promise((go) => setTimeout(go, 5000));",
            "later",
        ),
        ("const ring: any = {}; ring.ring = ring; return ring;", "circular"),
        ("throw 'plain text';", "plain text"),
        ("return { wm_failure: 'too cold' };", "ManualFailure: too cold"),
    ],
)
def test_what_goes_wrong_fails_its_run_only(bench: Bench, body: str, said: str) -> None:
    """The next one is executed by the same process."""
    runner = bench.start(f"export async function main(payload: string) {{ if (payload) {{ {body} }} return 'well'; }}")

    first, second = bench.run(runner, b"x", b"")

    assert said in failure(first)
    assert result(second) == "well"


def test_results_are_what_json_makes_of_them(bench: Bench) -> None:
    """Large integers as text, undefined as nothing; labels are found."""
    runner = bench.start("""
        export function main(payload: string) {
            if (!payload) return undefined;
            return { big: 12345678901234567890n, none: NaN, wm_labels: ["hot"], at: new Date(0) };
        }
    """)

    nothing, everything = bench.run(runner, b"", b"x")

    assert nothing.result_json is None
    assert everything.labels == ("hot",)
    assert result(everything) == {
        "big": "12345678901234567890", "none": None, "wm_labels": ["hot"], "at": "1970-01-01T00:00:00.000Z",
    }  # fmt: skip


def test_modules_of_the_workspace_are_imported_as_windmill_does_it(bench: Bench) -> None:
    """From the script's folder and from the root, with and without extension; `headrace` tells of the run."""
    source = """
        import { a } from "./near.ts";
        import { a as again } from "./near";
        import { b } from "/f/lib/far.ts";
        import { b as once_more } from "/f/lib/far";
        import { c } from "../lib/other";
        import { basename } from "path";
        import { run } from "headrace";
        export function main() { return [a, again, b, once_more, c, basename("x/y"), run.captures.site, run.attempt]; }
    """
    beside = {
        "f/iot/near.ts": "export const a: number = 1;",
        "f/lib/far.ts": 'import { c } from "./other.bun.ts"; export const b: number = c - 1;',
        "f/lib/other.bun.ts": "export const c: number = 3;",
    }
    runner = bench.start(source, beside=beside)

    (done,) = bench.run(runner)

    assert result(done) == [1, 1, 2, 2, 3, "y", "7", 1]


def test_what_only_a_message_has_cannot_be_asked_for_in_other_runs(bench: Bench) -> None:
    """Nor anything at all while none is executed."""
    runner = bench.start("""
        import { run } from "headrace";
        let early = ""; try { run.id; } catch (error) { early = error.message; }
        export function main(topic?: boolean) { return topic ? run.topic : [early, run.origin]; }
    """)

    early, origin = result(only(bench, runner, with_arguments()))

    assert "only while main or preprocessor runs" in early
    assert origin == "api"
    assert "this run has no topic" in failure(only(bench, runner, with_arguments(topic=True)))


def test_code_may_use_the_network_its_scratch_folder_and_its_own_files(bench: Bench) -> None:
    """And nothing else of the machine."""
    runner = bench.start("""
        const allowed = async (what: () => unknown) => {
            try { await what(); return true; } catch (error) { return error.name; }
        };
        export async function main(port: number) {
            return [
                await allowed(async () => (await Deno.connect({ port })).close()),
                await allowed(() => Deno.writeTextFileSync("note", "x")),
                await allowed(() => Deno.readTextFileSync("note")),
                await allowed(() => Deno.readTextFileSync(new URL(import.meta.url))),
                await allowed(() => Deno.writeTextFileSync(new URL(import.meta.url), "")),
                await allowed(() => Deno.readTextFileSync("/etc/passwd")),
                await allowed(() => new Deno.Command("true").outputSync()),
            ];
        }
    """)

    with socket.create_server(("127.0.0.1", 0)) as server:
        done = only(bench, runner, with_arguments(port=server.getsockname()[1]))

    assert result(done) == [True] * 4 + ["NotCapable"] * 3


def test_each_run_finds_its_own_environment(bench: Bench) -> None:
    """Nothing of the run before, and nothing of the worker's own."""
    runner = bench.start("""
        export function main() { return [Deno.env.get("WM_TOKEN"), process.env.ONCE, Deno.env.get("REDIS_URL")]; }
    """)

    assert result(only(bench, runner, message(b"", "text", WM_TOKEN="one", ONCE="1"))) == ["one", "1", None]
    assert result(only(bench, runner, message(b"", "text", WM_TOKEN="two"))) == ["two", None, None]


def test_a_deno_that_dies_between_runs_takes_no_run_along(bench: Bench) -> None:
    """It is noticed although nobody speaks to it."""
    runner = bench.start("export function main() {}")
    bench.run(runner)

    deno_below(runner).kill()
    died = death(runner)

    assert (died.signal, died.current) == ("SIGKILL", None)


def test_a_deno_that_is_killed_while_it_executes_is_a_crash(bench: Bench) -> None:
    """The run is named, with what it had written."""
    runner = bench.start("export function main() { console.log('begun'); while (true) {} }")
    until(runner, is_ready)
    deno = deno_below(runner)
    before = deno.cpu_times().user
    runner.send([call("q2-abcdefgh-1-1"), call("q2-abcdefgh-1-2")])
    eventually(lambda: deno.cpu_times().user > before + 0.2)

    deno.kill()
    died = death(runner)

    assert (died.signal, died.current, died.log) == ("SIGKILL", "q2-abcdefgh-1-1", "begun\n")


def test_too_much_memory_is_told(bench: Bench) -> None:
    """The heap of JavaScript is bounded."""
    source = "export function main() { const kept: unknown[] = []; while (true) kept.push(new Array(1000).fill({})); }"
    runner = bench.start(source, limits=RunnerLimits(None, 64 * MIB))
    until(runner, is_ready)

    runner.send([call("q1-abcdefgh-1-1")])
    died = death(runner)

    assert died.out_of_memory
    assert died.current == "q1-abcdefgh-1-1"


@pytest.mark.parametrize(
    "source, said",
    [
        ("export function other() {}", "exports no function main"),
        ("export function main( {", "SyntaxError"),
        ("throw new Error('not today'); export function main() {}", "Error: not today"),
        ("Deno.exit(3); export function main() {}", "LoadFault: deno ended with exit status 3"),
    ],
)
def test_a_script_that_cannot_be_loaded_says_why(bench: Bench, source: str, said: str) -> None:
    """Whatever the reason is."""
    runner = bench.start(source)

    broken = next(event for event in until(runner, is_broken) if isinstance(event, RunnerBroken))

    assert said in f"{broken.error.name}: {broken.error.message}"


def test_a_machine_without_deno_says_how_to_get_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Before anything is started."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "deno", None)

    with pytest.raises(ConfigError, match=r"pip install 'headrace\[deno\]'"):
        bench.start("export function main() {}")


def test_a_preprocessor_of_a_flow_is_called_like_any_function_with_the_event(bench: Bench) -> None:
    """A script may have it alone: there is no main to go on with."""
    runner = bench.start(
        "export const preprocessor = (event: any) => ({ site: event.topic.split('/')[1] });", function="preprocessor"
    )
    assert result(only(bench, runner, with_arguments(event={"topic": "plant/7/temp"}))) == {"site": "7"}


def test_code_publishes_and_replies(bench: Bench) -> None:
    """The same calls as in Python; what cannot be published throws where it is said."""
    runner = bench.start("""
        import { publish, reply } from "headrace";

        export function main(payload: string) {
          publish("alarm/text", "über", { qos: 0, retain: true });
          publish("alarm/json", { level: 3 }, {
            broker: "f/x/other", contentType: "a/b", responseTopic: "c", correlationData: new Uint8Array([0, 255]),
            userProperties: [["a", "1"]], expiresInS: 60,
          });
          reply(new Uint8Array([1, 2]));
          const wrong = [
            () => publish("a/+"), () => publish(""), () => publish("a", "", { qos: 2 }),
            () => publish("a", "x".repeat(9_000_000)), () => publish("a", "", { expiresInS: 0 }),
          ];
          return wrong.map((call) => {
            try { call(); } catch (error) { return error.name; }
          });
        }
    """)
    asked = dict(CONTEXT) | {"response_topic": "me/answers"}
    done = only(bench, runner, RunCall("q1-abcdefgh-1-1", b"", None, asked, "text"))
    assert result(done) == ["TypeError", "TypeError", "RangeError", "RangeError", "RangeError"]
    assert done.messages == (
        Message("alarm/text", "über".encode(), 0, retain=True),
        Message("alarm/json", b'{"level":3}', 1, broker="f/x/other", content_type="a/b", response_topic="c",
                correlation_data=b"\x00\xff", user_properties=(("a", "1"),), expires_in_s=60),
        Message("me/answers", b"\x01\x02", 1, is_reply=True),
    )  # fmt: skip
    assert failure(only(bench, bench.start("""
        import { reply } from "headrace";

        export const main = () => reply("");
    """), message(b"", "text"))).startswith("Error: the message names no response topic")  # fmt: skip
