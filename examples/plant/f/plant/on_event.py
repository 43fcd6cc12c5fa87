"""Gets what the JSON of the message holds, because the trigger says `payload: json`."""

import headrace


def main(payload: dict):
    return {"device": payload["device"]["id"], "key": headrace.run.idempotency_key}
