"""Rows are a function of the topic: one day of CI/CD, read in two ways into databases of different kinds."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from schemas.record import Record
from tests import hypothesis_profile
from tests.conformance.stores import migrate, opened, process_until_settled
from tests.conformance.table_contents import contents, insert_environments, rows
from tests.oracle.comparison import row_differences
from tests.oracle.oracle import Oracle
from tests.oracle.records import Record as OracleRecord
from worker.db.store import SqlStore
from worker.demo.company import DAY
from worker.demo.event_stream import event_stream
from worker.pipeline.transaction import read
from worker.rules.message import Message
from worker.rules.state import Outcome, Rejected

TOPIC = "rudder.deployment-events"
RELEASES = 80
CONCURRENCY = 8
EVENT_BYTES_MAX = 1_048_576
EVENING_MS = int((DAY + timedelta(hours=20)).timestamp() * 1000)
"""Taken numbers are claimed only then: between two releases no order is promised but time."""

Outcomes = dict[int, Outcome]
"""By offset."""


def records_of_day(seed: int) -> list[OracleRecord]:
    """The day as one partition of a topic."""
    return [
        OracleRecord(TOPIC, 0, offset, record.timestamp_ms, record.value, record.headers, record.key)
        for offset, record in enumerate(event_stream(seed=seed, releases=RELEASES))
    ]


def messages_of(records: Iterable[OracleRecord]) -> list[Message]:
    return [_message(record) for record in records]


def _message(record: OracleRecord) -> Message:
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


async def by_release(messages: Iterable[Message], store: SqlStore) -> Outcomes:
    """Each release in its order, many at the same time, as a worker processes them."""
    by_key: dict[UUID, list[Message]] = defaultdict(list)
    for message in messages:
        by_key[message.ordering_key].append(message)
    outcomes: Outcomes = {}
    slots = asyncio.Semaphore(CONCURRENCY)

    async def run(of_one_release: Sequence[Message]) -> None:
        for message in of_one_release:
            async with slots:
                outcomes[message.record.offset] = await process_until_settled(message, store)

    async with asyncio.TaskGroup() as group:
        for of_one_release in by_key.values():
            group.create_task(run(of_one_release))
    return outcomes


async def prepare(url: str, seed: int) -> None:
    """Tables, and the platform's rows."""
    await migrate(url)
    await insert_environments(url, seed)


def is_evening(message: Message) -> bool:
    return message.record.timestamp_ms >= EVENING_MS


@pytest.mark.parametrize("seed", hypothesis_profile.seeds(1, 2026, 7, 99))
async def test_rows_depend_on_neither_database_nor_concurrency(database_url: str, tmp_path: Path, seed: int) -> None:
    """The same cells from many releases at once and from one event after the other; and both are what the oracle
    expects: each outcome, each row.
    """
    records = records_of_day(seed)
    messages = messages_of(records)
    other_url = f"sqlite+aiosqlite:///{tmp_path / 'one-by-one.db'}"
    await prepare(other_url, seed)
    await prepare(database_url, seed)
    oracle = Oracle(environments=await rows(database_url, "app_environments"))
    async with opened(database_url) as store:
        outcomes = await by_release([m for m in messages if not is_evening(m)], store)
        outcomes |= await by_release([m for m in messages if is_evening(m)], store)
    async with opened(other_url) as store:
        outcomes_in_order = await one_by_one(messages, store)

    expected = {record.offset: oracle.handle(record) for record in records}
    assert names_of(outcomes_in_order) == expected
    assert names_of(outcomes) == expected
    found = await contents(database_url)
    assert found == await contents(other_url)
    assert list(row_differences(oracle, found)) == []
    assert len(found["releases"]) > RELEASES * 0.9
    assert {name.split()[0] for name in oracle.outcomes} == {"Applied", "Stale", "Duplicate", "Rejected"}


def names_of(outcomes: Outcomes) -> dict[int, str]:
    return {offset: outcome_name(outcome) for offset, outcome in sorted(outcomes.items())}


def outcome_name(outcome: Outcome) -> str:
    reason = f" {outcome.rejection.reason}" if isinstance(outcome, Rejected) else ""
    return type(outcome).__name__ + reason
