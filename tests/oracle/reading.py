"""From a record to an event: the CloudEvents envelope in its two content modes, JSON, and the shape of the data."""

import base64
import binascii
import json
import re
from datetime import UTC, datetime, timedelta
from string import ascii_lowercase, digits
from typing import Any

from tests.oracle import shapes, status_machines
from tests.oracle.formats import instant, utf16_units
from tests.oracle.records import Event, InvalidRecord, Record

EVENT_BYTES_MAX = 1024 * 1024
EVENT_AHEAD_MAX_SECONDS = 86_400
LEVELS_MAX = 64
TIME_TEXT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
CONTROL_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f]")
JSON_MEDIA_TYPE = re.compile(r"[^/;\s]+/([^/;\s]+\+)?json\s*(;.*)?", re.IGNORECASE)
TRACE_HEADERS = {"ce_traceparent", "ce_tracestate"}
NOTHING: Any = object()


class _Invalid(Exception):
    def __init__(self, reason: str, *pointers: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.pointers = frozenset(pointers)


def read(record: Record) -> Event | InvalidRecord:
    """The event, or why the record is none, with all that was readable of it."""
    readable: dict[str, Any] = {}
    try:
        return _read(record, readable)
    except _Invalid as invalid:
        return InvalidRecord(invalid.reason, invalid.pointers, **readable)


def _read(record: Record, readable: dict[str, Any]) -> Event:
    # Value at most `RUDDER_EVENT_BYTES_MAX` (1 MiB). What headers say of the event is known all the same.
    if record.value is not None and len(record.value) > EVENT_BYTES_MAX:
        if _is_binary(record):
            _note(readable, _header_attributes(record), NOTHING)
        raise _Invalid("too_large")
    attributes, data = _envelope(record)
    _note(readable, attributes, _data_if_any(attributes, data))
    _check_attributes(attributes)
    if _is_binary(record) and _contradictory(record) - TRACE_HEADERS:
        raise _Invalid("not_a_cloudevent")
    # `time` missing: the Kafka record's timestamp.
    time = _time(attributes.get("time")) or instant(record.timestamp_ms)
    if attributes["type"] not in status_machines.EVENTS_IN:
        raise _Invalid("unsupported_type")
    value = _data(attributes, data)
    wrong = {*shapes.errors(attributes["type"], value)}
    # A `time` more than `RUDDER_EVENT_AHEAD_MAX_SECONDS` (86,400) after the record's timestamp is `invalid_data`.
    if record.timestamp_ms >= 0 and time > instant(record.timestamp_ms) + timedelta(seconds=EVENT_AHEAD_MAX_SECONDS):
        wrong.add("/time")
    if wrong:
        raise _Invalid("invalid_data", *wrong)
    named = {name: attributes[name] for name in ("source", "id", "type")}
    known = shapes.filled(shapes.members_of(attributes["type"]), value)
    return Event(**named, time=time, data=known, trace=_trace(attributes))


def _note(readable: dict[str, Any], attributes: dict[str, Any], data: Any) -> None:
    """An event's identity is (`source`, `id`): half of one is none."""
    valid = {name: attributes[name] for name in ("source", "id", "type") if _is_valid(name, attributes.get(name))}
    if not {"source", "id"} <= set(valid):
        valid = {name: text for name, text in valid.items() if name == "type"}
    readable.update(valid)
    try:
        readable["time"] = _time(attributes.get("time"))
    except _Invalid:
        readable["time"] = None
    if isinstance(data, dict) and not shapes.uuid_text(data.get("release_id")):
        readable["release_id"] = data["release_id"].lower()


def _contradictory(record: Record) -> set[str]:
    """Names of headers that are given twice with different bytes; with equal bytes a header counts once."""
    values: dict[str, set[bytes]] = {}
    for name, value in record.headers:
        if value is not None and (name.startswith("ce_") or name == "content-type"):
            values.setdefault(name, set()).add(value)
    return {name for name, given in values.items() if len(given) > 1}


def _trace(attributes: dict[str, Any]) -> dict[str, str]:
    """Invalid values of `traceparent` and `tracestate` are ignored (W3C Trace Context, 3.2 and 3.3)."""
    traceparent = attributes.get("traceparent")
    fields = traceparent.split("-", 4) if isinstance(traceparent, str) else []
    lengths, known = [len(field) for field in fields[:4]], "".join(fields[:4])
    if lengths != [2, 32, 16, 2] or not set(known) <= set("0123456789abcdef") or "\n" in "".join(fields):
        return {}
    version, trace_id, parent_id, flags = fields[:4]
    if version == "ff" or not trace_id.strip("0") or not parent_id.strip("0"):
        return {}
    if version == "00" and len(fields) > 4:
        return {}
    if version != "00":
        # Of a later version that part is known which version 00 has.
        flags = "01" if int(flags, 16) % 2 else "00"
    trace = {"traceparent": f"00-{trace_id}-{parent_id}-{flags}"}
    return trace | ({"tracestate": attributes["tracestate"]} if _is_tracestate(attributes.get("tracestate")) else {})


def _is_tracestate(value: Any) -> bool:
    """A list of at most 32 `key=value`, each key once; 512 characters is what every system has to propagate."""
    if not isinstance(value, str) or len(value) > 512:
        return False
    members = [member.strip(" \t").partition("=") for member in value.split(",") if member.strip(" \t")]
    keys = [key for key, _, _ in members]
    sound = all(
        0 < len(key) <= 256
        and key[0] in ascii_lowercase + digits
        and set(key) <= set(ascii_lowercase + digits + "_-*/@")
        and 0 < len(text) <= 256
        and all(" " <= c <= "~" and c != "=" for c in text)
        for key, _, text in members
    )
    return sound and 0 < len(keys) <= 32 and len(set(keys)) == len(keys)


def _envelope(record: Record) -> tuple[dict[str, Any], Any]:
    """The attributes, and the data: bytes where it still is to be parsed, `NOTHING` where there is none."""
    headers = {name: value for name, value in record.headers if value is not None}
    content_type = headers.get("content-type", b"").decode("utf-8", "replace")
    # Batches are rejected (the binding has none).
    if content_type.lower().startswith("application/cloudevents-batch"):
        raise _Invalid("not_a_cloudevent")
    # Structured (`content-type` begins with `application/cloudevents`, any case).
    if content_type.lower().startswith("application/cloudevents"):
        return _structured(record.value)
    if _is_binary(record):
        return _header_attributes(record), record.value or NOTHING
    if not record.value:
        raise _Invalid("not_a_cloudevent")
    # A record with neither, whose value is a JSON object with `specversion`, `id`, `source` and `type`, counts as
    # structured.
    attributes, data = _structured(record.value)
    if not {"specversion", "id", "source", "type"} <= set(attributes):
        raise _Invalid("not_a_cloudevent")
    return attributes, data


def _is_binary(record: Record) -> bool:
    """Binary (`ce_*` headers, JSON data)."""
    names = {name for name, value in record.headers if value is not None}
    structured = any(
        name == "content-type" and value is not None and value.lower().startswith(b"application/cloudevents")
        for name, value in record.headers
    )
    return not structured and any(name.startswith("ce_") for name in names)


def _header_attributes(record: Record) -> dict[str, Any]:
    unclear = _contradictory(record)
    headers = {name: value for name, value in record.headers if value is not None and name not in unclear}
    attributes: dict[str, Any] = {
        name.removeprefix("ce_"): value.decode(errors="replace" if name in TRACE_HEADERS else "strict")
        for name, value in headers.items()
        if name.startswith("ce_")
    }
    if "content-type" in headers:
        attributes["datacontenttype"] = headers["content-type"].decode("utf-8", "replace")
    return attributes


def _structured(value: bytes | None) -> tuple[dict[str, Any], Any]:
    event = _json(value or b"", levels_max=LEVELS_MAX + 1)  # its data may be as deep as in binary mode
    if not isinstance(event, dict):
        raise _Invalid("not_a_cloudevent")
    encoded, data = event.get("data_base64"), event.get("data")
    if encoded is None:
        return event, NOTHING if data is None else data
    if data is not None:
        raise _Invalid("not_a_cloudevent", "/data_base64")
    try:
        return event, base64.b64decode(encoded, validate=True)
    except (TypeError, binascii.Error, ValueError):
        raise _Invalid("invalid_data", "/data_base64") from None


def _is_valid(name: str, text: Any) -> bool:
    # `id` (≤ 255), `source` (≤ 1,024), `type`. An event's id and source hold no control characters.
    units_max = 1024 if name == "source" else 255
    return isinstance(text, str) and 1 <= utf16_units(text) <= units_max and not CONTROL_CHARACTER.search(text)


def _check_attributes(attributes: dict[str, Any]) -> None:
    # Required: `specversion` 1.0, `id` (≤ 255), `source` (≤ 1,024), `type`.
    if attributes.get("specversion") != "1.0":
        raise _Invalid("not_a_cloudevent", "/specversion")
    for name in ("id", "source", "type"):
        if not _is_valid(name, attributes.get(name)):
            raise _Invalid("not_a_cloudevent", f"/{name}")
    _time(attributes.get("time"))


def _time(text: Any) -> datetime | None:
    """UTC, to the microsecond (finer digits cut). Without a zone, or in no calendar, it is a broken attribute."""
    if text is None:
        return None
    match = TIME_TEXT.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise _Invalid("not_a_cloudevent", "/time")
    day, clock, fraction, zone = match.groups()
    try:
        time = datetime.fromisoformat(f"{day}T{clock}.{(fraction or '')[:6]:0<6}{zone.upper()}")
        time = time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _Invalid("not_a_cloudevent", "/time") from None
    if time.year > 9998:
        raise _Invalid("not_a_cloudevent", "/time")
    return time


def _data(attributes: dict[str, Any], data: Any) -> Any:
    content_type = attributes.get("datacontenttype")
    if content_type is not None and not JSON_MEDIA_TYPE.fullmatch(content_type):
        raise _Invalid("invalid_data", "/datacontenttype")
    if data is NOTHING:
        raise _Invalid("invalid_data", "/data")
    return _json(data) if isinstance(data, bytes) else data


def _data_if_any(attributes: dict[str, Any], data: Any) -> Any:
    """The data of an invalid envelope still names the release of its rejection."""
    try:
        return _data(attributes, data)
    except _Invalid:
        return data


def _json(value: bytes, *, levels_max: int = LEVELS_MAX) -> Any:
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
        raise _Invalid("malformed_json") from None
    # JSON may be 64 levels deep.
    if _levels(parsed) > levels_max:
        raise _Invalid("malformed_json")
    return parsed


def _levels(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_levels, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_levels, value), default=0)
    return 0
