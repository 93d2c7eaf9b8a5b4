"""Topics, tables, journal, a worker and a clock in memory, for redrives that are killed between any two steps.

The worker decides what is in the topics whenever the clock moves. Each call of an edge counts as two steps: before its
effect and after it.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any
from uuid import UUID

from schemas.event import ReleaseReference
from schemas.record import Record
from tests.properties.world import World
from tests.properties.world_rows import deployment_row, release_row
from worker.dead_letters.originals import Originals
from worker.dead_letters.planning import Planning
from worker.dead_letters.redrive import Edges
from worker.dead_letters.workers import WorkersState
from worker.pipeline.transaction import read
from worker.ports import OutgoingRecord, Partition
from worker.prediction import Prediction
from worker.rules.decide import decide
from worker.rules.message import Message
from worker.rules.rows import Activity, Rejection
from worker.rules.state import Outcome
from worker.stored_redrives import Held, JournalRow, Settled, State, StoredAction
from worker.stored_rows import ReleaseRows

DEAD_LETTERS = "dead"


class Killed(BaseException):
    """The process was killed."""


BYTES_MAX = 1024 * 1024


def decoded(record: Record, bytes_max: int = BYTES_MAX) -> Message:
    return read(record, event_bytes_max=bytes_max)


class RedriveWorld:
    """`now_ms`: the timestamp of what is sent. `bytes_max`: of an event's value. `kill_at`: the step that kills the
    process; None: none does. `works`: whether the worker runs. `waits_per_work`: it works in every so many waits.
    """

    def __init__(self, *, now_ms: int) -> None:
        self.now_ms = now_ms
        self.tables = World()
        self.partitions: dict[Partition, list[Record]] = defaultdict(list)
        self.deleted: set[tuple[str, int, int]] = set()
        self.consumed: Counter[Partition] = Counter()
        self.decided: list[tuple[Message, Outcome]] = []
        self.actions: dict[UUID, dict[int, JournalRow]] = {}
        self.seconds = 0.0
        self.steps = 0
        self.kill_at: int | None = None
        self.works = True
        self.waits = 0
        self.waits_per_work = 1
        self.bytes_max = BYTES_MAX

    def append(self, record: Record) -> int:
        """To its partition, at the next offset."""
        records = self.partitions[Partition(record.topic, record.partition)]
        records.append(replace(record, offset=len(records)))
        return len(records) - 1

    def work(self) -> None:
        """The worker: all that is in the input topics."""
        for partition, records in self.partitions.items():
            for record in records[self.consumed[partition] :] if partition.topic != DEAD_LETTERS else ():
                if not record.is_tombstone:
                    message = self.decode(record)
                    self.decided.append((message, self.tables.take(message)))
                self.consumed[partition] += 1

    def open_rejections(self) -> list[Rejection]:
        return [one for one in self.tables.rejections.values() if one.resolved_at is None]

    def edges(self) -> Edges:
        return Edges(
            journal=_Journal(self),
            topics=_Topics(self),
            originals=self.originals(),
            producer=_Producer(self),
            decisions=_Rows(self),
            workers=_Workers(self),
            decode=self.decode,
            clock=_Clock(self),
        )

    def originals(self) -> Originals:
        return Originals(_Topics(self), self.decode, dead_letter_topic=DEAD_LETTERS)

    def planning(self) -> Planning:
        prediction = Prediction(_Rows(self), decide)
        return Planning(originals=self.originals(), reader=_Topics(self), decode=self.decode, prediction=prediction)

    def decode(self, record: Record) -> Message:
        return decoded(record, self.bytes_max)

    def step(self) -> None:
        self.steps += 1
        if self.steps == self.kill_at:
            raise Killed


class _Topics:
    def __init__(self, world: RedriveWorld) -> None:
        self._world = world

    async def ends(self, topics: Sequence[str]) -> dict[Partition, int]:
        self._world.step()
        return {at: len(records) for at, records in self._world.partitions.items() if at.topic in topics}

    async def committed(self, topics: Sequence[str]) -> dict[Partition, int]:
        self._world.step()
        return {at: offset for at, offset in self._world.consumed.items() if at.topic in topics}

    async def records_at(self, positions: Iterable[tuple[str, int, int]]) -> AsyncIterator[Record]:
        self._world.step()
        for topic, partition, offset in sorted(set(positions)):
            records = self._world.partitions.get(Partition(topic, partition), [])
            if offset < len(records) and (topic, partition, offset) not in self._world.deleted:
                yield records[offset]

    async def records_between(self, ranges: Mapping[Partition, range]) -> AsyncIterator[Record]:
        self._world.step()
        for at, offsets in ranges.items():
            for record in self._world.partitions[at]:
                if record.offset in offsets and (*at, record.offset) not in self._world.deleted:
                    yield record

    async def records(self, ends: Mapping[Partition, int]) -> AsyncIterator[Record]:
        async for record in self.records_between({at: range(end) for at, end in ends.items()}):
            yield record


class _Producer:
    def __init__(self, world: RedriveWorld) -> None:
        self._world = world

    async def produce(self, outgoing_record: OutgoingRecord) -> tuple[int, int]:
        self._world.step()
        assert outgoing_record.partition is not None
        record = Record(
            topic=outgoing_record.topic,
            partition=outgoing_record.partition,
            offset=0,
            timestamp_ms=self._world.now_ms,
            key=outgoing_record.key,
            value=outgoing_record.value,
            headers=outgoing_record.headers,
        )
        self._require_none_undecided(decoded(record))
        offset = self._world.append(record)
        self._world.step()
        return outgoing_record.partition, offset

    def _require_none_undecided(self, message: Message) -> None:
        """Of the release, or with a claim in common: each is decided before the next is sent. An event that was applied
        or corrected before is a duplicate at once.
        """
        tables = self._world.tables
        for at, records in self._world.partitions.items():
            for other in map(decoded, records[self._world.consumed[at] :]):
                rejection = tables.rejections.get(other.id)
                if other.id in tables.activities or (rejection is not None and rejection.resolved_at is not None):
                    continue
                assert other.ordering_key != message.ordering_key
                assert not set(other.claims) & set(message.claims)


class _Rows:
    """`worker.prediction.Rows` and `worker.dead_letters.redrive.Decisions`."""

    def __init__(self, world: RedriveWorld) -> None:
        self._world = world

    async def rows_of(self, release_ids: Sequence[UUID]) -> list[ReleaseRows]:
        tables = self._world.tables
        return [
            ReleaseRows(
                release=release_row(tables.releases[id_]),
                version=tables.versions.get(id_),
                deployments=tuple(deployment_row(row) for row in tables.deployments.values() if row.release_id == id_),
                activities=tuple(one for one in tables.activities.values() if one.release_id == id_),
            )
            for id_ in release_ids
            if id_ in tables.releases
        ]

    async def rejections_of(self, event_ids: Sequence[UUID]) -> dict[UUID, Rejection]:
        self._world.step()
        return {id_: one for id_ in event_ids if (one := self._world.tables.rejections.get(id_)) is not None}

    async def activities_of(self, event_ids: Sequence[UUID]) -> dict[UUID, Activity]:
        self._world.step()
        return {id_: one for id_ in event_ids if (one := self._world.tables.activities.get(id_)) is not None}

    async def numbers(self, release_date: date, component_id: UUID) -> dict[str, int]:
        raise AssertionError("no event of this world is foreign")

    async def find_releases(self, references: Sequence[ReleaseReference]) -> list[UUID | None]:
        raise AssertionError("no event of this world is foreign")

    async def same_number(self, release_date: date, release_number: int, component_id: UUID) -> dict[UUID, str]:
        number = (release_date, release_number, component_id)
        return {
            id_: row.release.deployment_track_id
            for id_, row in self._world.tables.releases.items()
            if (row.release.release_date, row.release.release_number, row.release.component_id) == number
        }


class _Journal:
    def __init__(self, world: RedriveWorld) -> None:
        self._world = world

    async def action(self, action_id: UUID) -> StoredAction | None:
        raise NotImplementedError(action_id)

    async def rows(self, action_id: UUID) -> list[JournalRow]:
        return [row for _, row in sorted(self._world.actions.get(action_id, {}).items())]

    async def held(self, rejection_ids: Sequence[UUID]) -> dict[UUID, UUID]:
        return {
            row.pinned.rejection_id: action_id
            for action_id, rows in self._world.actions.items()
            for row in rows.values()
            if row.pinned.rejection_id in rejection_ids and row.state in {State.SENDING, State.SENT}
        }

    async def plan(self, action_id: UUID, rows: Sequence[JournalRow]) -> None:
        self._world.actions[action_id] = {row.number: row for row in rows}

    async def sending(self, action_id: UUID, row: JournalRow, *, end_offset: int, claim: str) -> None:
        self._world.step()
        stored = self._world.actions[action_id][row.number]
        if stored.state is not State.PLANNED and (
            stored.state is not State.SENDING or stored.claim not in {claim, row.claim}
        ):
            raise Held(action_id, row.pinned.rejection_id)
        others = {id_: rows for id_, rows in self._world.actions.items() if id_ != action_id}
        for other, rows in others.items():
            for one in rows.values():
                if one.pinned.rejection_id == row.pinned.rejection_id and one.state in {State.SENDING, State.SENT}:
                    raise Held(other, row.pinned.rejection_id)
        kept = stored.end_offset if stored.state is State.SENDING else end_offset
        self._write(action_id, row.number, state=State.SENDING, end_offset=kept, claim=claim)
        self._world.step()

    async def sent(self, action_id: UUID, number: int, *, offset: int) -> None:
        self._world.step()
        self._write(action_id, number, state=State.SENT, sent_offset=offset, claim=None)
        self._world.step()

    async def settled(self, action_id: UUID, number: int, outcome: Settled, detail: str | None) -> None:
        self._world.step()
        self._write(action_id, number, state=State.SETTLED, outcome=outcome, detail=detail, claim=None)
        self._world.step()

    def _write(self, action_id: UUID, number: int, **values: Any) -> None:
        rows = self._world.actions[action_id]
        rows[number] = replace(rows[number], **values)


class _Workers:
    def __init__(self, world: RedriveWorld) -> None:
        self._world = world

    async def state(self) -> WorkersState:
        self._world.step()
        return WorkersState(members=1 if self._world.works else 0, lag=0, breaker_open=False)


class _Clock:
    """Time passes only while something waits; so does the worker's work."""

    def __init__(self, world: RedriveWorld) -> None:
        self._world = world

    def monotonic_seconds(self) -> float:
        return self._world.seconds

    def unix_seconds(self) -> float:
        return self._world.now_ms / 1000

    def chance(self) -> float:
        return 0.5

    async def wait(self, event: asyncio.Event, *, timeout_seconds: float) -> bool:
        self._world.step()
        self._world.seconds += max(timeout_seconds, 0.001)
        self._world.waits += 1
        if self._world.works and self._world.waits % self._world.waits_per_work == 0:
            self._world.work()
        await asyncio.sleep(0)
        return event.is_set()
