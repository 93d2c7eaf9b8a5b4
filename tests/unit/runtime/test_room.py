"""Room is what bounds memory: records and bytes that are fetched and not done."""

from schemas.record import Record
from worker.runtime.room import Room
from worker.telemetry import Metrics


def a_record(size_bytes: int) -> Record:
    return Record(topic="t", partition=0, offset=0, timestamp_ms=0, key=None, value=b"x" * size_bytes)


def test_records_bound_what_may_be_fetched() -> None:
    room = Room(records_max=3, bytes_max=100, metrics=Metrics())
    room.take(a_record(1))
    assert room.records == 2
    room.take(a_record(1))
    room.take(a_record(1))
    assert room.records == 0
    assert not room.event.is_set()
    room.give_back(a_record(1))
    assert room.records == 1
    assert room.event.is_set()


def test_bytes_bound_it_too() -> None:
    """A few large records leave no room, however few they are; when they go, it comes back."""
    room = Room(records_max=1000, bytes_max=100, metrics=Metrics())
    room.take(a_record(99))
    assert room.records == 999
    room.take(a_record(50))
    assert room.records == 0
    assert not room.event.is_set()
    room.give_back(a_record(99))
    assert room.records == 999
    assert room.event.is_set()


def test_a_tombstone_takes_room_for_a_record_and_for_no_bytes() -> None:
    room = Room(records_max=2, bytes_max=1, metrics=Metrics())
    room.take(Record(topic="t", partition=0, offset=0, timestamp_ms=0, key=b"k", value=None))
    assert room.records == 1
