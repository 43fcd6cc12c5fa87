"""Turns the MQTT message into the arguments of the flow."""

import base64
import json

import headrace


def preprocessor(event: dict):
    reading = json.loads(base64.b64decode(event["payload"]))
    return {**headrace.run.captures, "celsius": reading["celsius"], "at": reading["at"]}
