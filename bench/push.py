"""How long does a push take? A folder of 500 scripts, 100 flows and 200 triggers: first, and without a change.

As a user sees it: the command `headrace push`, its start-up included, against a Valkey that syncs every write.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from bench.lab import Lab
from bench.servers import Unmeasurable, valkey
from bench.table import Missing, Row, Target

SCRIPTS, FLOWS, TRIGGERS = 500, 100, 200
WHAT = f"push, {SCRIPTS} scripts, {FLOWS} flows and {TRIGGERS} triggers"
FIRST, AGAIN = Target(of_ratio=False, limit=5, at_most=True), Target(of_ratio=False, limit=1, at_most=True)

_SCRIPT = """\
import json

from f.bench.lib import limit


def preprocessor(event: dict):
    return {{"reading": json.loads(event["payload"]), "topic": event["topic"]}}


def main(reading: dict, topic: str, number: int = {number}):
    if reading["t"] > limit(topic):
        return {{"hot": True, "number": number}}
    return {{"hot": False}}
"""
_METADATA = """\
summary: script {number}
description: ''
lock: '!inline f/bench/s{number}.script.lock'
kind: script
schema:
  $schema: 'https://json-schema.org/draft/2020-12/schema'
  type: object
  properties:
    reading:
      type: object
      description: ''
    topic:
      type: string
      description: ''
    number:
      type: number
      default: {number}
      description: ''
  required:
    - reading
    - topic
timeout: 60
"""
_TRIGGER = """\
script_path: f/bench/s{number}
is_flow: false
mode: enabled
mqtt_resource_path: f/bench/broker
subscribe_topics:
  - qos: qos1
    topic: plant/{number}/+/temp
  - qos: qos2
    topic: plant/{number}/+/alarm
client_version: v5
v5_config:
  clean_start: false
  session_expiry_interval: 3600
"""
_FLOW = """\
summary: flow {number}
description: ''
value:
  modules:
    - id: a
      summary: check
      value:
        type: rawscript
        content: '!inline check.inline_script.py'
        input_transforms:
          t:
            type: javascript
            expr: flow_input.reading.t
          number:
            type: static
            value: {number}
        lock: ''
        language: python3
      retry:
        constant:
          attempts: 2
          seconds: 5
        retry_if:
          expr: error.name != 'Fatal{number}'
    - id: b
      value:
        type: branchone
        branches:
          - summary: hot
            expr: results.a.t > 30 && flow_input.topic != 'test{number}'
            modules:
              - id: c
                value:
                  type: forloopflow
                  iterator:
                    type: javascript
                    expr: Object.keys(results.a).map((name) => name + {number})
                  skip_failures: false
                  modules:
                    - id: d
                      value:
                        type: script
                        path: f/bench/s{number}
                        input_transforms:
                          reading:
                            type: javascript
                            expr: results.a
                          topic:
                            type: javascript
                            expr: flow_input.iter.value
        default: []
  failure_module:
    id: failure
    value:
      type: script
      path: f/bench/s0
      input_transforms:
        reading:
          type: javascript
          expr: error
schema:
  $schema: 'https://json-schema.org/draft/2020-12/schema'
  type: object
  properties:
    reading:
      type: object
    topic:
      type: string
  required: []
"""
_STEP = """\
from f.bench.lib import limit


def main(t: float, number: int):
    return {{"t": t, "hot": t > limit({number})}}
"""
_BROKER = (
    "resource_type: mqtt\nvalue: {broker: 127.0.0.1, port: 1883, credentials: {password: '$var:f/bench/password'}}\n"
)
_VARIABLE = "description: ''\nvalue: correct horse\nis_secret: true\n"


def measure(lab: Lab) -> list[Row | Missing]:
    """Seconds of the first push and of the same again."""
    folder = _workspace(lab.folder())
    first: list[float] = []
    again: list[float] = []
    for number in range(lab.rounds):
        lab.say(f"push, round {number + 1} of {lab.rounds}")
        data = lab.folder()
        with valkey(lab.folder(), "always") as (url, _):
            pushed = partial(_pushed, folder, url, data)
            first.append(pushed())
            again.append(pushed())
    return [Row(WHAT, "s", first, target=FIRST), Row("the same again, unchanged", "s", again, target=AGAIN)]


def _pushed(folder: Path, url: str, data: Path) -> float:
    env = os.environ | {"REDIS_URL": url, "HEADRACE_DATA": str(data)}
    code = "import sys; from shared.cli import main; sys.exit(main())"
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code, "push", str(folder)], env=env, capture_output=True, text=True, check=False,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    if done.returncode:
        raise Unmeasurable(f"headrace push failed: {done.stderr}")
    return time.monotonic() - begun


def _workspace(root: Path) -> Path:
    folder = root / "f" / "bench"
    folder.mkdir(parents=True)
    (folder / "broker.resource.yaml").write_text(_BROKER)
    (folder / "password.variable.yaml").write_text(_VARIABLE)
    (folder / "lib.py").write_text("def limit(topic):\n    return 30\n")
    for number in range(SCRIPTS):
        (folder / f"s{number}.py").write_text(_SCRIPT.format(number=number))
        (folder / f"s{number}.script.yaml").write_text(_METADATA.format(number=number))
        (folder / f"s{number}.script.lock").write_text("# py: 3.11\nanyio==4.9.0\nhttpx==0.28.1\n")
    for number in range(FLOWS):
        flow = folder / f"w{number}__flow"
        flow.mkdir()
        (flow / "flow.yaml").write_text(_FLOW.format(number=number))
        (flow / "check.inline_script.py").write_text(_STEP.format(number=number))
    for number in range(TRIGGERS):
        (folder / f"t{number}.mqtt_trigger.yaml").write_text(_TRIGGER.format(number=number))
    return root
