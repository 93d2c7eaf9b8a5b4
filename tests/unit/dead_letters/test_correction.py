"""Which event may correct which dead letter, and under which id."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.record import Record
from schemas.text import utf16_units
from worker.dead_letters.correction import corrected_id, refusal
from worker.dead_letters.export import exported
from worker.rules.identity import activity_id
from worker.rules.rows import Rejection
from worker.stored_dead_letters import DeadLetter

MOMENT = datetime(2026, 3, 17, 9, 30, tzinfo=UTC)
LETTER = DeadLetter(
    rejection=Rejection(
        id=activity_id(source="/ci", event_id="7"),
        created_at=MOMENT,
        reason="invalid_data",
        detail="/data/attempt: is missing",
        event_source="/ci",
        event_id="7",
        event_type=None,
        release_id=None,
        topic="events",
        partition=0,
        offset=0,
    )
)
UNIDENTIFIED = DeadLetter(rejection=replace(LETTER.rejection, id=UUID(int=1), event_source=None, event_id=None))


@pytest.mark.parametrize(
    ("event_id", "expected"),
    [
        ("7", "7/corrected-1"),
        ("7/corrected-1", "7/corrected-2"),
        ("7/corrected-9", "7/corrected-10"),
        ("7/corrected-x", "7/corrected-x/corrected-1"),
        (None, f"{UUID(int=1)}/corrected-1"),
        ("", f"{UUID(int=1)}/corrected-1"),
    ],
)
def test_correction_has_the_next_id(event_id: str | None, expected: str) -> None:
    assert corrected_id(event_id, UUID(int=1)) == expected


@given(st.text(max_size=300))
def test_id_of_a_correction_is_new_and_fits(event_id: str) -> None:
    """Whatever the publisher's ids are; in UTF-16 units, as the column counts."""
    found = corrected_id(event_id, UUID(int=1))
    assert found != event_id
    assert utf16_units(found) <= 255


def test_only_a_new_event_of_the_source_corrects() -> None:
    """Of any source, if the rejected event had none; and not a second time."""
    assert refusal(LETTER, source="/ci", event_id="8") is None
    assert refusal(UNIDENTIFIED, source="/any", event_id="8") is None
    assert "id of its own" in (refusal(LETTER, source="/ci", event_id="7") or "")
    assert "only an event of the same source" in (refusal(LETTER, source="/other", event_id="8") or "")
    resolved = DeadLetter(rejection=replace(LETTER.rejection, resolved_at=MOMENT))
    assert "is resolved already" in (refusal(resolved, source="/ci", event_id="8") or "")


def test_export_keeps_the_time_of_the_record() -> None:
    """A correction without a time would get a later one, and make the events after it stale."""
    record = Record(
        topic="events", partition=0, offset=0, timestamp_ms=1_773_739_800_000, key=None, value=b'{"data": {}, "id": 7}'
    )
    made = exported(UNIDENTIFIED, record)
    assert b'"time": "2026-03-17T09:30:00.000000Z"' in made.content
    assert made.notes[0].startswith("it has no source")
    raw = exported(LETTER, replace(record, value=b"\xff\x00"))
    assert raw.content == b"\xff\x00"
    assert "written as they are" in raw.notes[0]
