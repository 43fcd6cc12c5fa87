"""Runs once for each reading. Try it: pytest"""

import base64
import json

from f.lib.units import celsius


def preprocessor(event: dict):
    """Turns what MQTT delivered into the arguments of main."""
    reading = json.loads(base64.b64decode(event["payload"]))
    _, site, _ = event["topic"].split("/")
    return {"site": site, "degrees": celsius(reading["value"], reading.get("unit", "C"))}


def main(site: str, degrees: float, limit: float = 30.0):
    """What it prints is the log of the run, what it returns is its result."""
    if degrees > limit:
        print(f"{site} is too hot")
    return {"site": site, "degrees": degrees, "hot": degrees > limit}
