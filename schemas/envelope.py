"""The CloudEvents 1.0 envelope on Kafka, read and written in both content modes.

Reading parses a value's JSON once. The schema of the event type is checked by `decode`. Sources: CloudEvents 1.0.2, its
JSON format and its Kafka protocol binding, and docs/contract.md#envelope.
"""

import base64
import binascii
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from pydantic import BaseModel

from schemas import likely_cause
from schemas.attributes import SPECVERSION, Attributes, read_attributes
from schemas.json_text import DEPTH_MAX, MalformedJsonError, compact_bytes, parse
from schemas.media_type import is_json, parse_media_type
from schemas.reasons import Reason
from schemas.record import Headers
from schemas.times import format_time
from schemas.trace_context import TRACE_ATTRIBUTES, TraceContext

BINARY_CONTENT_TYPE = "application/json"
STRUCTURED_CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"

Fault = tuple[Reason, tuple[str, ...]]
"""A reason, and all problems, each as `path: problem`."""

_REQUIRED = ("specversion", "id", "source", "type")
_NOT_STRUCTURED = "no ce_ headers, no CloudEvents content type, and the value is not an object with " + ", ".join(
    _REQUIRED
)


class Envelope(NamedTuple):
    """The readable parts of an event. `fault`: why it is not an event. `data_fault`: why its data cannot be read.

    `raw`: the JSON text that contains `data`, for checks that are cheap on bytes.
    """

    attributes: Attributes = Attributes()
    data: object = None
    raw: bytes = b""
    fault: Fault | None = None
    data_fault: Fault | None = None


class _Headers(NamedTuple):
    content_type: str | None
    attributes: dict[str, bytes]
    faults: dict[str, str]
    fault: str | None


def read_envelope(value: bytes | None, headers: Headers, *, bytes_max: int) -> Envelope:
    """Never raises. A value longer than `bytes_max` is not parsed; the headers are read anyway."""
    sorted_headers = _sort_headers(headers)
    media_type = parse_media_type(sorted_headers.content_type) if sorted_headers.content_type is not None else None
    structured = media_type is not None and media_type.is_structured
    binary = not structured and bool(sorted_headers.attributes or sorted_headers.faults)
    if value is not None and len(value) > bytes_max:
        attributes = _header_attributes(sorted_headers) if binary else Attributes()
        too_large = f"the value has {len(value)} bytes, more than {bytes_max}"
        return Envelope(attributes, fault=(Reason.TOO_LARGE, (too_large,)))
    if binary:
        return _read_binary(value or b"", sorted_headers, data_type=media_type.name if media_type else None)
    if sorted_headers.fault is not None:
        return Envelope(fault=(Reason.NOT_A_CLOUDEVENT, (sorted_headers.fault,)))
    if structured and media_type is not None and media_type.structured_problem is not None:
        return Envelope(fault=(Reason.NOT_A_CLOUDEVENT, (media_type.structured_problem,)))
    return _read_structured(value or b"", headers, declared=structured)


def write_binary(
    *, source: str, id: str, type: str, time: datetime, subject: str, data: object, trace: TraceContext | None = None
) -> tuple[bytes, Headers]:
    """A record's value and headers in binary mode. `time` is aware; `data` is a model or a JSON value."""
    headers = (
        ("ce_specversion", SPECVERSION.encode()),
        ("ce_id", id.encode()),
        ("ce_source", source.encode()),
        ("ce_type", type.encode()),
        ("ce_time", format_time(time).encode()),
        ("ce_subject", subject.encode()),
        *((f"ce_{name}", text.encode()) for name, text in _trace_attributes(trace)),
        ("content-type", BINARY_CONTENT_TYPE.encode()),
    )
    return compact_bytes(_jsonable(data)), headers


def write_structured(
    *, source: str, id: str, type: str, time: datetime, subject: str, data: object, trace: TraceContext | None = None
) -> tuple[bytes, Headers]:
    """A record's value and headers in structured mode; arguments as of `write_binary`."""
    event = {
        "specversion": SPECVERSION,
        "id": id,
        "source": source,
        "type": type,
        "time": format_time(time),
        "subject": subject,
        **dict(_trace_attributes(trace)),
        "datacontenttype": BINARY_CONTENT_TYPE,
        "data": _jsonable(data),
    }
    return compact_bytes(event), (("content-type", STRUCTURED_CONTENT_TYPE.encode()),)


def _trace_attributes(trace: TraceContext | None) -> Iterator[tuple[str, str]]:
    if trace is not None:
        yield "traceparent", trace.traceparent
        if trace.tracestate is not None:
            yield "tracestate", trace.tracestate


def _sort_headers(headers: Headers) -> _Headers:
    """Names in any case. A header that some bridges repeat with the same bytes counts once."""
    content_type: bytes | None = None
    attributes: dict[str, bytes] = {}
    faults: dict[str, str] = {}
    fault: str | None = None
    for header, raw in headers:
        name = header.lower()
        if raw is None:
            continue
        if name.startswith("ce_"):
            if attributes.setdefault(name, raw) != raw:
                faults[name] = f"the header {name} is repeated with another value"
        elif name == "content-type":
            if content_type is not None and content_type != raw:
                fault = "content-type: the header is repeated with another value"
            content_type = raw
    if faults:
        attributes = {name: raw for name, raw in attributes.items() if name not in faults}
    text: str | None = None
    if content_type is not None and fault is None:
        try:
            text = content_type.decode()
        except UnicodeDecodeError:
            fault = "content-type: is not UTF-8"
    return _Headers(text, attributes, faults, fault)


def _header_attributes(headers: _Headers) -> Attributes:
    given: dict[str, str] = {}
    """A trace context that cannot be read is no fault of the event."""
    faults = {name.removeprefix("ce_"): fault for name, fault in headers.faults.items()}
    for name, raw in headers.attributes.items():
        attribute = name[len("ce_") :]
        try:
            given[attribute] = raw.decode()
        except UnicodeDecodeError:
            faults[attribute] = "is not UTF-8"
    for attribute in TRACE_ATTRIBUTES & faults.keys():
        del faults[attribute]
    return read_attributes(given, faults=faults)


def _read_binary(value: bytes, headers: _Headers, *, data_type: str | None) -> Envelope:
    attributes = _header_attributes(headers)
    fault = _first_fault(headers.fault, attributes)
    if data_type is not None and not is_json(data_type):
        return Envelope(attributes, fault=fault, data_fault=_not_json_type())
    if not value:
        return Envelope(attributes, fault=fault, data_fault=(Reason.INVALID_DATA, ("/data: is missing",)))
    try:
        return Envelope(attributes, parse(value), value, fault)
    except MalformedJsonError as error:
        return Envelope(attributes, fault=fault, data_fault=_malformed(value, error))


def _read_structured(value: bytes, headers: Headers, *, declared: bool) -> Envelope:
    """`declared`: by its content type the record is an event; otherwise the value must have the required attributes."""
    if not value and not declared:
        return Envelope(fault=(Reason.NOT_A_CLOUDEVENT, ("an empty value and no CloudEvents headers",)))
    try:
        event = parse(value, depth_max=DEPTH_MAX + 1)  # the data is as deep as in binary mode
    except MalformedJsonError as error:
        return Envelope(fault=_malformed(value, error))
    if not isinstance(event, dict):
        what = "the value is not an object" if declared else _NOT_STRUCTURED
        return Envelope(
            fault=(Reason.NOT_A_CLOUDEVENT, (likely_cause.with_cause(what, likely_cause.of_no_object(event)),))
        )
    if not declared and (missing := [name for name in _REQUIRED if name not in event]):
        cause = likely_cause.of_http_headers(name for name, _ in headers)
        if cause is None and len(missing) < len(_REQUIRED):
            cause = f"it has no {', '.join(missing)}"
        return Envelope(fault=(Reason.NOT_A_CLOUDEVENT, (likely_cause.with_cause(_NOT_STRUCTURED, cause),)))
    attributes = read_attributes(event, faults={})
    data_type, data, encoded = event.get("datacontenttype"), event.get("data"), event.get("data_base64")
    problem: str | None = None
    if data_type is not None and not isinstance(data_type, str):
        problem = "datacontenttype: is not a string"
    elif data is not None and encoded is not None:
        problem = "data_base64: is present beside data, send only one"
    fault = _first_fault(problem, attributes)
    if isinstance(data_type, str) and not is_json(parse_media_type(data_type).name):
        return Envelope(attributes, data, value, fault, _not_json_type())
    if encoded is not None and data is None:
        return _read_encoded(encoded, attributes, fault)
    if data is None:
        return Envelope(attributes, fault=fault, data_fault=(Reason.INVALID_DATA, ("/data: is missing or null",)))
    return Envelope(attributes, data, value, fault)


def _read_encoded(encoded: object, attributes: Attributes, fault: Fault | None) -> Envelope:
    """Read `data_base64`, the encoding of publishers that treat data as bytes."""
    try:
        raw = base64.b64decode(encoded, validate=True) if isinstance(encoded, str) else b""
    except (binascii.Error, ValueError):
        raw = b""
    if not raw:
        problem = "/data_base64: is empty or not base64"
        return Envelope(attributes, fault=fault, data_fault=(Reason.INVALID_DATA, (problem,)))
    try:
        return Envelope(attributes, parse(raw), raw, fault)
    except MalformedJsonError as error:
        return Envelope(attributes, fault=fault, data_fault=_malformed(raw, error, prefix="data_base64: "))


def _first_fault(problem: str | None, attributes: Attributes) -> Fault | None:
    problems = attributes.problems if problem is None else (problem, *attributes.problems)
    return (Reason.NOT_A_CLOUDEVENT, problems) if problems else None


def _malformed(raw: bytes, error: MalformedJsonError, *, prefix: str = "") -> Fault:
    return Reason.MALFORMED_JSON, (prefix + likely_cause.with_cause(str(error), likely_cause.of_no_json(raw)),)


def _not_json_type() -> Fault:
    return Reason.INVALID_DATA, ("/datacontenttype: is not a JSON media type",)


def _jsonable(data: object) -> object:
    return data.model_dump(mode="json") if isinstance(data, BaseModel) else data
