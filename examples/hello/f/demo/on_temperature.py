import base64
import json

import headrace


def preprocessor(event: dict):
    """Turns the MQTT message into the arguments of main."""
    reading = json.loads(base64.b64decode(event["payload"]))
    return {"room": headrace.run.captures["room"], "celsius": reading["celsius"]}


def main(room: str, celsius: float, limit: float = 22.0):
    if celsius > limit:
        print(f"it is hot in the {room}: {celsius} °C")
    return {"room": room, "celsius": celsius, "hot": celsius > limit}
