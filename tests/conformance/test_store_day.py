"""Rows are a function of the topic: one day of CI/CD, read in two ways into databases of different kinds."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from schemas.record import Record
from tests.conformance.contents import as_sqlite, contents, insert_environments
from tests.conformance.stores import migrate, opened, process_until_settled
from worker.db.store import SqlStore
from worker.demo.company import DAY
from worker.demo.contract_model import ContractModel
from worker.demo.contract_state import Prediction
from worker.demo.record import TopicRecord
from worker.demo.recount_rows import compare_rows
from worker.demo.stream import a_day
from worker.pipeline.transaction import read
from worker.rules.message import Message
from worker.rules.state import Outcome, Rejected

TOPIC = "rudder.deployment-events"
RELEASES = 80
LANES_MAX = 8
EVENT_BYTES_MAX = 1_048_576
EVENING_MS = int((DAY + timedelta(hours=20)).timestamp() * 1000)
"""Only then are taken numbers claimed: between two releases, nothing but the publishers' patience makes an order."""

Outcomes = dict[int, Outcome]
"""By offset."""


@dataclass(frozen=True, slots=True)
class Day:
    records: Sequence[TopicRecord]

    @property
    def messages(self) -> list[Message]:
        return [_message(record) for record in self.records]


def day_of(seed: int) -> Day:
    """The day as one partition of a topic."""
    return Day(
        [
            TopicRecord(
                topic=TOPIC,
                partition=0,
                offset=offset,
                key=raw.key,
                value=raw.value,
                headers=raw.headers,
                timestamp_ms=raw.timestamp_ms,
            )
            for offset, raw in enumerate(a_day(seed=seed, releases=RELEASES))
        ]
    )


def _message(record: TopicRecord) -> Message:
    raw = Record(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp_ms,
        key=record.key,
        value=record.value,
        headers=record.headers,
    )
    return read(raw, event_bytes_max=EVENT_BYTES_MAX)


async def one_by_one(messages: Iterable[Message], store: SqlStore) -> Outcomes:
    return {message.record.offset: await process_until_settled(message, store) for message in messages}


async def by_lanes(messages: Iterable[Message], store: SqlStore) -> Outcomes:
    """Each release in its order, many at the same time, as a worker does."""
    lanes: dict[UUID, list[Message]] = defaultdict(list)
    for message in messages:
        lanes[message.ordering_key].append(message)
    outcomes: Outcomes = {}
    places = asyncio.Semaphore(LANES_MAX)

    async def run(ordering_key: Sequence[Message]) -> None:
        for message in ordering_key:
            async with places:
                outcomes[message.record.offset] = await process_until_settled(message, store)

    async with asyncio.TaskGroup() as group:
        for ordering_key in lanes.values():
            group.create_task(run(ordering_key))
    return outcomes


async def prepare(url: str, seed: int) -> None:
    """Tables, and the platform's rows."""
    await migrate(url)
    await insert_environments(url, seed)


def is_evening(message: Message) -> bool:
    return message.record.timestamp_ms >= EVENING_MS


@pytest.mark.parametrize("seed", [1, 2026])
async def test_rows_depend_on_neither_database_nor_concurrency(database_url: str, tmp_path: Path, seed: int) -> None:
    """Cell by cell the same rows from release lanes at once and from one event after the other; and both are what the
    contract's own model predicts: each outcome, each status, each attempt.
    """
    day = day_of(seed)
    messages = day.messages
    other_url = f"sqlite+aiosqlite:///{tmp_path / 'one-by-one.db'}"
    await prepare(other_url, seed)
    await prepare(database_url, seed)
    async with opened(database_url) as store:
        outcomes = await by_lanes([m for m in messages if not is_evening(m)], store)
        outcomes |= await by_lanes([m for m in messages if is_evening(m)], store)
    async with opened(other_url) as store:
        outcomes_in_order = await one_by_one(messages, store)

    model = ContractModel(event_bytes_max=EVENT_BYTES_MAX)
    predictions = {record.offset: model.apply(record) for record in day.records}
    assert surprises(predictions, outcomes_in_order) == []
    assert surprises(predictions, outcomes) == []
    rows = await contents(database_url)
    assert rows == await contents(other_url)
    with as_sqlite(rows) as connection:
        assert compare_rows(model, connection) == []
    assert len(rows["releases"]) > RELEASES * 0.9
    assert {outcome for outcome, _ in model.tally} == {"applied", "stale", "duplicate", "rejected"}


def surprises(predictions: dict[int, Prediction], outcomes: Outcomes) -> list[str]:
    """Where the worker's outcome is not the model's, a line each."""
    assert predictions.keys() == outcomes.keys()
    found = []
    for offset, prediction in predictions.items():
        outcome = outcomes[offset]
        reason = outcome.rejection.reason if isinstance(outcome, Rejected) else None
        if (type(outcome).__name__.lower(), reason) != (prediction.outcome, prediction.reason):
            found.append(f"offset {offset}: {type(outcome).__name__} {reason}, predicted {prediction.outcome}")
    return found
