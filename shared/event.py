"""What code gets of a message: the event of a preprocessor, the argument of `main`. Pure."""

from __future__ import annotations

import base64
from typing import Annotated, Any

import msgspec

from shared.definitions import PayloadFormat
from shared.envelope import Envelope, Properties

_Byte = Annotated[int, msgspec.Meta(ge=0, le=255)]


class EventV5(msgspec.Struct, frozen=True):
    """What the event of an MQTT 5 message says besides: the `v5` that `mqtt_event` writes, read again."""

    payload_format_indicator: int | None = None
    topic_alias: int | None = None
    response_topic: str | None = None
    correlation_data: list[_Byte] | None = None
    user_properties: list[tuple[str, str]] | None = None
    subscription_identifiers: list[int] | None = None
    content_type: str | None = None

    def properties(self) -> Properties:
        """As the message had them."""
        return Properties(
            payload_format_indicator=self.payload_format_indicator,
            content_type=self.content_type,
            response_topic=self.response_topic,
            correlation_data=None if self.correlation_data is None else bytes(self.correlation_data),
            subscription_identifiers=self.subscription_identifiers or [],
            topic_alias=self.topic_alias,
            user_properties=self.user_properties or [],
        )


def mqtt_event(envelope: Envelope) -> dict[str, Any]:
    """The event that a preprocessor gets (Windmill's v2 form), without its `payload`: the child adds that."""
    properties = envelope.properties
    return {
        "kind": "mqtt",
        "trigger_path": envelope.trigger,
        "topic": envelope.topic,
        "retain": envelope.retain,
        "pkid": envelope.packet_id,
        "qos": envelope.qos,
        "v5": None
        if properties is None
        else {
            "payload_format_indicator": properties.payload_format_indicator,
            "topic_alias": properties.topic_alias,
            "response_topic": properties.response_topic,
            "correlation_data": None if properties.correlation_data is None else list(properties.correlation_data),
            "user_properties": properties.user_properties,
            "subscription_identifiers": properties.subscription_identifiers,
            "content_type": properties.content_type,
        },
    }


def payload_argument(payload: bytes, form: PayloadFormat) -> dict[str, Any] | None:
    """What `main` of a script without preprocessor is called with; None where the payload has no such form."""
    try:
        match form:
            case "json":
                return {"payload": msgspec.json.decode(payload)}
            case "text":
                return {"payload": payload.decode()}
            case _:
                return {"payload": base64.b64encode(payload).decode()}
    except ValueError:
        return None
