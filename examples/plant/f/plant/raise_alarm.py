# headrace:
#   isolation: fresh
#   memory_mib: 512
#   output_bytes: 100000
"""Started by on_level, with arguments and not by a message."""

from datetime import datetime

import headrace
import wmill


def main(tank: str, since: datetime):
    siren = wmill.get_resource("f/plant/siren")
    print(f"ringing {siren['url']} with the key {siren['key']}")  # the log shows *** instead
    headrace.publish(f"siren/{tank}", {"since": since.isoformat()}, retain=True)  # when this run has succeeded
    return f"{tank} is full since {since:%H:%M}"
