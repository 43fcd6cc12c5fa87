"""Counts levels, and has an alarm raised when a tank is full."""

import base64
import json

import headrace
import wmill

from f.lib.units import litres


def preprocessor(event: dict):
    """Turns the MQTT message into the arguments of main."""
    level = json.loads(base64.b64decode(event["payload"]))
    return {**headrace.run.captures, "level": litres(level["value"], level.get("unit", "l")), "at": level["at"]}


def main(site: str, tank: str, level: float, at: str):
    count = (wmill.get_state() or 0) + 1  # each trigger of this script has its own
    wmill.set_state(count)
    full = level >= float(wmill.get_variable("f/plant/full_litres"))
    alarm = None
    if full:
        alarm = wmill.run_script_by_path("f/plant/raise_alarm", {"tank": f"{site}/{tank}", "since": at})
    return {"tank": f"{site}/{tank}", "litres": level, "count": count, "alarm": alarm}
