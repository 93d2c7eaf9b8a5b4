"""What a request holds, examined as the worker will: an event of ours by `schemas.decode`, a webhook by its adapter.

Nothing is accepted that the worker would reject for its form. What depends on rows or on the mapping file is decided by
the worker: a record that it rejects can be redriven, and a refused request may never come again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.adapters.foreign import Adapted, Unreadable
from schemas.adapters.recognition import ADAPTERS, FORMAT_HEADER, adapt_envelope, is_wrapped
from schemas.context_attributes import attribute_problems
from schemas.decode import decode
from schemas.detail import PROBLEMS_MAX, joined
from schemas.envelope import Envelope, read_envelope
from schemas.event import Event, Invalid
from schemas.json_text import MalformedJsonError, parse
from schemas.media_type import is_json
from schemas.reasons import Reason
from schemas.record import Headers, Record
from worker.gateway.http_binding import KafkaEvent, members
from worker.gateway.problems import Fault, Kind, Refusal, faults_of, kind_of
from worker.gateway.request_head import RequestHead
from worker.gateway.webhooks import project_of
from worker.rules.allowed_sources import AllowedSources
from worker.rules.decide import source_problem


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLimits:
    """As the worker's settings of the same names; `sources`: None: all are allowed."""

    bytes_max: int
    ahead_seconds_max: int
    sources: AllowedSources | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignCloudEvent:
    """A CloudEvent of a format with an adapter, such as a CDEvent. `identity`: that of the CloudEvent."""

    format: str
    identity: Mapping[str, str]
    project: str | None


Examined = Event | ForeignCloudEvent


def examine_events(events: Sequence[KafkaEvent], limits: EventLimits, *, now_ms: int) -> Sequence[Examined]:
    """The decoded events. A batch is accepted as a whole: one event that is not acceptable refuses all of them.

    Raises:
        Refusal: at least one event is not acceptable; `errors` lists the first problems of all.
    """
    examined: list[Examined] = []
    refusals: list[Refusal] = []
    for event in events:
        try:
            examined.append(_examine_event(event, limits, now_ms=now_ms))
        except Refusal as refusal:
            refusals.append(refusal)
    if not refusals:
        return examined
    if len(events) == 1:
        raise refusals[0]
    errors = [fault for refusal in refusals for fault in refusal.errors]
    detail = f"{len(refusals)} of {len(events)} events of the batch are not acceptable, and none was sent"
    raise Refusal(refusals[0].kind, detail, errors=errors[:PROBLEMS_MAX])


def _examine_event(event: KafkaEvent, limits: EventLimits, *, now_ms: int) -> Examined:
    record = Record(
        topic="", partition=0, offset=0, timestamp_ms=now_ms, key=None, value=event.value, headers=event.headers
    )
    match decode(record, bytes_max=limits.bytes_max, ahead_seconds_max=limits.ahead_seconds_max):
        case Invalid(reason=Reason.UNSUPPORTED_TYPE, type=str(type_)) if name := _format_of(type_):
            return _examine_foreign(name, event)
        case Invalid(reason=reason, detail=detail):
            raise Refusal(kind_of(reason), detail, errors=faults_of(detail, within=event.pointer))
        case decoded:
            if problems := attribute_problems(members(event)):
                detail = joined(problems)
                raise Refusal(Kind.NOT_A_CLOUDEVENT, detail, errors=faults_of(detail, within=event.pointer))
            if (problem := source_problem(decoded, limits.sources)) is not None:
                fault = Fault(pointer=f"{event.pointer}/source", detail=problem)
                raise Refusal(Kind.SOURCE_NOT_ALLOWED, problem, errors=(fault,))
            return decoded


def _examine_foreign(name: str, event: KafkaEvent) -> ForeignCloudEvent:
    envelope = read_envelope(event.value, event.headers, bytes_max=len(event.value))
    try:
        adapt_envelope(envelope, event.value, ((FORMAT_HEADER, name.encode()), *event.headers))
    except Unreadable as error:
        raise _unreadable(error, within=f"{event.pointer}/data") from None
    source, id_, type_ = envelope.attributes[:3]
    identity = {"source": source or "", "id": id_ or "", "type": type_ or ""}
    data = envelope.data if isinstance(envelope.data, Mapping) else {}
    return ForeignCloudEvent(format=name, identity=identity, project=project_of(name, {**identity, **data}))


def examine_webhook(head: RequestHead, body: bytes) -> Mapping[str, Any]:
    """The body, a JSON object.

    Raises:
        Refusal: the content type or the body is not JSON, or no object.
    """
    media_type = head.media_type
    if media_type is not None and not is_json(media_type.name):
        raise Refusal(
            Kind.UNSUPPORTED_MEDIA_TYPE, "content-type: is not JSON; choose application/json in the webhook's settings"
        )
    try:
        value = parse(body)
    except MalformedJsonError as error:
        raise Refusal(Kind.MALFORMED_JSON, str(error)) from None
    if not isinstance(value, dict):
        raise Refusal(
            Kind.INVALID_DATA, "the body is not a JSON object", errors=[Fault(pointer="", detail="is not an object")]
        )
    return value


def adapted_webhook(name: str, headers: Headers, body: bytes, content: Mapping[str, Any]) -> Adapted | None:
    """What the adapter of the source makes of the record; None: it has none, or the mapping file describes it.
    `content`: the body, parsed.

    Raises:
        Refusal: the body is not what the source sends.
    """
    if is_wrapped(content):
        raise Refusal(Kind.INVALID_DATA, "the body is wrapped by a bridge; send the webhook's own body", errors=[])
    if name not in ADAPTERS:
        return None
    if "specversion" in content or any(header.startswith("ce_") for header, _ in headers):
        envelope = read_envelope(body, headers, bytes_max=len(body))
    else:
        envelope = Envelope(data=content, raw=body)  # what is read from it, without parsing the body again
    try:
        return adapt_envelope(envelope, body, headers)
    except Unreadable as error:
        raise _unreadable(error) from None


def _unreadable(error: Unreadable, *, within: str = "") -> Refusal:
    kind = Kind.UNSUPPORTED_TYPE if error.unsupported else Kind.INVALID_DATA
    return Refusal(kind, error.problem, errors=faults_of(error.problem, within=within))


def _format_of(type_: str) -> str | None:
    """The format whose events have this CloudEvents type."""
    return next((name for name, adapter in ADAPTERS.items() if adapter.has_type(type_)), None)
