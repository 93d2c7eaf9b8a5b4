"""The ports of one worker: its store, its publisher, its group member and its clock."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, TypeVar

from schemas.record import Record
from tests.properties.consumer_ledger import Holding, Ledger, Logged
from tests.properties.consumer_outside import Outside, Question
from worker.pipeline.consumer import Bounds
from worker.ports import OutgoingRecord, Partition, Transaction
from worker.rules.decide import duplicate
from worker.rules.errors import Unavailable
from worker.rules.message import Message
from worker.rules.query import Query, query_of
from worker.rules.state import Changes, State
from worker.service.clock import SystemClock

COMMIT_TIMEOUT_SECONDS = 4.0
BATCHES = (1, 2, 4, 100)

OnRebalance = Callable[[Iterable[Partition]], Awaitable[None]]
T = TypeVar("T")


class Edges(SystemClock):
    """`worker.ports.Store`, `Publisher`, `Source` and `Clock`. Further public attributes are the group's state of this
    member, and the member's own state.
    """

    def __init__(self, outside: Outside, ledger: Ledger, bounds: Bounds) -> None:
        self._outside = outside
        self._ledger = ledger
        self._bounds = bounds
        self._callbacks: tuple[OnRebalance, OnRebalance] | None = None
        self.questions: list[Question[Any]] = []
        self.held: dict[Partition, Holding] = {}
        self.untold: list[Partition] = []  # held, but without an assignment callback yet
        self.fenced = False  # the group has revoked all partitions; the member has no callback yet
        self.rebalance: asyncio.Task[None] | None = None
        self.stop_asked_seconds: float | None = None
        self.stopping_since_seconds: float | None = None  # or since the thaw, as for the next two
        self.quiet_since_seconds: float | None = None
        self.revoking_since_seconds: float | None = None
        self._committing: list[frozenset[Partition]] = []  # the partitions of each commit that is under way

    @property
    def joined(self) -> bool:
        """Whether the group may change its partitions: no other rebalance runs, and the member does not leave."""
        busy = self.fenced or self.rebalance is not None or self.stopping_since_seconds is not None
        return self._callbacks is not None and not busy

    async def _ask(
        self,
        kind: str,
        answer: Callable[[str | None, int], T],
        *,
        message: Message | None = None,
        ready: Callable[[], bool] = lambda: True,
        timeout_seconds: float | None = None,
    ) -> tuple[T, ...]:
        """The answer, or an empty tuple after the timeout. An answer given at the very end of the timeout counts."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        question = Question(kind, answer, future, message, ready)
        self.questions.append(question)
        try:
            await asyncio.wait((future,), timeout=timeout_seconds)
        finally:
            if question in self.questions:
                self.questions.remove(question)
        return (future.result(),) if future.done() else ()

    # --- Store and Publisher

    async def load(self, queries: Sequence[Query]) -> Sequence[State]:
        """A message that will write nothing is answered here, when the test decides."""
        message = self._ledger.message_at_hand()
        assert list(queries) == [query_of(message)]
        with self._ledger.active("transaction"):
            state = self._outside.rows.load(message)
            if duplicate(state, message) is not None:
                await self._end(message, state, None)
        return [state]

    async def write(self, transactions: Sequence[Transaction], *, patient: bool = True) -> Sequence[Exception | None]:
        """Answered when the test decides."""
        message = self._ledger.message_at_hand()
        [transaction] = transactions
        with self._ledger.active("transaction"):
            await self._end(message, transaction.state, transaction.changes)
        return [None]

    async def _end(self, message: Message, state: State, changes: Changes | None) -> None:
        def answer(fault: str | None, _: int) -> None:
            self._outside.write(message, state, changes, fault)

        await self._ask("transaction", answer, message=message)

    async def ping(self) -> None:
        await self._ask("ping", lambda fault, _: _answered(fault))

    async def publish(self, outgoing: Sequence[OutgoingRecord]) -> None:
        with self._ledger.active("publication"):
            await self._ask("publication", lambda fault, _: self._outside.publish(outgoing, fault))

    # --- Clock

    def monotonic_seconds(self) -> float:
        return self._outside.now_seconds

    def unix_seconds(self) -> float:
        return self._outside.now_seconds

    def chance(self) -> float:
        return 0.5

    async def wait(self, event: asyncio.Event, *, timeout_seconds: float) -> bool:
        """Like the system clock's wait; the test sets the loop's time."""
        with self._ledger.active("pause"):
            return await super().wait(event, timeout_seconds=timeout_seconds)

    # --- Source

    async def start(self, *, on_assigned: OnRebalance, on_revoked: OnRebalance) -> None:
        self._callbacks = on_assigned, on_revoked
        self.quiet_since_seconds = self._outside.now_seconds

    async def poll(
        self, *, timeout_seconds: float, records_max: int, paused: AbstractSet[Partition] = frozenset()
    ) -> Sequence[Record]:
        self._ledger.check_poll(records_max, [holding for one, holding in self.held.items() if one not in paused])
        self.quiet_since_seconds = None
        try:
            if records_max <= 0:
                await asyncio.sleep(0)
                return ()
            fetched = await self._ask(
                "poll",
                lambda fault, which: self._fetch(records_max, paused, fault, which),
                ready=lambda: any(self._left(holding, paused) for holding in self.held.values()),
                timeout_seconds=timeout_seconds,
            )
        finally:
            self.quiet_since_seconds = self._outside.now_seconds
        # Records that were fetched and not taken before the revocation of their partition are dropped.
        return [
            self._ledger.deliver(holding, logged)
            for records in fetched
            for holding, logged in records
            if self.held.get(holding.partition) is holding and not holding.ending
        ]

    def _left(self, holding: Holding, paused: AbstractSet[Partition]) -> Sequence[Logged]:
        """A client fetches nothing more of a partition that is being revoked."""
        if holding.ending or holding.partition in paused:
            return ()
        return self._outside.logs[holding.partition][holding.position :]

    def _fetch(
        self, records_max: int, paused: AbstractSet[Partition], fault: str | None, which: int
    ) -> list[tuple[Holding, Logged]]:
        """Some of the remaining records: one partition after the other, beginning with any, as a broker does."""
        if fault is not None:
            raise Unavailable("down")
        holdings = list(self.held.values())
        first = which // len(BATCHES) % len(holdings)
        fetched: list[tuple[Holding, Logged]] = []
        for holding in holdings[first:] + holdings[:first]:
            budget = min(records_max, BATCHES[which % len(BATCHES)]) - len(fetched)
            taken = self._left(holding, paused)[:budget]
            holding.position += len(taken)
            fetched += [(holding, logged) for logged in taken]
        return fetched

    def resume(self, partitions: Iterable[Partition]) -> None:
        """The next poll has them."""

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        """What was dropped comes again, as the first of another delivery."""
        for partition, offset in offsets.items():
            holding = self.held.get(partition)
            if holding is not None and not holding.ending:
                log = self._outside.logs[partition]
                holding.position = sum(logged.record.offset < offset for logged in log)
                holding.restart()

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Checks that the offsets are those of the finished records, in partitions that this member holds."""
        began_seconds, held = self._outside.now_seconds, dict(self.held)
        for partition, offset in offsets.items():
            holding = held.get(partition)
            self._ledger.check_commit(partition, offset, holding)
            asked = asyncio.current_task() is not self.rebalance or (holding is not None and holding.ending)
            self._ledger.expect(asked, f"commits {partition}, which is not asked for")
        claims = {partition: (held.get(partition), offset) for partition, offset in offsets.items()}
        self._ledger.expect(not self._committing, "commits while another commit is under way")
        self._committing.append(frozenset(offsets))
        try:
            answered = await self._ask(
                "commit", lambda fault, _: self._outside.commit(claims, fault), timeout_seconds=COMMIT_TIMEOUT_SECONDS
            )
        finally:
            self._committing.pop()
            if self.quiet_since_seconds is not None:  # the duration of the commit is bounded by its own timeout
                self.quiet_since_seconds += self._outside.now_seconds - began_seconds
        if not answered:
            raise Unavailable("no answer")

    async def stop(self) -> None:
        rebalance, self.rebalance = self.rebalance, None
        if rebalance is not None:
            rebalance.cancel()
            await asyncio.wait((rebalance,))
        elif self.stop_asked_seconds is not None and self._in_time(self.stop_asked_seconds):
            for holding in self.held.values():
                self._ledger.check_given_up(holding)
        self.release()

    # --- rebalances by the group

    async def assigned(self) -> None:
        assert self._callbacks is not None
        partitions, self.untold = self.untold, []
        await self._callbacks[0](partitions)

    async def revoked(self, partitions: Sequence[Partition], *, rejoins: bool) -> None:
        """The group assigns the partitions to another member after this returns, unless it has fenced this one."""
        assert self._callbacks is not None
        began_seconds = self.revoking_since_seconds = self._outside.now_seconds
        for partition in partitions:
            self.held[partition].ending = True
        await self._callbacks[1](partitions)
        left = [one for committed in self._committing for one in partitions if one in committed]
        self._ledger.expect(not left, f"gives up {left} with a commit of them under way")
        self.revoking_since_seconds = None
        for partition in partitions:
            holding = self.held.pop(partition)
            if self._in_time(began_seconds):
                self._ledger.check_given_up(holding)
            self._outside.release(holding)
        if rejoins:
            self.fenced = False

    def release(self) -> None:
        """Release all partitions."""
        for holding in self.held.values():
            self._outside.release(holding)
        self.held.clear()

    def _in_time(self, began_seconds: float) -> bool:
        """Adds as the timer does: the difference of two floating-point times may be less than the added duration."""
        return self._outside.now_seconds < began_seconds + self._bounds.drain_timeout_seconds


def _answered(fault: str | None) -> None:
    if fault is not None:
        raise Unavailable(fault)
