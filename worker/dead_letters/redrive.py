"""Executes a redrive: sends each pinned record once, in order, and finds out what the worker decided on it.

Each step of a record is in the journal before the next one begins: SENDING before it is sent, SENT after the broker's
acknowledgement, SETTLED after the decision. So a redrive that ends anywhere can continue. A record in SENDING is first
searched in its partition, and sent only if it is not there.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar
from uuid import UUID, uuid4

from schemas.record import Record
from worker.dead_letters.originals import Decode, Missing, Originals, RecordReader, digest
from worker.dead_letters.outcomes import Sent, decided_at, outcome_of
from worker.dead_letters.plan import Decision, RedrivePlan, as_sent, groups, redriven
from worker.dead_letters.workers import WorkersState
from worker.ports import Clock, OutgoingRecord, Partition
from worker.rules.errors import ConfigurationError, RecordRefused, Unavailable
from worker.rules.message import Message, RecordPosition
from worker.rules.rows import Activity, Rejection
from worker.stored_redrives import Held, Journal, JournalRow, Pinned, Settled, State

_T = TypeVar("_T")

BATCH_MAX = 100
"""Records between two checks of the workers; their bytes are in memory together."""

_RAMP = {1: 2, 2: 5, 5: 10}

_CHECK_SECONDS = 5.0
_RETRY_SECONDS = 1.0
_POLL_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedriveLimits:
    """`per_second`: records sent. `ramp`: begin with one record, then more while all pass. `max_rejected`: stop when so
    many events were rejected that the plan expected to pass. `max_lag`: of the group, in records. `wait_seconds`: for
    one decision, and for a database or broker that is unavailable.
    """

    per_second: float = 10.0
    ramp: bool = False
    max_rejected: int = 1
    max_lag: int = 10_000
    wait_seconds: float = 60.0


class Workers(Protocol):
    async def state(self) -> WorkersState:
        """Raises Unavailable where the database or the broker does not answer."""
        ...


class Producer(Protocol):
    async def produce(self, outgoing_record: OutgoingRecord) -> tuple[int, int]:
        """Produce one record to its partition; the partition and the offset.

        Raises:
            Unavailable: it is not acknowledged, but may have been written.
            RecordRefused: the broker refuses the record, and it is not written.
        """
        ...


class Decisions(Protocol):
    """The rows of the database. Both raise Unavailable where it does not answer."""

    async def rejections_of(self, event_ids: Sequence[UUID]) -> Mapping[UUID, Rejection]: ...

    async def activities_of(self, event_ids: Sequence[UUID]) -> Mapping[UUID, Activity]: ...


class Topics(RecordReader, Protocol):
    async def committed(self, topics: Sequence[str]) -> Mapping[Partition, int]:
        """The group's committed offset of each partition that has one."""
        ...

    def records_between(self, ranges: Mapping[Partition, range]) -> AsyncIterator[Record]:
        """The records of each partition with an offset in its range, in order."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """What a redrive works with."""

    journal: Journal
    topics: Topics
    originals: Originals
    producer: Producer
    decisions: Decisions
    workers: Workers
    decode: Decode
    clock: Clock


@dataclass(slots=True, kw_only=True)
class _Item:
    """`group`: see `worker.dead_letters.plan.groups`. `event_id`: None until it is known, which takes the position of
    the sent record if the event has no identity.
    """

    row: JournalRow
    group: int
    event_id: UUID | None


class _Stopped(Exception):
    """The redrive ends before its end; the message says why."""


class Redrive:
    """One action. `report`: called with each row that is settled."""

    def __init__(
        self,
        action_id: UUID,
        edges: Edges,
        *,
        limits: RedriveLimits,
        report: Callable[[JournalRow], None] = lambda _: None,
    ) -> None:
        self._action_id = action_id
        self._edges = edges
        self._limits = limits
        self._report = report
        self._claim = uuid4().hex
        self._items: dict[int, _Item] = {}
        self._unexpected = 0
        self._send_at_seconds = 0.0
        self._check_at_seconds = 0.0
        self._stop = asyncio.Event()

    @property
    def rows(self) -> tuple[JournalRow, ...]:
        """As far as is known, in the order of the plan."""
        return tuple(item.row for _, item in sorted(self._items.items()))

    async def run(self, rows: Sequence[JournalRow], stop: asyncio.Event) -> str | None:
        """Execute what the journal's rows leave to do. `stop`: ends it after the current record.

        Returns why it stopped before the end; None: it did not, or `stop` was set.
        """
        self._stop = stop
        try:
            self._items = await self._patiently(lambda: self._items_of(rows))
            unsettled = [
                number for number, item in self._items.items() if item.row.state in {State.SENDING, State.SENT}
            ]
            for first in range(0, len(unsettled), BATCH_MAX):
                await self._batch(unsettled[first : first + BATCH_MAX])
            planned = [number for number, item in self._items.items() if item.row.state is State.PLANNED]
            size = 1 if self._limits.ramp else BATCH_MAX
            while planned and not stop.is_set():
                batch, planned = planned[:size], planned[size:]
                size = next_size(size) if await self._batch(batch) or not self._limits.ramp else 1
        except _Stopped as stopped:
            return str(stopped)
        except (Held, ConfigurationError) as error:
            return _of_held(error) if isinstance(error, Held) else str(error)
        return None

    async def _items_of(self, rows: Sequence[JournalRow]) -> dict[int, _Item]:
        now_ms = int(self._edges.clock.unix_seconds() * 1000)
        unsettled = {row.pinned: row for row in rows if row.state is not State.SETTLED}
        messages: dict[int, Message] = {}
        async for pinned, found in self._edges.originals.of(unsettled):
            if isinstance(found, Record):
                messages[unsettled[pinned].number] = as_sent(found, pinned, self._edges.decode, now_ms=now_ms)
        grouped = dict(zip(messages, groups(list(messages.values())), strict=True))
        return {
            row.number: _Item(
                row=row, group=grouped.get(row.number, -1 - row.number), event_id=_event_id(row, messages)
            )
            for row in rows
        }

    async def _batch(self, numbers: Sequence[int]) -> bool:
        """Send and await these; whether all have passed."""
        await self._check_workers()
        items = [self._items[number] for number in numbers]
        to_send = {item.row.pinned: item for item in items if item.row.state is not State.SENT}
        records = await self._patiently(lambda: self._records(to_send))
        topics = sorted({item.row.pinned.position.topic for item in items})
        ends = await self._patiently(lambda: self._edges.topics.ends(topics))
        now_seconds = self._edges.clock.monotonic_seconds()
        deadline_seconds = now_seconds + self._limits.wait_seconds
        waiting = {item.row.number: deadline_seconds for item in items if item.row.state is State.SENT}
        queue: list[_Item] = []
        for item in items:
            if item.row.state is State.PLANNED or (item.row.state is State.SENDING and not await self._located(item)):
                queue.append(item)
            elif item.row.state is State.SENT:
                waiting[item.row.number] = deadline_seconds
        await self._send_and_await(queue, waiting, records, ends)
        return all(item.row.outcome is not None and item.row.outcome.resolves for item in items)

    async def _send_and_await(
        self,
        queue: list[_Item],
        waiting: dict[int, float],
        records: Mapping[Pinned, Record | Missing],
        ends: Mapping[Partition, int],
    ) -> None:
        """`waiting`: the sent records, with the time at which each is overdue."""
        clock, polls = self._edges.clock, 0
        while queue or waiting:
            if self._stop.is_set():
                await self._poll(waiting)
                return
            if self._unexpected >= self._limits.max_rejected:
                queue.clear()
            busy = {self._items[number].group for number in waiting}
            ready = next((item for item in queue if item.group not in busy), None)
            if ready is not None and clock.monotonic_seconds() >= self._send_at_seconds:
                queue.remove(ready)
                if await self._sent(ready, records[ready.row.pinned], ends):
                    waiting[ready.row.number] = clock.monotonic_seconds() + self._limits.wait_seconds
                    polls = 0
                continue
            settled = await self._poll(waiting)
            polls = 0 if settled else min(polls + 1, len(_POLL_SECONDS) - 1)
            if not settled:
                await self._settle_overdue(waiting)
                await self._check_workers(seldom=True)
                await self._pause(_POLL_SECONDS[polls], until_next_record=ready is not None)
        if self._unexpected >= self._limits.max_rejected:
            raise _Stopped(f"{self._unexpected} events that were expected to pass were rejected again (--max-rejected)")

    async def _pause(self, seconds: float, *, until_next_record: bool) -> None:
        if until_next_record:
            seconds = min(seconds, max(0.0, self._send_at_seconds - self._edges.clock.monotonic_seconds()))
        await self._edges.clock.wait(self._stop, timeout_seconds=seconds)

    async def _settle_overdue(self, waiting: dict[int, float]) -> None:
        """Records that the group has skipped are settled; others that are overdue stop the redrive."""
        if self._overdue(waiting):
            topics = sorted({self._items[number].row.pinned.position.topic for number in waiting})
            # The commits first: what the group committed was decided before, so its decision is in the rows read next.
            committed = await self._patiently(lambda: self._edges.topics.committed(topics))
            await self._poll(waiting)
            for number in self._overdue(waiting):
                at = _sent_at(self._items[number].row)
                if at is not None and at.offset < committed.get(Partition(*at[:2]), 0):
                    del waiting[number]
                    await self._settle(self._items[number], Settled.SKIPPED, f"offset {at.offset} was not decided")
        if overdue := self._overdue(waiting):
            raise _Stopped(
                f"{len(overdue)} sent events were not decided within {self._limits.wait_seconds:g} s (--wait)"
            )

    def _overdue(self, waiting: Mapping[int, float]) -> list[int]:
        now_seconds = self._edges.clock.monotonic_seconds()
        return [number for number, deadline_seconds in waiting.items() if deadline_seconds <= now_seconds]

    async def _sent(self, item: _Item, record: Record | Missing, ends: Mapping[Partition, int]) -> bool:
        """Send one record; whether it was sent."""
        topic, partition, _ = item.row.pinned.position
        end_offset = ends.get(Partition(topic, partition))
        if isinstance(record, Missing):
            await self._settle(item, Settled.NOT_SENT, f"the record cannot be read: {record}")
            return False
        if end_offset is None:
            await self._settle(item, Settled.NOT_SENT, f"partition {topic}/{partition} does not exist")
            return False
        outgoing = redriven(record, item.row.pinned, event_id=self._edges.decode(record).id)
        row = item.row
        await self._patiently(
            lambda: self._edges.journal.sending(self._action_id, row, end_offset=end_offset, claim=self._claim)
        )
        kept = row.end_offset if row.state is State.SENDING else end_offset
        item.row = replace(row, state=State.SENDING, end_offset=kept, claim=self._claim)
        interval_seconds = 1 / self._limits.per_second
        self._send_at_seconds = max(self._send_at_seconds, self._edges.clock.monotonic_seconds()) + interval_seconds
        try:
            async with asyncio.timeout(self._limits.wait_seconds):
                _, offset = await self._edges.producer.produce(outgoing)
        except RecordRefused as error:
            await self._settle(item, Settled.NOT_SENT, str(error))
            return False
        except (Unavailable, TimeoutError) as error:
            raise _Stopped(f"Kafka has not acknowledged a record: {error or 'no answer'}") from error
        await self._acknowledged(item, offset)
        return True

    async def _acknowledged(self, item: _Item, offset: int) -> None:
        await self._patiently(lambda: self._edges.journal.sent(self._action_id, item.row.number, offset=offset))
        item.row = replace(item.row, state=State.SENT, sent_offset=offset)

    async def _settle(self, item: _Item, outcome: Settled, detail: str | None) -> None:
        number = item.row.number
        await self._patiently(lambda: self._edges.journal.settled(self._action_id, number, outcome, detail))
        item.row = replace(item.row, state=State.SETTLED, outcome=outcome, detail=detail, claim=None)
        self._unexpected += outcome is Settled.REJECTED and not item.row.predicted.startswith(Decision.REJECTED)
        self._report(item.row)

    async def _poll(self, waiting: dict[int, float]) -> bool:
        """Settle those that are decided; whether there are any."""
        items = [self._items[number] for number in waiting]
        for item in items:
            if item.event_id is None:
                item.event_id = await self._patiently(lambda item=item: self._unidentified(item))  # type: ignore[misc]
        found = await self._patiently(lambda: self._outcomes(items))
        for number, (outcome, detail) in found.items():
            del waiting[number]
            await self._settle(self._items[number], outcome, detail)
        return bool(found)

    async def _outcomes(self, items: Sequence[_Item]) -> dict[int, tuple[Settled, str | None]]:
        if not items:
            return {}
        own = {item.row.number: item.event_id or item.row.pinned.rejection_id for item in items}
        ids = {*own.values(), *(item.row.pinned.rejection_id for item in items)}
        rejections = await self._edges.decisions.rejections_of(list(ids))
        activities = await self._edges.decisions.activities_of(list(own.values()))
        found = {}
        for item in items:
            event_id = own[item.row.number]
            outcome = outcome_of(
                Sent(pinned=item.row.pinned, event_id=event_id, at=_sent_at(item.row)),
                activity=activities.get(event_id),
                rejection=rejections.get(item.row.pinned.rejection_id),
                own=rejections.get(event_id),
            )
            if outcome is not None:
                found[item.row.number] = outcome
        return found

    async def _unidentified(self, item: _Item) -> UUID | None:
        """The id of an event without an identity: from the record as it was sent."""
        at = _sent_at(item.row)
        if at is not None:
            async for record in self._edges.topics.records_at([at]):
                return self._edges.decode(record).id
        return item.row.pinned.rejection_id  # deleted meanwhile

    async def _located(self, item: _Item) -> bool:
        """Whether a record in SENDING was sent before; then it is in SENT or SETTLED."""
        row = item.row
        topic, partition, _ = row.pinned.position
        at = Partition(topic, partition)
        # The commits first: what the group committed was decided before, so its decision is in the rows read next.
        committed = await self._patiently(lambda: self._edges.topics.committed([topic]))
        if await self._decided_before_sent(item):
            return True
        begin = max(row.end_offset or 0, committed.get(at, 0) if item.event_id is not None else 0)
        found = await self._patiently(lambda: self._search(item, at, begin))
        if found is not None:
            await self._acknowledged(item, found)
        return found is not None

    async def _decided_before_sent(self, item: _Item) -> bool:
        if item.event_id is None:
            return False
        event_id, pinned = item.event_id, item.row.pinned
        rejections = await self._patiently(
            lambda: self._edges.decisions.rejections_of(list({event_id, pinned.rejection_id}))
        )
        activities = await self._patiently(lambda: self._edges.decisions.activities_of([event_id]))
        activity, rejection = activities.get(event_id), rejections.get(pinned.rejection_id)
        unknown = Sent(pinned=pinned, event_id=event_id, at=None)
        at = decided_at(unknown, activity=activity, rejection=rejection, from_offset=item.row.end_offset or 0)
        outcome = outcome_of(
            replace(unknown, at=at), activity=activity, rejection=rejection, own=rejections.get(event_id)
        )
        if outcome is None:
            return False
        if at is not None:
            await self._acknowledged(item, at.offset)
        await self._settle(item, *outcome)
        return True

    async def _search(self, item: _Item, at: Partition, begin: int) -> int | None:
        """The offset of the record in its partition, from `begin` on."""
        end = (await self._edges.topics.ends([at.topic])).get(at, 0)
        async for record in self._edges.topics.records_between({at: range(begin, end)}):
            message = self._edges.decode(record)
            same = item.event_id in {None, message.id} and message.redrive_of == item.row.pinned.position
            if same and (item.event_id is not None or message.corrects == item.row.pinned.rejection_id):
                return record.offset
        return None

    async def _records(self, wanted: Mapping[Pinned, _Item]) -> Mapping[Pinned, Record | Missing]:
        return {pinned: found async for pinned, found in self._edges.originals.of(wanted)}

    async def _check_workers(self, *, seldom: bool = False) -> None:
        now_seconds = self._edges.clock.monotonic_seconds()
        if seldom and now_seconds < self._check_at_seconds:
            return
        self._check_at_seconds = now_seconds + _CHECK_SECONDS
        state = await self._patiently(self._edges.workers.state)
        if problem := state.problem(max_lag=self._limits.max_lag):
            raise _Stopped(problem)

    async def _patiently(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """Repeat while the database or the broker is unavailable, for a bounded time."""
        clock = self._edges.clock
        give_up_at_seconds = clock.monotonic_seconds() + self._limits.wait_seconds
        while True:
            try:
                return await attempt()
            except Unavailable as error:
                stopped = await clock.wait(self._stop, timeout_seconds=_RETRY_SECONDS)
                if stopped or clock.monotonic_seconds() >= give_up_at_seconds:
                    raise _Stopped(str(error)) from error


def next_size(size: int) -> int:
    """Of the batch after one that has passed: 1, 2, 5, 10, 20, 40, …"""
    return min(_RAMP.get(size, 2 * size), BATCH_MAX)


def rows_of(plan: RedrivePlan) -> list[JournalRow]:
    """What the journal has of a plan at the beginning: the records that are sent."""
    return [
        JournalRow(number=number, pinned=one.pinned, release_id=one.release_id, predicted=one.predicted)
        for number, one in enumerate(plan.sent)
    ]


async def require_unchanged(plan: RedrivePlan, originals: Originals, decisions: Decisions) -> None:
    """Look whether each dead letter that is to be sent is as it was when the plan was made: still open, and readable.

    Raises:
        ConfigurationError: one is not.
    """
    problems = []
    rejections = await decisions.rejections_of([one.pinned.rejection_id for one in plan.sent])
    for one in plan.sent:
        now = rejections.get(one.pinned.rejection_id)
        if now is None or Pinned.of(now) != one.pinned:
            problems.append(f"dead letter {one.pinned.rejection_id} was rejected again")
        elif now.resolved_at is not None and one.decision is not Decision.DUPLICATE:
            problems.append(f"dead letter {one.pinned.rejection_id} was resolved")
    digests = {one.pinned: one.sha256 for one in plan.sent}
    async for pinned, found in originals.of(digests):
        if isinstance(found, Missing):
            problems.append(f"the record at {pinned.position} cannot be read any more ({found})")
        elif digest(found) != digests[pinned]:
            problems.append(f"the record at {pinned.position} is another one")
    if problems:
        more = f", and {len(problems) - 1} more changes" if len(problems) > 1 else ""
        raise ConfigurationError(f"{problems[0]} since the plan was made{more}; nothing was sent, make a new plan")


async def require_free(plan: RedrivePlan, journal: Journal) -> None:
    """Raises ConfigurationError if another redrive has not settled a dead letter of the plan."""
    held = await journal.held([one.pinned.rejection_id for one in plan.sent])
    if held:
        rejection_id, action_id = min(held.items())
        raise ConfigurationError(_of_held(Held(action_id, rejection_id)))


def _of_held(held: Held) -> str:
    return (
        f"dead letter {held.rejection_id} is being redriven by another command; if that one has ended, settle it with "
        f"`rudder-worker dead-letters redrive --resume {held.action_id}`"
    )


def _event_id(row: JournalRow, messages: Mapping[int, Message]) -> UUID | None:
    """None: the event has no identity. A record that cannot be read is taken for one with an identity."""
    content = messages[row.number].content if row.number in messages else None
    if content is not None and (content.source is None or content.id is None):
        return None
    return messages[row.number].id if row.number in messages else row.pinned.rejection_id


def _sent_at(row: JournalRow) -> RecordPosition | None:
    return None if row.sent_offset is None else row.pinned.position._replace(offset=row.sent_offset)
