"""One dead letter in full: its record, what the worker would decide on it now, and what was done about it."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from schemas.record import Record
from worker.dead_letters.originals import Decode, Missing, Originals, RecordReader
from worker.dead_letters.plan import Decision, predicted, redriven
from worker.dead_letters.selection import DeadLetters
from worker.pages import CappedCount
from worker.ports import Partition
from worker.prediction import Prediction
from worker.rules.state import Applied, Changes, Outcome, Stale
from worker.stored_dead_letters import DeadLetter, DeadLetterState, Filters, RedriveLine
from worker.stored_redrives import Pinned

_OTHERS_MAX = 10
_OTHERS_COUNTED_MAX = 10_000
_AHEAD = timedelta(hours=25)
"""An event's time may be after its record's timestamp; RUDDER_EVENT_AHEAD_MAX_SECONDS is a day by default."""

COPIES_MAX = 100_000
_BEYOND_ALL = 2**62


class TopicReader(RecordReader, Protocol):
    async def offsets_at(self, topics: Sequence[str], timestamp_ms: int) -> Mapping[Partition, int]:
        """Of each partition the first offset with this timestamp or a later one; the log end where there is none."""
        ...

    def records_between(self, ranges: Mapping[Partition, range]) -> AsyncIterator[Record]:
        """The records that still exist of each partition, with an offset in its range."""
        ...


class Redrives(DeadLetters, Protocol):
    async def redrives_of(self, id_: UUID) -> Sequence[RedriveLine]:
        """The latest redrives of a dead letter, the last one first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundRecord:
    """`record`: the rejected record, or why it cannot be read. `copied`: from its dead letter, since the input topic
    does not have it any more. `incomplete`: only the first COPIES_MAX dead letters after the event were searched.
    """

    record: Record | Missing
    copied: bool = False
    incomplete: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionNow:
    """What the worker would decide on a redrive now. `why`: reason and detail of a rejection. `rows`: those that would
    be added or changed, each with its table.
    """

    decision: Decision
    why: str | None = None
    rows: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the database has about a dead letter. `others`: the newest other open dead letters of its release."""

    others: Sequence[DeadLetter]
    others_count: CappedCount
    redrives: Sequence[RedriveLine]


async def surroundings(dead_letter: DeadLetter, dead_letters: Redrives) -> Surroundings:
    """Raises Unavailable: the database does not answer."""
    release = dead_letter.rejection.release_id
    others, count = list[DeadLetter](), CappedCount(0)
    if release is not None:
        filters = Filters(release=release)
        page = await dead_letters.page(filters, None, _OTHERS_MAX + 1)
        others = [one for one in page if one.id != dead_letter.id][:_OTHERS_MAX]
        count = await dead_letters.count(filters, _OTHERS_COUNTED_MAX)
        if dead_letter.state is DeadLetterState.OPEN and not count.capped:
            count = CappedCount(count.number - 1)
    return Surroundings(others=others, others_count=count, redrives=await dead_letters.redrives_of(dead_letter.id))


async def find_records(
    dead_letters: Sequence[DeadLetter], reader: TopicReader, decode: Decode, *, dead_letter_topic: str
) -> Mapping[UUID, FoundRecord]:
    """The rejected records, by dead letter: each from its input topic, if the record there is this one, else from its
    dead letter.

    Raises:
        Unavailable, ConfigurationError: a topic cannot be read.
    """
    copies = _LaterCopies(reader, since=min(one.rejection.created_at for one in dead_letters) - _AHEAD)
    originals = Originals(copies, decode, dead_letter_topic=dead_letter_topic)
    found = {}
    async for pinned, record in originals.of([Pinned.of(one.rejection) for one in dead_letters]):
        copied = copies.were_read and not isinstance(record, Missing)
        incomplete = copies.incomplete and isinstance(record, Missing)
        found[pinned.rejection_id] = FoundRecord(record=record, copied=copied, incomplete=incomplete)
    return found


async def decision_now(
    dead_letter: DeadLetter, record: Record, prediction: Prediction, decode: Decode, *, now: datetime
) -> DecisionNow:
    """What a redrive would result in, if it was sent at `now` and nothing else happened.

    Raises:
        Unavailable: the database does not answer.
    """
    pinned = Pinned.of(dead_letter.rejection)
    outgoing = redriven(record, pinned, event_id=decode(record).id)
    sent = replace(record, offset=_BEYOND_ALL, timestamp_ms=int(now.timestamp() * 1000), headers=outgoing.headers)
    message = decode(sent)
    await prediction.load([message])
    outcome = prediction.decide(message)
    decision, reason, detail = predicted(outcome)
    return DecisionNow(
        decision=decision, why=None if reason is None else f"{reason}: {detail}", rows=tuple(_rows(outcome))
    )


class _LaterCopies:
    """A reader that reads the dead-letter topic from a time on, and at most so many records of it."""

    def __init__(self, reader: TopicReader, *, since: datetime) -> None:
        self._reader = reader
        self._since_ms = max(0, int(since.timestamp() * 1000))
        self.were_read = False
        self.incomplete = False

    async def ends(self, topics: Sequence[str]) -> Mapping[Partition, int]:
        return await self._reader.ends(topics)

    def records_at(self, positions: Iterable[tuple[str, int, int]]) -> AsyncIterator[Record]:
        return self._reader.records_at(positions)

    async def records(self, ends: Mapping[Partition, int]) -> AsyncIterator[Record]:
        self.were_read = True
        topics = sorted({partition.topic for partition in ends})
        begins = await self._reader.offsets_at(topics, self._since_ms)
        ranges = {partition: range(begins.get(partition, 0), end) for partition, end in ends.items()}
        number = 0
        async for record in self._reader.records_between(ranges):
            yield record
            number += 1
            if number >= COPIES_MAX:
                self.incomplete = True
                return


def _rows(outcome: Outcome) -> Iterator[str]:
    match outcome:
        case Applied(changes=changes) | Stale(changes=changes):
            yield from _changed(changes)
        case _:
            return


def _changed(changes: Changes) -> Iterator[str]:
    if (new := changes.new_release) is not None:
        yield f"releases: {new.release.name} is added, {new.release.status}"
    if (move := changes.release_move) is not None:
        yield f"releases: status {move.previous} → {move.status}"
    for deployment_move in changes.deployment_moves:
        deployment = deployment_move.deployment
        yield (
            f"release_deployments: {deployment.environment_id} revision {deployment.config_revision} attempt "
            f"{deployment.attempt}: status {deployment_move.previous} → {deployment.status}"
        )
    if (opened := changes.new_deployment) is not None:
        deployment = opened.deployment
        yield (
            f"release_deployments: {deployment.environment_id} revision {deployment.config_revision} attempt "
            f"{deployment.attempt} is added, {deployment.status}"
        )
    for activity in changes.activities:
        yield f"release_activity_logs: {activity.activity_type} {activity.status} is added"
    yield "release_event_rejections: resolved_at is set"
