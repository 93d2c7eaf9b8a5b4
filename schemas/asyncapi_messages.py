"""The messages of the AsyncAPI document: each event type in both content modes, and dead letters.

Their schemas are those of `schemas/json`, with references that lead into the document. AsyncAPI's own dialect of JSON
Schema is draft-07; the published schemas use only keywords that mean the same in both.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from schemas.adapters.foreign import Format
from schemas.envelope import BINARY_CONTENT_TYPE, STRUCTURED_CONTENT_TYPE
from schemas.json_schemas import json_schemas
from schemas.reasons import Reason
from schemas.text import UUID_PATTERN
from schemas.trace_context import TRACEPARENT_LENGTH, TRACEPARENT_PATTERN
from schemas.types import TYPE_PREFIX, EventType, StateEventType, StatusEventType

ContentMode = Literal["binary", "structured"]
KAFKA_BINDING = "0.5.0"
"""The version of AsyncAPI's Kafka bindings."""

_EXAMPLES = Path(__file__).with_name("examples")
_STRUCTURED_TYPE = "application/cloudevents+json"
_UUID = {"type": "string", "format": "uuid", "pattern": UUID_PATTERN}
_DECIMAL = {"type": "string", "pattern": "^[0-9]+$"}
_RELEASE_KEY = {**_UUID, "description": "The id of the release, in lower case."}
_STATE_KEY = {
    "type": "string",
    "pattern": UUID_PATTERN.removesuffix("$") + "/.+$",
    "description": "The id of the release, `/`, and the id of the environment.",
}
_OPERATORS_HEADERS: dict[str, Any] = {
    "rudder-redrive": {
        "type": "string",
        "description": "Sent by `rudder-worker dead-letters redrive`: the event is decided again although it was "
        "rejected. A value `topic/partition@offset` limits that to the rejection of the record at this position.",
    },
    "rudder-corrects": {**_UUID, "description": "The id of a rejection that this event resolves."},
}
_SPAN: dict[str, Any] = {
    "traceparent": {
        "type": "string",
        "maxLength": TRACEPARENT_LENGTH,
        "pattern": TRACEPARENT_PATTERN,
        "description": "The span that published the record, where the worker is traced.",
    }
}
_DEAD_LETTER_HEADERS: Mapping[str, Mapping[str, Any]] = {
    "rudder-id": {**_UUID, "description": "The rejection's id; deduplicate by it."},
    "rudder-reason": {
        "type": "string",
        "enum": [str(reason) for reason in Reason],
        "description": "Later versions may add reasons. "
        + "; ".join(f"`{reason}`: {reason.meaning}" for reason in Reason)
        + ".",
    },
    "rudder-detail": {"type": "string", "description": "For invalid data: the JSON pointers and messages."},
    "rudder-topic": {"type": "string", "description": "The topic of the rejected record."},
    "rudder-partition": {**_DECIMAL, "description": "Its partition."},
    "rudder-offset": {**_DECIMAL, "description": "Its offset."},
    "rudder-timestamp": {"type": "string", "pattern": "^-?[0-9]+$", "description": "Its timestamp in milliseconds."},
    "rudder-attempts": {**_DECIMAL, "description": "The number of transactions of the record."},
    "rudder-worker": {"type": "string", "description": "The process that rejected it."},
}
_OMISSION_HEADERS: Mapping[str, Mapping[str, Any]] = {
    "rudder-value-omitted": {**_DECIMAL, "description": "The length in bytes of the value, which is omitted."},
    "rudder-value-sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$", "description": "Its SHA-256."},
    "rudder-key-omitted": {**_DECIMAL, "description": "The length in bytes of the key, which is omitted."},
    "rudder-headers-omitted": {**_DECIMAL, "description": "The number of headers that are omitted."},
}
_EXAMPLE_OF_A_DEAD_LETTER = {
    "rudder-id": "ccaa5c8f-9e1b-5fa2-b9c9-7a4ad3ac8a0e",
    "rudder-reason": str(Reason.INVALID_DATA),
    "rudder-detail": "/data/environment_id: String should have at least 1 character",
    "rudder-topic": "rudder.deployment-events",
    "rudder-partition": "3",
    "rudder-offset": "4711",
    "rudder-timestamp": "1772357400123",
    "rudder-attempts": "1",
    "rudder-worker": "worker-0",
}
_REJECTED = "dev.rudder.deployment.started.v1/invalid-environment-empty.json"


def event_schemas() -> Mapping[str, Any]:
    """The published schemas of events, by event type."""
    texts = {name.removesuffix(".json"): text for name, text in json_schemas().items()}
    return {name: json.loads(text) for name, text in texts.items() if name.startswith(TYPE_PREFIX)}


def component_schemas() -> Mapping[str, Any]:
    """The models, and each event type's whole event, for `components/schemas`."""
    components: dict[str, Any] = {}
    for event_type, schema in event_schemas().items():
        components |= schema["$defs"]
        components[event_type] = {key: value for key, value in schema.items() if key not in ("$schema", "$id", "$defs")}
    return {name: _within_document(components[name]) for name in sorted(components)}


def messages_of(event_types: Iterable[str]) -> Mapping[str, Any]:
    """Both content modes of each type, by a name such as `release.created.v1.binary`."""
    schemas = event_schemas()
    return {
        message_name(event_type, mode): _event_message(event_type, schemas[event_type], mode)
        for event_type in event_types
        for mode in ("binary", "structured")
    }


def message_name(event_type: str, mode: str) -> str:
    return f"{event_type.removeprefix(TYPE_PREFIX)}.{mode}"


def foreign_message() -> Mapping[str, Any]:
    """A record of another system, which an adapter reads."""
    return {
        "name": "foreign",
        "title": "A foreign record",
        "summary": "A webhook or an event of another system, unchanged.",
        "description": "The worker also recognises formats by CloudEvents type, by the vendor's headers and by the "
        "shape of the body; the header `rudder-format` is certain.",
        "contentType": BINARY_CONTENT_TYPE,
        "headers": {
            "type": "object",
            "required": ["rudder-format"],
            "properties": {"rudder-format": {"type": "string", "enum": [str(format_) for format_ in Format]}},
        },
        "payload": {"type": "object", "description": "As the other system documents it."},
    }


def dead_letter_message() -> Mapping[str, Any]:
    return {
        "name": "dead-letter",
        "title": "A dead letter",
        "summary": "A rejected record: its key, value and headers, and headers with the reason.",
        "description": "If the broker refuses it as too large, the value is omitted, then the headers, then the key.",
        "contentType": "application/octet-stream",
        "headers": {
            "type": "object",
            "required": list(_DEAD_LETTER_HEADERS),
            "properties": {**_DEAD_LETTER_HEADERS, **_OMISSION_HEADERS},
            "description": "After the headers of the rejected record.",
        },
        "payload": {"description": "The bytes of the rejected record's value; null if it is omitted."},
        "bindings": _bindings({"type": ["string", "null"], "description": "The key of the rejected record."}),
        "examples": [
            {
                "name": "invalid-environment-empty",
                "headers": {"content-type": STRUCTURED_CONTENT_TYPE, **_EXAMPLE_OF_A_DEAD_LETTER},
                "payload": json.loads((_EXAMPLES / _REJECTED).read_bytes()),
            }
        ],
    }


def tombstone_message() -> Mapping[str, Any]:
    """The end of an environment's state."""
    return {
        "name": "tombstone",
        "title": "A tombstone",
        "summary": "The release was deleted: forget the state of this environment, and its version.",
        "headers": {"type": "object", "description": "None."},
        "payload": {"type": "null", "description": "No value."},
        "bindings": _bindings(_STATE_KEY),
    }


def _event_message(event_type: str, schema: Mapping[str, Any], mode: ContentMode) -> Mapping[str, Any]:
    binary = mode == "binary"
    whole = f"#/components/schemas/{event_type}"
    data = schema["properties"]["data"]
    model = data.get("$ref") or data["anyOf"][0]["$ref"]
    return {
        "name": event_type,
        "title": f"{event_type}, {mode} mode",
        "summary": schema["$defs"][model.rpartition("/")[2]]["description"],
        "contentType": BINARY_CONTENT_TYPE if binary else _STRUCTURED_TYPE,
        "headers": _binary_headers(event_type, schema) if binary else _structured_headers(event_type),
        "payload": _within_document(data) if binary else {"$ref": whole},
        "bindings": _bindings(_STATE_KEY if event_type in set(StateEventType) else _RELEASE_KEY),
        "examples": list(_examples(event_type, mode)),
    }


def _bindings(key: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"kafka": {"key": key, "bindingVersion": KAFKA_BINDING}}


def _binary_headers(event_type: str, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The attributes of the event as headers; null is a header that is absent."""
    incoming = event_type in set(EventType)
    attributes = {
        name: {**attribute, "type": "string"}
        for name, attribute in schema["properties"].items()
        if name not in ("data", "data_base64")
    }
    properties = {f"ce_{name}": attribute for name, attribute in attributes.items() if name != "datacontenttype"}
    required = [f"ce_{name}" for name in schema["required"] if name != "data"]
    return {
        "type": "object",
        "required": required if incoming else [*required, "content-type"],
        "properties": properties
        | {"content-type": {"description": "A JSON media type."} | attributes["datacontenttype"]}
        | _further_headers(event_type),
    }


def _structured_headers(event_type: str) -> Mapping[str, Any]:
    if event_type not in set(EventType):
        content_type = {"type": "string", "const": STRUCTURED_CONTENT_TYPE}
        properties = {"content-type": content_type} | _further_headers(event_type)
        return {"type": "object", "required": ["content-type"], "properties": properties}
    content_type = {
        "type": "string",
        "pattern": "^" + "".join(f"[{c.upper()}{c}]" if c.isalpha() else c for c in "application/cloudevents"),
        "description": "Begins with `application/cloudevents`, in any case. It may be absent if the value has "
        "`specversion`, `id`, `source` and `type`.",
    }
    return {"type": "object", "properties": {"content-type": content_type} | _further_headers(event_type)}


def _further_headers(event_type: str) -> dict[str, Any]:
    """Those that are no attributes of the event."""
    if event_type in set(EventType):
        return _OPERATORS_HEADERS
    return _SPAN if event_type in set(StatusEventType) else {}


def _examples(event_type: str, mode: ContentMode) -> Iterator[Mapping[str, Any]]:
    for path in sorted((_EXAMPLES / event_type).glob("valid-*.json")):
        event = json.loads(path.read_bytes())
        if mode == "structured":
            content_type = _STRUCTURED_TYPE if event_type in set(EventType) else STRUCTURED_CONTENT_TYPE
            yield {"name": path.stem, "headers": {"content-type": content_type}, "payload": event}
        else:
            attributes = {name: value for name, value in event.items() if name not in ("data", "datacontenttype")}
            headers = {f"ce_{name}": value for name, value in attributes.items() if value is not None}
            content_type = event.get("datacontenttype") or BINARY_CONTENT_TYPE
            yield {
                "name": path.stem,
                "headers": {**headers, "content-type": content_type},
                "payload": event["data"],
            }


def _within_document(schema: Any) -> Any:
    """The schema with references to `components/schemas` in place of `$defs`."""
    match schema:
        case {"$ref": str(reference)}:
            return {"$ref": reference.replace("#/$defs/", "#/components/schemas/")}
        case dict():
            return {key: _within_document(value) for key, value in schema.items()}
        case list():
            return [_within_document(value) for value in schema]
        case _:
            return schema
