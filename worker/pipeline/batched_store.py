"""Batches in front of the store: what messages load and write at the same time takes one round trip.

There is no timer. A free connection takes whatever is waiting; what comes meanwhile waits for the next free one. So a
message that is alone does not wait, and batches grow with the load.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Generic, NamedTuple, TypeVar

from worker.ports import Store, Transaction
from worker.rules.errors import EXTERNAL, LockTimeout, Unavailable
from worker.rules.query import Query
from worker.rules.state import State

BATCH_MAX = 64
"""Messages. Larger batches save little, and the first result of a batch waits for its last."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class _Call(NamedTuple, Generic[_Item, _Result]):
    """The items of one caller stay together, in order. `alone`: in a batch of their own."""

    items: Sequence[_Item]
    results: "asyncio.Future[Sequence[_Result]]"
    alone: bool = False


class _Calls(Generic[_Item, _Result]):
    """The waiting calls of one kind. `work`: answers the items of several calls. `running_max`: batches at the same
    time.
    """

    def __init__(
        self, work: Callable[[Sequence[_Item]], Awaitable[Sequence[_Result]]], *, running_max: int | None = None
    ) -> None:
        self.work = work
        self.waiting: deque[_Call[_Item, _Result]] = deque()
        self.running = 0
        self._running_max = running_max

    @property
    def ready(self) -> bool:
        return bool(self.waiting) and (self._running_max is None or self.running < self._running_max)

    def next_batch(self) -> "list[_Call[_Item, _Result]]":
        """In order, one call at least if there is any. Calls that were cancelled meanwhile are dropped."""
        taken: list[_Call[_Item, _Result]] = []
        size = 0
        while self.waiting and (
            not taken or (size + len(self.waiting[0].items) <= BATCH_MAX and not self.waiting[0].alone)
        ):
            call = self.waiting.popleft()
            if call.results.done():
                continue
            taken.append(call)
            size += len(call.items)
            if call.alone:
                break
        return taken


class BatchedStore:
    """`worker.ports.Store` over another one. `connections`: the number of batches at the same time. Its calls are
    answered while `run` runs.
    """

    def __init__(self, store: Store, *, connections: int) -> None:
        self._store = store
        self._connections = connections
        self._loads = _Calls[Query, State](store.load)
        self._writes = _Calls[Transaction, Exception | None](partial(store.write, patient=False))
        # One connection at least goes on, however many releases are locked.
        self._patient_writes = _Calls[Transaction, Exception | None](
            partial(store.write, patient=True), running_max=max(1, connections - 1)
        )
        self._idle: list[asyncio.Event] = []
        self._waking = False  # a batch is about to be taken

    async def run(self) -> None:
        """Answer calls, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._connections):
                group.create_task(self._take_batches(), name=f"batches of the store {number}")

    async def load(self, queries: Sequence[Query]) -> Sequence[State]:
        return await self._answered(queries, self._loads)

    async def write(self, transactions: Sequence[Transaction], *, patient: bool = True) -> Sequence[Exception | None]:
        """As `worker.ports.Store` says. Every transaction waits only shortly for a lock, since others wait for it. One
        that meets a lock is then written again, if `patient`, in a batch of its own.
        """
        results = await self._answered(transactions, self._writes)
        for position, error in enumerate(results):
            if patient and isinstance(error, LockTimeout):
                first = transactions[position]
                if position and results[position - 1] is None:
                    # Its predecessor is committed; the version is guard enough.
                    first = replace(first, follows=None)
                rest = (first, *transactions[position + 1 :])
                return [*results[:position], *await self._answered(rest, self._patient_writes, alone=True)]
        return results

    async def ping(self) -> None:
        await self._store.ping()

    async def _answered(
        self, items: Sequence[_Item], calls: "_Calls[_Item, _Result]", *, alone: bool = False
    ) -> Sequence[_Result]:
        results: asyncio.Future[Sequence[_Result]] = asyncio.get_running_loop().create_future()
        calls.waiting.append(_Call(items, results, alone))
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
            if not self._ready:
                woken.clear()
                self._idle.append(woken)
                await woken.wait()
                self._waking = False
            # Writes first: they complete messages, and their number is bounded by that of loads.
            if self._writes.ready:
                await self._answer(self._writes)
            elif self._patient_writes.ready:
                await self._answer(self._patient_writes)
            elif self._loads.ready:
                await self._answer(self._loads)

    @property
    def _ready(self) -> bool:
        return self._writes.ready or self._patient_writes.ready or self._loads.ready

    async def _answer(self, calls: "_Calls[_Item, _Result]") -> None:
        batch = calls.next_batch()
        calls.running += 1
        if self._ready:
            self._wake()
        try:
            await self._answer_batch(batch, calls)
        finally:
            calls.running -= 1

    async def _answer_batch(self, batch: "Sequence[_Call[_Item, _Result]]", calls: "_Calls[_Item, _Result]") -> None:
        items = [item for call in batch for item in call.items]
        if not items:
            return
        try:
            results = await calls.work(items)
        except asyncio.CancelledError:
            _fail(batch, Unavailable("the worker stops"))
            raise
        except EXTERNAL as error:
            _fail(batch, error)
            return
        except Exception as error:  # noqa: BLE001 - each caller raises it
            if len(batch) == 1:
                _fail(batch, error)
            else:  # one of them is the cause, and only it may fail
                calls.waiting.extendleft([call._replace(alone=True) for call in reversed(batch)])
            return
        position = 0
        for call in batch:
            if not call.results.done():
                call.results.set_result(results[position : position + len(call.items)])
            position += len(call.items)


def _fail(calls: "Sequence[_Call[_Item, _Result]]", error: Exception) -> None:
    for call in calls:
        if not call.results.done():
            call.results.set_exception(error)
