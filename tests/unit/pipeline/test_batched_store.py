"""Batches in front of the store: what is asked at the same time is one call, and a failure is only its cause's."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID

import pytest

from worker.pipeline.batched_store import BATCH_MAX, BatchedStore
from worker.ports import Transaction
from worker.rules.errors import ConfigurationError, Conflict, LockTimeout, Unavailable
from worker.rules.query import Query, QueryVariant
from worker.rules.state import Changes, State

BAD = UUID(int=666)


def query(number: int) -> Query:
    return Query(variant=QueryVariant.RELEASE, event_id=UUID(int=number))


def transaction(number: int) -> Transaction:
    return Transaction(query=query(number), state=State(), changes=Changes())


class Recorded:
    """A store that records its calls, and answers them once `answering` is set. `fault`: of a call, or of one of its
    transactions.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[int]]] = []
        self.holds = ""  # the kind of the calls that wait for `answering`; all if it is empty
        self.answering = asyncio.Event()
        self.answering.set()
        self.fails: Callable[[Sequence[int]], Exception | None] = lambda _: None
        self.error_of: Callable[[int, int], Exception | None] = lambda _number, _size: None

    async def load(self, queries: Sequence[Query]) -> Sequence[State]:
        await self._call("load", [one.event_id.int for one in queries])
        return [State(tracks_compared=one.event_id.int) for one in queries]

    async def write(self, transactions: Sequence[Transaction], *, patient: bool = True) -> Sequence[Exception | None]:
        numbers = [one.query.event_id.int for one in transactions]
        await self._call("patient write" if patient else "write", numbers)
        return [self.error_of(number, len(numbers)) for number in numbers]

    async def ping(self) -> None:
        await self._call("ping", [])

    async def _call(self, kind: str, numbers: list[int]) -> None:
        self.calls.append((kind, numbers))
        if not self.holds or kind == self.holds:
            await self.answering.wait()
        if (error := self.fails(numbers)) is not None:
            raise error


@asynccontextmanager
async def batches(store: Recorded, *, connections: int = 1) -> AsyncIterator[BatchedStore]:
    batched = BatchedStore(store, connections=connections)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(batched.run())
        yield batched
        running.cancel()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_calls_of_one_moment_are_one_batch() -> None:
    store = Recorded()
    async with batches(store) as batched:
        states = await asyncio.gather(*[batched.load([query(number)]) for number in range(5)])
    assert store.calls == [("load", [0, 1, 2, 3, 4])]
    assert [state.tracks_compared for [state] in states] == [0, 1, 2, 3, 4], "each caller has its own"


async def test_single_call_waits_for_no_other() -> None:
    store = Recorded()
    async with batches(store) as batched:
        await batched.load([query(1)])
        await batched.write([transaction(1)])
    assert store.calls == [("load", [1]), ("write", [1])]


async def test_calls_wait_for_a_free_connection_and_writes_come_first() -> None:
    store = Recorded()
    store.answering.clear()
    async with batches(store, connections=2) as batched, asyncio.TaskGroup() as group:
        for number in (1, 2):
            group.create_task(batched.load([query(number)]))
            await settle()
        for number in (3, 4):
            group.create_task(batched.load([query(number)]))
            group.create_task(batched.write([transaction(number)]))
            await settle()
        assert store.calls == [("load", [1]), ("load", [2])]
        store.answering.set()
        await settle()
    assert store.calls[2:] == [("write", [3, 4]), ("load", [3, 4])]


async def test_batch_is_bounded_and_keeps_a_chain_together() -> None:
    store = Recorded()
    async with batches(store) as batched:
        chain = [transaction(number) for number in range(100, 103)]
        calls = [[transaction(number)] for number in range(BATCH_MAX - 2)]
        await asyncio.gather(*[batched.write(call) for call in (*calls, chain)])
    assert [len(numbers) for _, numbers in store.calls] == [BATCH_MAX - 2, 3]


async def test_fault_of_one_message_is_no_fault_of_others() -> None:
    """What no one can blame on the database is repeated call by call: only its cause has it."""
    store = Recorded()
    store.fails = lambda numbers: LookupError("a fault") if BAD.int in numbers else None
    async with batches(store) as batched:
        results = await asyncio.gather(
            *[batched.load([query(number)]) for number in (1, BAD.int, 2)], return_exceptions=True
        )
    assert [type(result) for result in results] == [list, LookupError, list]
    assert [numbers for _, numbers in store.calls] == [[1, BAD.int, 2], [1], [BAD.int], [2]]


@pytest.mark.parametrize("error", [Unavailable("down"), ConfigurationError("a table is missing"), MemoryError()])
async def test_outage_fails_every_message_of_the_batch_once(error: Exception) -> None:
    store = Recorded()
    store.fails = lambda _: error
    async with batches(store) as batched:
        results = await asyncio.gather(*[batched.write([transaction(1)]) for _ in range(3)], return_exceptions=True)
    assert results == [error] * 3
    assert len(store.calls) == 1


async def test_error_of_one_transaction_is_its_callers() -> None:
    store = Recorded()
    conflict = Conflict("a race")
    store.error_of = lambda number, _: conflict if number == 2 else None
    async with batches(store) as batched:
        results = await asyncio.gather(*[batched.write([transaction(number)]) for number in (1, 2, 3)])
    assert list(results) == [[None], [conflict], [None]]


async def test_lock_timeout_is_written_again_alone() -> None:
    """With the transactions of its chain behind it, and without other messages, which would wait for the lock too."""
    store = Recorded()
    store.error_of = lambda number, size: LockTimeout("locked") if number == 2 and size > 2 else None
    async with batches(store) as batched:
        chain = [transaction(1), transaction(2), replace(transaction(3), follows=UUID(int=2))]
        results = await asyncio.gather(batched.write(chain), batched.write([transaction(9)]))
    assert list(results) == [[None, None, None], [None]]
    assert store.calls == [("write", [1, 2, 3, 9]), ("patient write", [2, 3])]


async def test_cancelled_call_is_left_out() -> None:
    store = Recorded()
    store.answering.clear()
    async with batches(store) as batched, asyncio.TaskGroup() as group:
        group.create_task(batched.load([query(1)]))
        await settle()
        cancelled = group.create_task(batched.load([query(2)]))
        group.create_task(batched.load([query(3)]))
        await settle()
        cancelled.cancel()
        await settle()
        store.answering.set()
        await settle()
    assert [numbers for _, numbers in store.calls] == [[1], [3]]


async def test_end_of_the_batches_ends_waiting_calls() -> None:
    store = Recorded()
    store.answering.clear()
    batched = BatchedStore(store, connections=1)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(batched.run())
        loading = asyncio.ensure_future(batched.load([query(1)]))
        await settle()
        running.cancel()
    with pytest.raises(Unavailable):
        await loading


async def test_locked_releases_leave_a_connection_to_others() -> None:
    """However many releases another application keeps locked."""
    store = Recorded()
    locked = {0, 1, 2, 3}
    store.error_of = lambda number, _: LockTimeout("locked") if number in locked else None
    store.holds = "patient write"
    store.answering.clear()
    async with batches(store, connections=3) as batched, asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(batched.write([transaction(number)]))
        await settle()
        assert [kind for kind, _ in store.calls] == ["write", "patient write", "patient write"]
        assert await batched.write([transaction(10)]) == [None]
        locked.clear()
        store.answering.set()
