"""Per-key ordered execution: items of one key run in order, items of different keys concurrently, up to a limit.

The limit is on running items. An item that waits for its next attempt gives its slot back, so it does not delay other
keys. Items of different keys with a common claim run in order too: records of different releases with one identity or
one release number are decided in offset order.

Items of one key that wait behind each other run as a chain, which may share round trips. A chain may have two steps:
the second step of a chain runs beside the first step of the key's next chain. Second steps of one key run in order.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

CHAIN_MAX = 64
"""Items. The first one of a chain is completed together with the last one."""

_Item = TypeVar("_Item")


class SecondStep(Protocol):
    """What a chain has to do after its first step."""

    @property
    def beside_next(self) -> bool:
        """Whether the first step of the key's next chain may begin meanwhile."""

    def wait(self) -> None:
        """It has to wait for the second step of the chain before. `run` follows, in the same iteration of the event
        loop in which that step ends.
        """

    async def run(self, *, completed: bool) -> bool:
        """Whether the chain is completed. `completed`: whether the chain before was."""


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


@dataclass(slots=True)
class _SecondSteps(Generic[_Item]):
    """The chains of one key that have begun their second step or wait for it. `ended`: set when one of them ends."""

    chains: deque[tuple[Sequence[_Queued[_Item]], SecondStep]] = field(default_factory=deque)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def at_most(self, number: int) -> None:
        """Return when at most so many of them are left."""
        while len(self.chains) > number:
            self.ended.clear()
            await self.ended.wait()


class Executor(Generic[_Item]):
    """Runs items in a task group; one that raises ends the group. `run`: runs a chain, one item after the other; what
    it returns is left to do. A chain of one item has no second step.

    The caller bounds the number of queued items (`worker.pipeline.in_flight_budget`).
    """

    def __init__(
        self,
        group: asyncio.TaskGroup,
        run: Callable[[Sequence[_Item]], Awaitable[SecondStep | None]],
        *,
        concurrency: int,
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
        self._start(self._run_key(key))

    def is_running(self, claims: Iterable[Hashable]) -> bool:
        """Whether an item that was submitted with one of these claims has not ended."""
        return any(claim in self._claims for claim in claims)

    def cancel(self) -> None:
        """Cancel all items: the drain timeout is over."""
        for task in self._tasks:
            task.cancel()

    def _start(self, running: Coroutine[object, object, None]) -> None:
        task = self._group.create_task(running)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_key(self, key: Hashable) -> None:
        queue = self._queues[key]
        seconds: _SecondSteps[_Item] | None = None
        while queue:
            for earlier in queue[0].earlier:
                await earlier.wait()
            chain = _chain(queue)
            if seconds is not None and len(chain) == 1:
                await seconds.at_most(0)
            second = None
            try:
                second = await self._run([queued.item for queued in chain])
            finally:
                if second is None:
                    self._end(chain)
            if second is not None:
                seconds = seconds or _SecondSteps()
                seconds.chains.append((chain, second))
                if len(seconds.chains) == 1:
                    self._start(self._run_second_steps(seconds))
                else:
                    second.wait()
                await seconds.at_most(1 if second.beside_next and queue else 0)
        del self._queues[key]

    async def _run_second_steps(self, seconds: _SecondSteps[_Item]) -> None:
        completed = True
        while seconds.chains:
            chain, second = seconds.chains[0]
            try:
                completed = await second.run(completed=completed)
            finally:
                self._end(chain)
                seconds.chains.popleft()
                seconds.ended.set()

    def _end(self, chain: Sequence[_Queued[_Item]]) -> None:
        for queued in chain:
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
