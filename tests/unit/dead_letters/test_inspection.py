"""The search for rejected records: in their topics, then among the dead letters after their events."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import pytest

from schemas.reasons import Reason
from schemas.record import Record
from tests.conformance.release_messages import ReleaseMessages
from worker.dead_letters import inspection
from worker.dead_letters.inspection import find_records
from worker.dead_letters.originals import Missing
from worker.pipeline.dead_letter import REASON_HEADERS, dead_letter
from worker.pipeline.transaction import read
from worker.ports import Partition
from worker.rules.decide import reject
from worker.rules.message import Message
from worker.rules.state import State
from worker.stored_dead_letters import DeadLetter

LETTERS = "letters"
DECODE = partial(read, event_bytes_max=2**20)


@dataclass(slots=True)
class Topics:
    """Topics in memory. `since_ms`: the times from which the dead letters were read."""

    records_there: list[Record]
    since_ms: list[int] = field(default_factory=list)

    async def ends(self, topics: Sequence[str]) -> Mapping[Partition, int]:
        found: dict[Partition, int] = {}
        for record in self.records_there:
            if record.topic in topics:
                found[Partition(record.topic, record.partition)] = record.offset + 1
        return found

    async def offsets_at(self, topics: Sequence[str], timestamp_ms: int) -> Mapping[Partition, int]:
        self.since_ms.append(timestamp_ms)
        return dict.fromkeys(await self.ends(topics), 0)

    async def records_at(self, positions: Iterable[tuple[str, int, int]]) -> AsyncIterator[Record]:
        wanted = set(positions)
        for record in self.records_there:
            if (record.topic, record.partition, record.offset) in wanted:
                yield record

    async def records_between(self, ranges: Mapping[Partition, range]) -> AsyncIterator[Record]:
        for record in self.records_there:
            if record.offset in ranges.get(Partition(record.topic, record.partition), range(0)):
                yield record

    async def records(self, ends: Mapping[Partition, int]) -> AsyncIterator[Record]:
        async for record in self.records_between({partition: range(end) for partition, end in ends.items()}):
            yield record


def rejected_events(count: int) -> list[tuple[DeadLetter, Message]]:
    builder = ReleaseMessages()
    return [rejected(builder.deploy("started")) for _ in range(count)]


def rejected(one: Message) -> tuple[DeadLetter, Message]:
    return DeadLetter(rejection=reject(State(), one, Reason.RELEASE_NOT_FOUND, "").rejection), one


def copy_of(rejection: DeadLetter, one: Message, offset: int) -> Record:
    """The record's dead letter."""
    record = one.record
    values = (str(rejection.id), "r", "d", record.topic, str(record.partition), str(record.offset))
    texts = (*values, str(record.timestamp_ms), "1", "w")
    made = dead_letter(record, dict(zip(REASON_HEADERS, texts, strict=True)), topic=LETTERS)
    return Record(
        topic=LETTERS,
        partition=0,
        offset=offset,
        timestamp_ms=0,
        key=made.key,
        value=made.value,
        headers=made.headers,
    )


async def test_records_are_found_in_one_search() -> None:
    """One in its topic, one among the dead letters, one nowhere; the search begins a day before the first event."""
    pairs = rejected_events(3)
    copies = [copy_of(*pairs[2], 0), copy_of(*pairs[1], 1)]
    topics = Topics([pairs[0][1].record, *copies[1:]])
    found = await find_records([one for one, _ in pairs], topics, DECODE, dead_letter_topic=LETTERS)
    results = [found[one.id] for one, _ in pairs]
    assert [one.copied for one in results] == [False, True, False]
    assert [one.record for one in results[:2]] == [pairs[0][1].record, pairs[1][1].record]
    assert (results[2].record, results[2].incomplete) == (Missing.EXPIRED, False)
    [since_ms] = topics.since_ms
    first = pairs[0][0].rejection.created_at - timedelta(days=1)
    assert since_ms <= first.timestamp() * 1000


async def test_search_that_ends_early_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Instead of a claim that retention has deleted the dead letter."""
    monkeypatch.setattr(inspection, "COPIES_MAX", 2)
    pairs = rejected_events(3)
    topics = Topics([copy_of(*pair, offset) for offset, pair in enumerate(pairs)])
    found = await find_records([pairs[2][0]], topics, DECODE, dead_letter_topic=LETTERS)
    assert (found[pairs[2][0].id].record, found[pairs[2][0].id].incomplete) == (Missing.EXPIRED, True)
