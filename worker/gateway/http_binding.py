"""The CloudEvents HTTP protocol binding, read; the Kafka protocol binding, written. Pure.

An event keeps its content mode. A batch, which the Kafka binding does not have, becomes one structured record for each
event. Source: CloudEvents 1.0.2, HTTP protocol binding (3.1.3.2 on percent-encoding, 3.3 on batches).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from schemas.envelope import STRUCTURED_CONTENT_TYPE
from schemas.json_text import DEPTH_MAX, MalformedJsonError, compact, parse
from schemas.media_type import MediaType, is_json
from schemas.record import Headers
from worker.gateway.problems import Fault, Kind, Refusal
from worker.gateway.request_head import RequestHead

STRUCTURED: Final = "application/cloudevents+json"
BATCH: Final = "application/cloudevents-batch+json"
BATCH_EVENTS_MAX: Final = 500
"""One key may have as many in flight, with the default RUDDER_IN_FLIGHT_RECORDS_MAX."""

_CE = "ce-"
_CONTENT_TYPE_ATTRIBUTE = "ce-datacontenttype"
"""No header of the binding: `content-type` is this attribute."""
_BATCH_DEPTH_MAX = DEPTH_MAX + 2
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_UTF_8 = frozenset({None, "utf-8", "utf8", "us-ascii", "ascii"})


class Mode(StrEnum):
    BINARY = "binary"
    STRUCTURED = "structured"
    BATCHED = "batched"


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaEvent:
    """An event as a Kafka record has it. `pointer`: to the event in its request; empty: the only one."""

    value: bytes
    headers: Headers
    pointer: str = ""


def content_mode(head: RequestHead) -> Mode:
    """Raises Refusal: the content type is not that of an event in JSON."""
    media_type = head.media_type
    if media_type is not None and media_type.name.startswith("application/cloudevents-batch"):
        _require(media_type, BATCH)
        return Mode.BATCHED
    if media_type is not None and media_type.is_structured:
        _require(media_type, STRUCTURED)
        return Mode.STRUCTURED
    if media_type is not None and not is_json(media_type.name):
        raise _unsupported(
            f"content-type: is not JSON; use {STRUCTURED}, {BATCH}, or application/json with the attributes as ce- "
            "headers"
        )
    if any(name.startswith(_CE) for name in head):
        return Mode.BINARY
    if media_type is None:
        raise _unsupported(f"content-type: is missing; use {STRUCTURED}")
    return Mode.STRUCTURED  # as the worker reads a record: a JSON object with the required attributes


def kafka_events(head: RequestHead, body: bytes) -> tuple[KafkaEvent, ...]:
    """The events of a request, not decoded yet.

    Raises:
        Refusal: the content type is not accepted, a header is repeated, or a batch is no array of events.
    """
    match content_mode(head):
        case Mode.BINARY:
            return (KafkaEvent(value=body, headers=(*attribute_headers(head), *content_type(head))),)
        case Mode.STRUCTURED:
            return (KafkaEvent(value=body, headers=(("content-type", STRUCTURED_CONTENT_TYPE.encode()),)),)
        case Mode.BATCHED:
            return _batch(body)


def attribute_headers(head: RequestHead) -> Headers:
    """The attributes in `ce-` headers as the Kafka binding's `ce_` headers, decoded.

    Raises:
        Refusal: a header is repeated.
    """
    return tuple(
        ("ce_" + name.removeprefix(_CE), _decoded(raw))
        for name in head
        if name.startswith(_CE) and name != _CONTENT_TYPE_ATTRIBUTE and (raw := head.raw(name)) is not None
    )


def content_type(head: RequestHead) -> Headers:
    raw = head.raw("content-type")
    return () if raw is None else (("content-type", raw),)


def members(event: KafkaEvent) -> Mapping[str, Any]:
    """The attributes of an event that was decoded, for checks that decoding does not make."""
    # Bytes that are not UTF-8 become lone surrogates, which no attribute may have.
    attributes = {
        name[3:]: raw.decode("utf-8", "surrogateescape")
        for name, raw in event.headers
        if name.startswith("ce_") and raw is not None
    }
    if attributes:
        return attributes
    found = parse(event.value, depth_max=DEPTH_MAX + 1)
    return found if isinstance(found, dict) else {}


def _batch(body: bytes) -> tuple[KafkaEvent, ...]:
    try:
        events = parse(body, depth_max=_BATCH_DEPTH_MAX)
    except MalformedJsonError as error:
        raise Refusal(Kind.MALFORMED_JSON, str(error)) from None
    if not isinstance(events, list):
        raise Refusal(Kind.NOT_A_CLOUDEVENT, f"the batch is not an array; send one event as {STRUCTURED}")
    if len(events) > BATCH_EVENTS_MAX:
        raise Refusal(Kind.TOO_LARGE, f"the batch has {len(events)} events, more than {BATCH_EVENTS_MAX}; divide it")
    faults = [
        Fault(pointer=f"/{index}", detail="is not an object")
        for index, event in enumerate(events)
        if not isinstance(event, dict)
    ]
    if faults:
        raise Refusal(Kind.NOT_A_CLOUDEVENT, f"{len(faults)} of {len(events)} are no events", errors=faults[:10])
    return tuple(
        KafkaEvent(
            value=compact(event).encode(),
            headers=(("content-type", STRUCTURED_CONTENT_TYPE.encode()),),
            pointer=f"/{index}",
        )
        for index, event in enumerate(events)
    )


def _require(media_type: MediaType, name: str) -> None:
    if media_type.name not in {name, "application/cloudevents"}:
        raise _unsupported(f"content-type: only JSON is accepted; use {name}")
    if media_type.charset not in _UTF_8:
        raise _unsupported("content-type: has a charset other than utf-8")


def _unsupported(detail: str) -> Refusal:
    return Refusal(Kind.UNSUPPORTED_MEDIA_TYPE, detail)


def _decoded(raw: bytes) -> bytes:
    """Quotes are removed, and one round of percent-encoding is decoded. The result may not be UTF-8."""
    value = raw.strip()
    if len(value) > 1 and value.startswith(b'"') and value.endswith(b'"'):
        value = _QUOTED_PAIR.sub(rb"\1", value[1:-1])
    return unquote_to_bytes(value)
