"""Decode a record's bytes and headers to a typed event, or to the reason for its rejection. Pure; it never raises.

The first problem is the reason, in the order in which a publisher would fix them: size, JSON, envelope, type, data.
Every message passes through this module, so JSON is parsed once, and the model validates once.
"""

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from uuid import UUID

from pydantic import ValidationError

from schemas import likely_cause
from schemas.adapters.foreign import Adapted, NoInterest, Unreadable
from schemas.adapters.recognition import FORMAT_HEADER, adapt_envelope
from schemas.detail import PROBLEMS_MAX, echo, joined, pointer
from schemas.envelope import Envelope, read_envelope
from schemas.event import Event, Invalid
from schemas.incoming import DATA_MODELS
from schemas.json_text import find_nul, may_have_nul
from schemas.mapping import Mapping
from schemas.reasons import Reason
from schemas.record import Record
from schemas.text import UUID_TEXT
from schemas.times import seconds_after, time_of_timestamp
from schemas.types import EventType

EVENT_BYTES_MAX = 1_048_576
EVENT_AHEAD_MAX_SECONDS = 86_400

_TYPES = {str(event_type): event_type for event_type in EventType}
# Pydantic's messages use Python's type names.
_MESSAGES = {
    "missing": "is missing",
    "model_type": "Input should be an object",
    "dict_type": "Input should be an object",
    "tuple_type": "Input should be an array",
}


def decode(
    record: Record, *, bytes_max: int = EVENT_BYTES_MAX, ahead_seconds_max: int = EVENT_AHEAD_MAX_SECONDS
) -> Event | Invalid:
    """The record's event, or the reason for its rejection. `bytes_max`: the largest value in bytes.

    `ahead_seconds_max`: how far the event's time may be after the record's timestamp; 0: unlimited. Without a timestamp
    (-1) the event's time is not checked.
    """
    if record.unreadable is not None:
        return Invalid(reason=record.unreadable.reason, detail=joined([record.unreadable.detail]))
    envelope = read_envelope(record.value, record.headers, bytes_max=bytes_max)
    return _own(record, envelope, ahead_seconds_max)


def decode_mapped(
    record: Record,
    mapping: Mapping,
    *,
    bytes_max: int = EVENT_BYTES_MAX,
    ahead_seconds_max: int = EVENT_AHEAD_MAX_SECONDS,
) -> Event | Invalid | NoInterest:
    """As `decode`. A record that is no event of ours and has a known format is adapted and mapped; it can be of no
    interest.
    """
    if record.unreadable is not None:
        return Invalid(reason=record.unreadable.reason, detail=joined([record.unreadable.detail]))
    envelope = read_envelope(record.value, record.headers, bytes_max=bytes_max)
    if _may_be_foreign(record, envelope):
        content = _adapted(record, envelope, mapping, ahead_seconds_max)
        if content is not None:
            return content
    return _own(record, envelope, ahead_seconds_max)


def adapt(record: Record, mapping: Mapping, *, bytes_max: int = EVENT_BYTES_MAX) -> Adapted | None:
    """What the adapter of the record's format makes of it, before the rules of the mapping; None: an event of ours, a
    record that is too large, or one of an unknown format.

    Raises:
        Unreadable: the record is not what its format says.
    """
    envelope = read_envelope(record.value, record.headers, bytes_max=bytes_max)
    return _adapted_envelope(record, envelope, mapping) if _may_be_foreign(record, envelope) else None


def _adapted_envelope(record: Record, envelope: Envelope, mapping: Mapping) -> Adapted | None:
    return adapt_envelope(
        envelope,
        record.value or b"",
        record.headers,
        fixed=mapping.file.topics.get(record.topic),
        generic=mapping.generic,
    )


def _may_be_foreign(record: Record, envelope: Envelope) -> bool:
    """Not one of our types, or declared with the header."""
    if envelope.fault is not None and envelope.fault[0] is Reason.TOO_LARGE:
        return False
    return envelope.attributes.type not in _TYPES or any(name == FORMAT_HEADER for name, _ in record.headers)


def _adapted(
    record: Record, envelope: Envelope, mapping: Mapping, ahead_seconds_max: int
) -> Event | Invalid | NoInterest | None:
    """None: the record's format is unknown."""
    try:
        adapted = _adapted_envelope(record, envelope, mapping)
    except Unreadable as error:
        reason = Reason.UNSUPPORTED_TYPE if error.unsupported else Reason.INVALID_DATA
        return _invalid(envelope, reason, [error.problem])
    if adapted is None or isinstance(adapted, NoInterest):
        return adapted
    recorded_at = time_of_timestamp(record.timestamp_ms)
    content = mapping.event(adapted, recorded_at=recorded_at, trace=envelope.attributes.trace)
    if not isinstance(content, Event) or content.foreign is None:
        return content
    problems = _ahead(adapted.time, record.timestamp_ms, ahead_seconds_max)
    # The body may be encoded or wrapped, so its bytes do not show whether it has a NUL.
    texts = [content.data.model_dump(mode="json"), asdict(content.foreign.original)]
    problems += [f"{pointer(path)}: contains U+0000" for path in find_nul(texts, paths_max=PROBLEMS_MAX)[0]]
    return content if not problems else _refused(content, problems)


def _refused(event: Event, problems: Iterable[str]) -> Invalid:
    return Invalid(
        reason=Reason.INVALID_DATA,
        detail=joined(problems),
        source=event.source,
        id=event.id,
        type=str(event.type),
        time=event.time,
    )


def _own(record: Record, envelope: Envelope, ahead_seconds_max: int) -> Event | Invalid:
    """An event of ours."""
    source, id_, type_, event_time, _, trace = envelope.attributes
    if envelope.fault is not None:
        reason, problems = envelope.fault
        return _invalid(envelope, reason, problems)
    time = event_time or time_of_timestamp(record.timestamp_ms)
    if source is None or id_ is None or type_ is None or time is None:
        # Only the time can be missing: for anything else the envelope has a fault.
        timestamp = (
            "no timestamp" if record.timestamp_ms < 0 else f"a timestamp out of range ({record.timestamp_ms} ms)"
        )
        return _invalid(envelope, Reason.NOT_A_CLOUDEVENT, [f"time: is missing, and the record has {timestamp}"])
    event_type = _TYPES.get(type_)
    if event_type is None:
        problem = likely_cause.with_cause(f"type: {echo(type_)} is not accepted", likely_cause.of_quotes(type_))
        return _invalid(envelope, Reason.UNSUPPORTED_TYPE, [problem])
    if any(name == FORMAT_HEADER for name, _ in record.headers):
        # Who may send webhooks may not send our events: the gateway vouches for the format, not for the body.
        problem = f"{FORMAT_HEADER}: the record is declared as foreign, and RUDDER_MAPPING_FILE is not set"
        return _invalid(envelope, Reason.UNMAPPED, [problem])
    if envelope.data_fault is not None:
        reason, problems = envelope.data_fault
        return _invalid(envelope, reason, problems)
    if not isinstance(envelope.data, dict):
        cause = likely_cause.of_no_object(envelope.data)
        problem = likely_cause.with_cause("/data: Input should be an object", cause)
        return _invalid(envelope, Reason.INVALID_DATA, [problem])
    ahead = _ahead(event_time, record.timestamp_ms, ahead_seconds_max)
    try:
        data = DATA_MODELS[event_type].model_validate(envelope.data)
    except ValidationError as error:
        return _invalid(envelope, Reason.INVALID_DATA, [*ahead, *_problems(error)])
    if ahead:
        return _invalid(envelope, Reason.INVALID_DATA, ahead)
    if may_have_nul(envelope.raw):  # only in known fields; unknown ones are ignored
        paths, count = find_nul(data.model_dump(mode="json", by_alias=True), paths_max=PROBLEMS_MAX)
        if paths:
            nuls = [f"{pointer(('data', *path))}: contains U+0000" for path in paths]
            return _invalid(envelope, Reason.INVALID_DATA, nuls, omitted=count - len(nuls))
    return Event(source=source, id=id_, type=event_type, time=time, data=data, trace=trace)


def _ahead(event_time: datetime | None, timestamp_ms: int, seconds_max: int) -> list[str]:
    """A wrong clock must not make all later events of a release stale (docs/contract.md#envelope)."""
    if not seconds_max or event_time is None:
        return []
    seconds = seconds_after(event_time, timestamp_ms)
    if seconds is None or seconds <= seconds_max:
        return []
    limit = f"RUDDER_EVENT_AHEAD_MAX_SECONDS={seconds_max}"
    return [f"/time: is {seconds:.0f} seconds after the record's timestamp ({limit}): check the publisher's clock"]


def _problems(error: ValidationError) -> list[str]:
    return [
        f"{pointer(('data', *problem['loc']))}: {_MESSAGES.get(problem['type'], problem['msg'])}"
        for problem in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _invalid(envelope: Envelope, reason: Reason, problems: Iterable[str], *, omitted: int = 0) -> Invalid:
    source, id_, type_, time, _, _ = envelope.attributes
    identified = source is not None and id_ is not None
    return Invalid(
        reason=reason,
        detail=joined(problems, omitted=omitted),
        source=source if identified else None,
        id=id_ if identified else None,
        type=type_,
        time=time,
        release_id=_release_id(envelope.data),
    )


def _release_id(data: object) -> UUID | None:
    value = data.get("release_id") if isinstance(data, dict) else None
    return UUID(value) if isinstance(value, str) and UUID_TEXT.fullmatch(value) else None
