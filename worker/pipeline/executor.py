"""Per-key ordered execution: items of one key run in order, items of different keys concurrently, up to a limit.

The limit is on running items. An item that waits for its next attempt gives its slot back, so it does not delay other
keys. Items of different keys with a common claim run in order too: records of different releases with one identity or
one release number are decided in offset order.

Items of one key that wait behind each other run as a chain, which may share round trips.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Generic, NamedTuple, TypeVar

CHAIN_MAX = 32
"""Items. The first one of a chain is completed together with the last one."""

_Item = TypeVar("_Item")


class _Queued(NamedTuple, Generic[_Item]):
    """`earlier`: the ends of earlier items with one of its claims. `identity`: no chain has two items with the same
    one. `alone`: it is in no chain.
    """

    item: _Item
    identity: Hashable
    claims: Sequence[Hashable]
    earlier: Sequence[asyncio.Event]
    ended: asyncio.Event
    alone: bool


class Executor(Generic[_Item]):
    """Runs items in a task group; one that raises ends the group. `run`: runs a chain, one item after the other.

    The caller bounds the number of queued items (`worker.pipeline.in_flight_budget`).
    """

    def __init__(
        self, group: asyncio.TaskGroup, run: Callable[[Sequence[_Item]], Awaitable[None]], *, concurrency: int
    ) -> None:
        self._group = group
        self._run = run
        self._queues: dict[Hashable, deque[_Queued[_Item]]] = {}
        self._claims: dict[Hashable, asyncio.Event] = {}  # by claim: set when its last submitted item has ended
        self._slots = asyncio.Semaphore(concurrency)
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def slot(self) -> AbstractAsyncContextManager[None]:
        """One of the concurrency slots. An item, or a chain, holds it while it runs, not while it waits."""
        return self._slots

    def submit(
        self,
        key: Hashable,
        item: _Item,
        *,
        identity: Hashable = None,
        claims: Sequence[Hashable] = (),
        alone: bool = False,
    ) -> None:
        """Run `item` after all earlier items with the same key or with one of the same claims. `identity`: in no chain
        with another item of this identity. `alone`: in no chain.
        """
        # An item waits only for items that were submitted before it, so there is no deadlock.
        ended = asyncio.Event()
        earlier = [event for claim in claims if (event := self._claims.get(claim)) is not None]
        self._claims.update(dict.fromkeys(claims, ended))
        queued = _Queued(item, identity, claims, earlier, ended, alone)
        queue = self._queues.get(key)
        if queue is not None:
            queue.append(queued)
            return
        self._queues[key] = deque((queued,))
        task = self._group.create_task(self._run_key(key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def is_running(self, claims: Iterable[Hashable]) -> bool:
        """Whether an item that was submitted with one of these claims has not ended."""
        return any(claim in self._claims for claim in claims)

    def cancel(self) -> None:
        """Cancel all items: the drain timeout is over."""
        for task in self._tasks:
            task.cancel()

    async def _run_key(self, key: Hashable) -> None:
        queue = self._queues[key]
        while queue:
            for earlier in queue[0].earlier:
                await earlier.wait()
            chain = _chain(queue)
            try:
                await self._run([queued.item for queued in chain])
            finally:
                for queued in chain:
                    self._end(queued)
        del self._queues[key]

    def _end(self, queued: _Queued[_Item]) -> None:
        queued.ended.set()
        for claim in queued.claims:
            if self._claims.get(claim) is queued.ended:
                del self._claims[claim]


def _chain(queue: deque[_Queued[_Item]]) -> list[_Queued[_Item]]:
    """The first item, and those behind it that wait for none but these."""
    chain = [queue.popleft()]
    ends, identities = {chain[0].ended}, {chain[0].identity}
    while queue and not chain[0].alone and not queue[0].alone and len(chain) < CHAIN_MAX:
        following = queue[0]
        if not all(earlier.is_set() or earlier in ends for earlier in following.earlier):
            break
        if following.identity is not None and following.identity in identities:
            break
        chain.append(queue.popleft())
        ends.add(following.ended)
        identities.add(following.identity)
    return chain
