"""Rows of an earlier log of their topic: only where a single log cannot explain them."""

from collections.abc import Iterator
from dataclasses import replace
from uuid import UUID

import pytest

from tests.unit.rules.release_scenario import TOPIC
from tests.unit.verify.handled_events import HandledEvents
from tests.unit.verify.test_scratch import _BYTES_MAX, created
from worker.pipeline.transaction import read
from worker.ports import Partition
from worker.rules.identity import activity_id, position_id
from worker.rules.message import RecordPosition
from worker.verify.history import DeadLetter, position_of
from worker.verify.recreated import ACTIVITY, REJECTION
from worker.verify.scratch import Scratch, scratch

BEGIN, END = 2, 6
"""Of the partition: records at the offsets 2 to 4, a gap at 5."""
UNKNOWN = activity_id(source="/ci", event_id="unknown")
KNOWN = activity_id(source="/ci", event_id="e3")


@pytest.fixture
def store() -> Iterator[Scratch]:
    with scratch(None, committed={}, event_bytes_max=_BYTES_MAX) as opened:
        opened.recreated.add_logs({Partition(TOPIC, 0): BEGIN}, {Partition(TOPIC, 0): END})
        for offset in (2, 3, 4):
            opened.add_input(created(offset))
        yield opened


def earlier(store: Scratch, *rows: tuple[UUID, RecordPosition]) -> list[bool]:
    for event, place in rows:
        store.recreated.add_row(ACTIVITY, event, place)
    store.seal()
    return [store.recreated.is_earlier(ACTIVITY, event) for event, _ in rows]


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (RecordPosition(TOPIC, 0, 3), True),
        (RecordPosition(TOPIC, 0, END), True),
        (RecordPosition(TOPIC, 7, 0), True),
        (RecordPosition(TOPIC, 0, BEGIN - 1), False),
        (RecordPosition(TOPIC, 0, 5), False),
        (RecordPosition("another", 0, 3), False),
    ],
    ids=["another record", "beyond the end", "no such partition", "deleted", "a gap", "another topic"],
)
def test_row_of_an_unknown_event_is_earlier_by_its_position(
    store: Scratch, place: RecordPosition, expected: bool
) -> None:
    """Deleted records and gaps are explained by retention, compaction and transactions."""
    assert earlier(store, (UNKNOWN, place)) == [expected]


def test_row_with_another_position_is_contradictory(store: Scratch) -> None:
    """Nothing else shows that the topic was created again."""
    assert earlier(store, (KNOWN, RecordPosition(TOPIC, 0, 4))) == [False]


def test_row_with_another_position_in_a_recreated_topic_is_earlier(store: Scratch) -> None:
    rows = [
        (UNKNOWN, RecordPosition(TOPIC, 0, END)),
        (KNOWN, RecordPosition(TOPIC, 0, 4)),
        (activity_id(source="/ci", event_id="e2"), RecordPosition(TOPIC, 0, 2)),
    ]
    assert earlier(store, *rows, (activity_id(source="/ci", event_id="gap"), RecordPosition(TOPIC, 0, 5))) == [
        True,
        True,
        False,
        True,
    ]


def test_row_with_an_underived_id_proves_nothing(store: Scratch) -> None:
    events = HandledEvents.with_a_rejection()
    [rejection] = events.world.rejections.values()
    assert position_of(rejection) == RecordPosition(TOPIC, 0, END)
    store.add_rejection(replace(rejection, event_id="edited"))
    store.seal()
    assert store.recreated.count() == 0


@pytest.mark.parametrize(("older_ms", "expected"), [(1, True), (0, False)])
def test_dead_letter_is_earlier_where_a_newer_record_is(store: Scratch, older_ms: int, expected: bool) -> None:
    """Another record was rejected again since, so that no row names the earlier log."""
    event = read(created(3), event_bytes_max=_BYTES_MAX).id
    events = HandledEvents.with_a_rejection()
    [rejection] = events.world.rejections.values()
    store.add_rejection(replace(rejection, id=event, event_source="/ci", event_id="e3", offset=3))
    record = created(4)
    dead_letter = DeadLetter(
        position=RecordPosition("dead-letters", 0, 0),
        rejection_id=event,
        original=RecordPosition(TOPIC, 0, 4),
        reason="invalid_data",
        timestamp_ms=record.timestamp_ms - older_ms,
    )
    store.add_dead_letter(dead_letter, b"")
    store.seal()
    assert list(store.orphans()) == ([] if expected else [dead_letter])
    assert store.recreated.count() == expected
    assert not store.recreated.is_earlier(REJECTION, event)


def test_rejection_by_position_of_an_identified_record_is_a_fault(store: Scratch) -> None:
    """Its id is derived from the position and the timestamp of a record that has an identity."""
    record = created(5)
    events = HandledEvents.with_a_rejection()
    [rejection] = events.world.rejections.values()
    own = position_id(topic=TOPIC, partition=0, offset=5, timestamp_ms=record.timestamp_ms)
    unnamed = replace(rejection, id=own, event_source=None, event_id=None, offset=5)
    store.add_rejection(unnamed)
    store.add_input(record)
    store.seal()
    assert list(store.orphans()) == [unnamed]
