"""Batches in front of the store: what messages load and write at the same time takes one round trip.

There is no timer. A free connection takes whatever is waiting; what comes meanwhile waits for the next free one. So a
message that is alone does not wait, and batches grow with the load.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Generic, NamedTuple, TypeVar

from worker.ports import Store, Transaction
from worker.rules.errors import ConfigurationError, LockTimeout, Unavailable
from worker.rules.query import Query
from worker.rules.state import State

BATCH_MAX = 64
"""Messages. Larger batches save little, and the first result of a batch waits for its last."""

_OF_NO_MESSAGE = (Unavailable, ConfigurationError, MemoryError)

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class _Call(NamedTuple, Generic[_Item, _Result]):
    """The items of one caller stay together, in order. `alone`: in a batch of their own."""

    items: Sequence[_Item]
    results: "asyncio.Future[Sequence[_Result]]"
    alone: bool = False


class BatchedStore:
    """`worker.ports.Store` over another one. `connections`: the number of batches at the same time. Its calls are
    answered while `run` runs.
    """

    def __init__(self, store: Store, *, connections: int) -> None:
        self._store = store
        self._connections = connections
        self._loads: deque[_Call[Query, State]] = deque()
        self._writes: deque[_Call[Transaction, Exception | None]] = deque()
        self._flushes: deque[_Call[None, None]] = deque()
        self._idle: list[asyncio.Event] = []
        self._waking = False  # a batch is about to be taken

    async def run(self) -> None:
        """Answer calls, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._connections):
                group.create_task(self._take_batches(), name=f"batches of the store {number}")

    async def load(self, queries: Sequence[Query]) -> Sequence[State]:
        return await self._answered(queries, self._loads)

    async def write(self, transactions: Sequence[Transaction]) -> Sequence[Exception | None]:
        """As `worker.ports.Store` says. In a batch of several calls a transaction waits only shortly for a lock, since
        the others wait for it; then it is written again in a batch of its own.
        """
        results = await self._answered(transactions, self._writes)
        for position, error in enumerate(results):
            if isinstance(error, LockTimeout):
                first = transactions[position]
                if position and results[position - 1] is None:
                    first = replace(first, follows=None)  # it is written, and in no later call
                rest = (first, *transactions[position + 1 :])
                again = await self._answered(rest, self._writes, alone=True)
                return [*results[:position], *again]
        return results

    async def flush(self) -> None:
        await self._answered((None,), self._flushes)

    async def ping(self) -> None:
        await self._store.ping()

    async def _answered(
        self, items: Sequence[_Item], calls: "deque[_Call[_Item, _Result]]", *, alone: bool = False
    ) -> Sequence[_Result]:
        results: asyncio.Future[Sequence[_Result]] = asyncio.get_running_loop().create_future()
        calls.append(_Call(items, results, alone))
        self._wake()
        return await results

    def _wake(self) -> None:
        """Wake one idle taker. It runs in the next iteration of the loop, behind all calls of this one."""
        if self._idle and not self._waking:
            self._waking = True
            self._idle.pop().set()

    async def _take_batches(self) -> None:
        woken = asyncio.Event()
        while True:
            if not self._waiting:
                woken.clear()
                self._idle.append(woken)
                await woken.wait()
                self._waking = False
            # Writes first: they complete messages, and their number is bounded by that of loads.
            if self._writes:
                await self._answer(self._writes, self._store.write)
            elif self._flushes:
                await self._answer(self._flushes, self._flush)
            elif self._loads:
                await self._answer(self._loads, self._store.load)

    @property
    def _waiting(self) -> bool:
        return bool(self._writes or self._flushes or self._loads)

    async def _flush(self, callers: Sequence[None]) -> Sequence[None]:
        await self._store.flush()
        return callers

    async def _answer(
        self,
        waiting: "deque[_Call[_Item, _Result]]",
        work: Callable[[Sequence[_Item]], Awaitable[Sequence[_Result]]],
    ) -> None:
        calls = _batch(waiting)
        if self._waiting:
            self._wake()
        items = [item for call in calls for item in call.items]
        if not items:
            return
        try:
            results = await work(items)
        except asyncio.CancelledError:
            _fail(calls, Unavailable("the worker stops"))
            raise
        except _OF_NO_MESSAGE as error:
            _fail(calls, error)
            return
        except Exception as error:  # noqa: BLE001 - each caller raises it
            if len(calls) == 1:
                _fail(calls, error)
            else:  # one of them is the cause, and only it may fail
                waiting.extendleft([call._replace(alone=True) for call in reversed(calls)])
            return
        position = 0
        for call in calls:
            if not call.results.done():
                call.results.set_result(results[position : position + len(call.items)])
            position += len(call.items)


def _batch(calls: "deque[_Call[_Item, _Result]]") -> "list[_Call[_Item, _Result]]":
    """The calls of the next batch: in order, one at least. Calls that were cancelled meanwhile are dropped."""
    taken: list[_Call[_Item, _Result]] = []
    size = 0
    while calls and (not taken or (size + len(calls[0].items) <= BATCH_MAX and not calls[0].alone)):
        call = calls.popleft()
        if call.results.done():
            continue
        taken.append(call)
        size += len(call.items)
        if call.alone:
            break
    return taken


def _fail(calls: "Sequence[_Call[_Item, _Result]]", error: Exception) -> None:
    for call in calls:
        if not call.results.done():
            call.results.set_exception(error)
