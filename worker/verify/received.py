"""What records of the worker's own output topics say, read back as a subscriber reads them."""

import re
from uuid import UUID

from schemas.envelope import read_envelope
from schemas.record import Record
from schemas.text import UUID_TEXT
from schemas.times import format_time
from worker.pipeline.dead_letter import OMISSION_HEADERS, REASON_HEADERS, Content
from worker.verify.findings import Place
from worker.verify.history import Letter, Status
from worker.verify.scratch import digest

_BYTES_MAX = 2**31
"""What was published is read, however large."""


def status_of(record: Record, *, source: str) -> tuple[UUID | None, Status]:
    """The release that a record of a status topic is about, None where it says none, and what it says. `source`: of the
    worker's own events.
    """
    envelope = read_envelope(record.value, record.headers, bytes_max=_BYTES_MAX)
    its_source, id_, type_, time, _ = envelope.attributes
    data = envelope.data
    named = data.get("release_id") if isinstance(data, dict) else None
    content = {
        "id": id_,
        "type": type_,
        "time": time and format_time(time),
        "key": record.key and record.key.decode("utf-8", "replace"),
        "data": data,
    }
    status = Status(
        place=Place(record.topic, record.partition, record.offset),
        id=id_ or "",
        content=content,
        own=its_source == source,
    )
    is_uuid = isinstance(named, str) and UUID_TEXT.fullmatch(named) is not None
    return (UUID(named) if is_uuid else None), status


def letter_of(record: Record) -> tuple[Letter, bytes] | None:
    """A dead letter, and the digest of what it repeats of its record; None: it is none of the worker's."""
    names = [name for name, _ in record.headers]
    end = len(names)
    while end and names[end - 1] in OMISSION_HEADERS:
        end -= 1
    start = end - len(REASON_HEADERS)
    if start < 0 or tuple(names[start:end]) != REASON_HEADERS:
        return None
    added, omissions = record.headers[start:end], record.headers[end:]
    said = {name: (raw or b"").decode("utf-8", "replace") for name, raw in added}
    try:
        of = Place(said["rudder-topic"], int(said["rudder-partition"]), int(said["rudder-offset"]))
        rejection_id = UUID(said["rudder-id"])
    except ValueError:
        return None
    place = Place(record.topic, record.partition, record.offset)
    letter = Letter(
        place=place,
        rejection_id=rejection_id,
        of=of,
        reason=said["rudder-reason"],
        timestamp_ms=_number(said["rudder-timestamp"]),
    )
    own = record.headers[:start]
    key = None if record.key == str(rejection_id).encode() else record.key  # of one with nothing of its record
    return letter, digest(Content(key=key, value=record.value, headers=own, omissions=omissions))


def _number(text: str) -> int | None:
    """An integer of 64 bits; None: the text is none."""
    return int(text) if re.fullmatch(r"-?[0-9]{1,18}", text) else None
