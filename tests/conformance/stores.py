"""Stores over a test's database, opened as the worker opens its own, and what a worker would do with one."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from tests.testkit.migrated import migrate
from worker.db.store import SqlStore
from worker.pipeline.transaction import process
from worker.rules.errors import Conflict
from worker.rules.message import Message
from worker.rules.state import Outcome

__all__ = ["migrate", "opened", "process_all", "process_until_settled"]

_CONFLICTS_MAX = 50
_TIMEOUT_SECONDS = 20.0


@asynccontextmanager
async def opened(url: str, *, check: bool = True, timeout_seconds: float = _TIMEOUT_SECONDS) -> AsyncIterator[SqlStore]:
    """One worker's store, with an engine of its own, which is disposed of at the end."""
    store = SqlStore.open(url, connections_max=8, timeout_seconds=timeout_seconds)
    try:
        if check:
            await store.check()
        yield store
    finally:
        await store.close()


async def process_all(messages: Iterable[Message], store: SqlStore) -> list[Outcome]:
    """One after the other, none of them meeting a conflict."""
    return [await process(message, store) for message in messages]


async def process_until_settled(message: Message, store: SqlStore) -> Outcome:
    """As a worker does: a conflict is tried again from a fresh read, and nothing else is."""
    for _ in range(_CONFLICTS_MAX):
        try:
            return await process(message, store)
        except Conflict:
            continue
    raise AssertionError(f"{_CONFLICTS_MAX} conflicts in a row")
