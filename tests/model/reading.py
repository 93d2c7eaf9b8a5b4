"""From a record to an event: the CloudEvents envelope in its two content modes, JSON, and the shape of the data."""

import base64
import binascii
import json
import re
from datetime import UTC, datetime
from typing import Any

from tests.model import machines, shapes
from tests.model.names import instant, utf16_units
from tests.model.records import Event, Record, Unreadable

EVENT_BYTES_MAX = 1024 * 1024
LEVELS_MAX = 64
TIME_TEXT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
CONTROL_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f]")
JSON_MEDIA_TYPE = re.compile(r"[^/;\s]+/([^/;\s]+\+)?json\s*(;.*)?", re.IGNORECASE)
NOTHING: Any = object()


class _Fault(Exception):
    def __init__(self, reason: str, *pointers: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.pointers = frozenset(pointers)


def read(record: Record) -> Event | Unreadable:
    """The event, or why the record is none. What was told before it went wrong stays known."""
    told: dict[str, Any] = {}
    try:
        return _read(record, told)
    except _Fault as fault:
        return Unreadable(fault.reason, fault.pointers, **told)


def _read(record: Record, told: dict[str, Any]) -> Event:
    # Value at most `RUDDER_EVENT_BYTES_MAX` (1 MiB).
    if record.value is not None and len(record.value) > EVENT_BYTES_MAX:
        raise _Fault("too_large")
    attributes, data = _envelope(record)
    _check_attributes(attributes)
    # `time` missing: the Kafka record's timestamp.
    time = _time(attributes.get("time")) or instant(record.timestamp_ms)
    named = {"source": attributes["source"], "id": attributes["id"], "type": attributes["type"], "time": time}
    told.update(named)
    if named["type"] not in machines.EVENTS_IN:
        raise _Fault("unsupported_type")
    value = _data(attributes, data)
    if isinstance(value, dict) and not shapes.uuid_text(value.get("release_id")):
        told["release_id"] = value["release_id"].lower()
    wrong = shapes.faults(named["type"], value)
    if wrong:
        raise _Fault("invalid_data", *wrong)
    return Event(**named, data=shapes.filled(shapes.members_of(named["type"]), value))


def _envelope(record: Record) -> tuple[dict[str, Any], Any]:
    """The attributes, and the data: bytes where it still is to be parsed, `NOTHING` where there is none."""
    headers = {name: value for name, value in record.headers if value is not None}
    content_type = headers.get("content-type", b"").decode("utf-8", "replace")
    # Batches are rejected (the binding has none).
    if content_type.lower().startswith("application/cloudevents-batch"):
        raise _Fault("not_a_cloudevent")
    # Structured (`content-type` begins with `application/cloudevents`, any case).
    if content_type.lower().startswith("application/cloudevents"):
        return _structured(record.value)
    # Binary (`ce_*` headers, JSON data).
    attributes: dict[str, Any] = {
        name.removeprefix("ce_"): value.decode() for name, value in headers.items() if name.startswith("ce_")
    }
    if attributes:
        if content_type:
            attributes["datacontenttype"] = content_type
        return attributes, NOTHING if record.value is None else record.value
    # A record with neither, whose value is a JSON object with `specversion`, `id`, `source` and `type`, counts as
    # structured.
    attributes, data = _structured(record.value)
    if not {"specversion", "id", "source", "type"} <= set(attributes):
        raise _Fault("not_a_cloudevent")
    return attributes, data


def _structured(value: bytes | None) -> tuple[dict[str, Any], Any]:
    if value is None:
        raise _Fault("not_a_cloudevent")
    event = _json(value)
    if not isinstance(event, dict):
        raise _Fault("not_a_cloudevent")
    encoded = event.get("data_base64")
    if encoded is None:
        return event, event.get("data", NOTHING)
    if "data" in event:
        raise _Fault("not_a_cloudevent", "/data_base64")
    try:
        return event, base64.b64decode(encoded, validate=True)
    except (TypeError, binascii.Error, ValueError):
        raise _Fault("not_a_cloudevent", "/data_base64") from None


def _check_attributes(attributes: dict[str, Any]) -> None:
    # Required: `specversion` 1.0, `id` (≤ 255), `source` (≤ 1,024), `type`.
    if attributes.get("specversion") != "1.0":
        raise _Fault("not_a_cloudevent", "/specversion")
    for name, units_max in (("id", 255), ("source", 1024), ("type", None)):
        text = attributes.get(name)
        if not isinstance(text, str) or not text:
            raise _Fault("not_a_cloudevent", f"/{name}")
        # An event's id and source hold no control characters.
        if units_max is not None and (utf16_units(text) > units_max or CONTROL_CHARACTER.search(text)):
            raise _Fault("not_a_cloudevent", f"/{name}")


def _time(text: Any) -> datetime | None:
    """UTC, to the microsecond (finer digits cut). Without a zone, or in no calendar, it is a broken attribute."""
    if text is None:
        return None
    match = TIME_TEXT.fullmatch(text) if isinstance(text, str) else None
    if match is None or text.startswith(("0000", "9999")):
        raise _Fault("not_a_cloudevent", "/time")
    day, clock, fraction, zone = match.groups()
    try:
        time = datetime.fromisoformat(f"{day}T{clock}.{(fraction or '')[:6]:0<6}{zone.upper()}")
        return time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _Fault("not_a_cloudevent", "/time") from None


def _data(attributes: dict[str, Any], data: Any) -> Any:
    content_type = attributes.get("datacontenttype")
    if content_type is not None and not JSON_MEDIA_TYPE.fullmatch(content_type):
        raise _Fault("invalid_data", "/datacontenttype")
    if data is NOTHING:
        raise _Fault("invalid_data", "/data")
    return _json(data) if isinstance(data, bytes) else data


def _json(value: bytes) -> Any:
    """`malformed_json`: the value, or the event's data, is not JSON as RFC 7493 (I-JSON) has it."""

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError
        return dict(pairs)

    def no_number(_: str) -> Any:
        raise ValueError

    try:
        text = value.decode()
        parsed = json.loads(text, object_pairs_hook=members, parse_constant=no_number)
        json.dumps(parsed, ensure_ascii=False).encode()  # a lone surrogate is no text
    except (ValueError, RecursionError):
        raise _Fault("malformed_json") from None
    # JSON may be 64 levels deep.
    if _levels(parsed) > LEVELS_MAX:
        raise _Fault("malformed_json")
    return parsed


def _levels(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_levels, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_levels, value), default=0)
    return 0
