"""A rejected event as a file that a person corrects."""

import json
from dataclasses import dataclass
from typing import Any

from schemas.record import Record
from schemas.times import format_time, time_of_timestamp
from worker.dead_letters.correction import corrected_id
from worker.dead_letters.event_form import event_of
from worker.stored_dead_letters import DeadLetter

_FIRST = ("specversion", "id", "source", "type", "time")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """`content`: of the file. `notes`: what the person has to know."""

    content: bytes
    notes: tuple[str, ...]


def exported(dead_letter: DeadLetter, record: Record) -> Exported:
    """The event in structured form with a new id; if its value is no JSON object, the bytes as they are."""
    event = event_of(record)
    if event is None:
        note = "its value is no JSON object, so its bytes were written as they are; write the event anew"
        return Exported(content=record.value or b"", notes=(note,))
    given = event.get("id")
    whole: dict[str, Any] = {
        "specversion": "1.0",
        **event,
        "id": corrected_id(given if isinstance(given, str) else None, dead_letter.id),
    }
    notes = [] if given else ["it had no id"]
    if not whole.get("source"):
        notes.append("it has no source: add that of its publisher")
    if whole.get("time") is None and (time := time_of_timestamp(record.timestamp_ms)) is not None:
        # A correction without a time would get that of its own record, later than its successors'.
        whole["time"] = format_time(time)
        notes.append("it had no time; that of its record was added")
    ordered = {name: whole[name] for name in (*_FIRST, *whole) if name in whole}
    return Exported(content=(json.dumps(ordered, ensure_ascii=False, indent=2) + "\n").encode(), notes=tuple(notes))
