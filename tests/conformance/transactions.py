"""Transactions as the pipeline makes them, for tests that write them themselves."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol
from uuid import UUID

from tests.conformance.release_messages import ReleaseMessages
from tests.conformance.stores import process_all
from tests.conformance.table_contents import rows
from worker.db.store import SqlStore
from worker.pipeline.batched_store import BatchedStore
from worker.ports import Store, Transaction
from worker.rules.advance import advance, merged
from worker.rules.decide import decide
from worker.rules.message import Message
from worker.rules.query import Query, queries_of, query_of
from worker.rules.state import State, changes_of


async def decided(messages: Sequence[Message], store: Store) -> list[Transaction]:
    """Those of messages of different releases, loaded together."""
    queries = [query_of(message) for message in messages]
    states = await store.load(queries)
    transactions = []
    for message, query, state in zip(messages, queries, states, strict=True):
        changes = changes_of(decide(state, message))
        assert changes is not None
        transactions.append(Transaction(query=query, state=state, changes=changes))
    return transactions


class Loads(Protocol):
    async def load(self, queries: Sequence[Query]) -> Sequence[State]: ...


async def chained(messages: Sequence[Message], store: Loads) -> list[Transaction]:
    """Those of a chain."""
    queries = queries_of(messages)
    transactions: list[Transaction] = []
    for message, query, loaded in zip(messages, queries, merged(await store.load(queries)), strict=True):
        state = advance(loaded, *[one.changes for one in transactions])
        changes = changes_of(decide(state, message))
        assert changes is not None
        follows = transactions[-1].query.event_id if transactions else None
        transactions.append(Transaction(query=query, state=state, changes=changes, follows=follows))
    return transactions


async def approved(count: int, store: SqlStore) -> list[ReleaseMessages]:
    builders = [ReleaseMessages() for _ in range(count)]
    for builder in builders:
        await process_all(builder.approved(), store)
    return builders


async def stored(url: str) -> set[UUID]:
    """The ids of the events that are in the activity log or among the rejections."""
    found = [*await rows(url, "release_activity_logs"), *await rows(url, "release_event_rejections")]
    return {row["id"] for row in found}


@asynccontextmanager
async def batching(store: Store, *, connections: int = 2) -> AsyncIterator[BatchedStore]:
    """A batched store that runs."""
    batched = BatchedStore(store, connections=connections)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(batched.run())
        try:
            yield batched
        finally:
            running.cancel()
