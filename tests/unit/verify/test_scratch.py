"""The scratch file yields histories release by release, with their relations to other releases."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from schemas.record import Record
from schemas.types import EventType as E
from tests.unit.rules.release_scenario import TOPIC, fields, release_id
from tests.unit.verify.handled_events import EXTENTS, HandledEvents
from worker.pipeline.transaction import read
from worker.ports import Partition
from worker.rules.decide import decide
from worker.rules.errors import ConfigurationError
from worker.rules.message import RecordPosition
from worker.rules.state import Rejected, State
from worker.stored_rows import ReleaseRows
from worker.verify.deleted_records import Gap
from worker.verify.scratch import scratch

_BYTES_MAX = 2**20


def created(number: int, **changes: object) -> Record:
    """A publisher's record, at the offset of its release's number."""
    data = {"release_id": str(release_id(number)), "organization_id": "acme", **fields(number), **changes}
    event = {"specversion": "1.0", "id": f"e{number}", "source": "/ci", "type": E.RELEASE_CREATED.value, "data": data}
    value = json.dumps(event, default=str).encode()
    return Record(
        topic=TOPIC, partition=0, offset=number, timestamp_ms=1_772_357_400_000, key=None, value=value, headers=()
    )


def rows_of(track: str) -> ReleaseRows:
    """Release 1, with another track."""
    events = HandledEvents()
    events.add(E.RELEASE_CREATED)
    rows = events.history().rows
    assert rows is not None
    return replace(rows, release={**rows.release, "deployment_track_id": track})


@pytest.mark.parametrize(("track", "taken"), [("main", True), ("MAIN", True), ("m\u00e4in", True), ("other", False)])
def test_number_is_taken_in_a_colliding_track(track: str, taken: bool) -> None:
    """As in the worker on every database; otherwise a correct rejection would be a finding."""
    record = created(2, release_number=1)
    message = read(record, event_bytes_max=_BYTES_MAX)
    refused = decide(State(number_taken=True), message)
    assert isinstance(refused, Rejected)
    with scratch(None, committed={}, event_bytes_max=_BYTES_MAX) as store:
        store.add_release(rows_of(track))
        store.add_rejection(refused.rejection)
        store.add_input(record)
        store.seal()
        [history] = [one for one in store.histories(EXTENTS) if one.key == release_id(2)]
    assert history.numbers_taken == (frozenset({message.id}) if taken else frozenset())


@pytest.mark.parametrize(("track", "shared"), [("MAIN", True), ("m\u00e4in", True), ("other", False)])
def test_releases_with_one_number_and_colliding_tracks_are_found(track: str, shared: bool) -> None:
    """The worker creates only one of them."""
    first = rows_of("main")
    second = replace(first, release={**rows_of(track).release, "id": release_id(2)}, activities=())
    with scratch(None, committed={}, event_bytes_max=_BYTES_MAX) as store:
        store.add_release(second)
        store.add_release(first)
        store.seal()
        assert list(store.shared_numbers()) == ([(release_id(2), release_id(1))] if shared else [])


def test_record_after_the_commit_is_in_flight(tmp_path: Path) -> None:
    with scratch(tmp_path, committed={Partition(TOPIC, 0): 2}, event_bytes_max=_BYTES_MAX) as store:
        for number in (1, 2):
            store.add_input(created(number))
        store.seal()
        in_flight = {history.key: history.inputs[0].in_flight for history in store.histories(EXTENTS)}
        assert list(tmp_path.iterdir())
    assert in_flight == {release_id(1): False, release_id(2): True}
    assert list(tmp_path.iterdir()) == []


def test_missing_temporary_folder_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(ConfigurationError, match="--scratch"), scratch(None, committed={}, event_bytes_max=_BYTES_MAX):
        pass


def test_full_scratch_disk_is_one_line(tmp_path: Path) -> None:
    def fill() -> None:
        with scratch(tmp_path, committed={}, event_bytes_max=_BYTES_MAX) as store:
            store._connection.execute("PRAGMA max_page_count = 100")
            for number in range(1, 1_000):
                store.add_input(created(number, description="x" * 10_000))

    with pytest.raises(ConfigurationError, match=r"database or disk is full; .* --scratch"):
        fill()
    assert list(tmp_path.iterdir()) == []


def test_gaps_between_rows_of_deleted_records_are_reported() -> None:
    """From the first row on, below the commit and the log start; the rest can still be read."""
    at = Partition(TOPIC, 0)
    with scratch(None, committed={at: 10}, begins={at: 8, Partition(TOPIC, 1): 0}, event_bytes_max=_BYTES_MAX) as store:
        for offset in (2, 3, 6, 9):
            store.deleted_records.add_row(RecordPosition(TOPIC, 0, offset))
        assert list(store.deleted_records.without_rows({at: 10})) == [Gap(TOPIC, 0, 4, 5), Gap(TOPIC, 0, 7, 7)]
        assert list(store.deleted_records.without_rows({at: 7})) == [Gap(TOPIC, 0, 4, 5)]
        assert list(store.deleted_records.without_rows({})) == []
        assert list(store.deleted_records.unread({at: 10})) == []
        assert list(store.deleted_records.unread({at: 5})) == [Gap(TOPIC, 0, 5, 7)]
