"""A broker whose records and their times a test fixes in advance; it keeps what the processes write."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Self

from schemas.record import Record
from tests.deterministic.wire import LATENCY_SECONDS, Wire
from worker.ports import OutgoingRecord, Partition
from worker.rules.errors import Unavailable

OnRebalance = Callable[[Iterable[Partition]], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class Broker:
    """The state that outlives a process. `records`: each with the second at which it appears, in order by partition.

    Once, at the first poll at or after `rebalance_seconds`, the group revokes the first partition and assigns it again.

    Seconds and the counts in `asked` start when the group first has a member: which message is under way at a failure
    must not depend on what a process does at its start.
    """

    records: Sequence[tuple[float, Record]]
    rebalance_seconds: float
    joined_at_seconds: float | None = None
    rebalanced: bool = False
    published: list[OutgoingRecord] = field(default_factory=list)
    committed: dict[Partition, int] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    """The number of requests to the broker and the database, by kind; the wire's failures refer to it."""

    def copy(self) -> Self:
        return replace(self, published=list(self.published), committed=dict(self.committed), asked=Counter(self.asked))

    @property
    def partitions(self) -> list[Partition]:
        return sorted({Partition(record.topic, record.partition) for _, record in self.records})

    @property
    def finished(self) -> bool:
        return self.rebalanced and all(
            self.committed.get(Partition(record.topic, record.partition), 0) > record.offset
            for _, record in self.records
        )


class ScriptedSource:
    """`worker.ports.Source`: the group's only member. Its callbacks run inside a poll."""

    def __init__(self, broker: Broker, wire: Wire, now_seconds: Callable[[], float]) -> None:
        self._broker = broker
        self._wire = wire
        self._now_seconds = now_seconds
        self._positions: dict[Partition, int] = {}

    async def start(self, *, on_assigned: OnRebalance, on_revoked: OnRebalance) -> None:
        self._on_assigned, self._on_revoked = on_assigned, on_revoked
        if self._broker.joined_at_seconds is None:
            self._broker.joined_at_seconds = self._now_seconds()
            self._broker.asked.clear()
        await self._give(self._broker.partitions)

    async def stop(self) -> None:
        return None

    async def poll(
        self, *, timeout_seconds: float, records_max: int, paused: AbstractSet[Partition] = frozenset()
    ) -> Sequence[Record]:
        assert self._broker.joined_at_seconds is not None
        began_seconds = self._broker.joined_at_seconds
        if not self._broker.rebalanced and self._now_seconds() >= began_seconds + self._broker.rebalance_seconds:
            given = self._broker.partitions[:1]
            await self._on_revoked(given)
            await self._give(given)
            self._broker.rebalanced = True
        waiting = [
            (began_seconds + seconds, record)
            for seconds, record in self._broker.records
            if (partition := Partition(record.topic, record.partition)) not in paused
            and record.offset >= self._positions[partition]
        ][:records_max]
        due_seconds = min(
            (since_seconds for since_seconds, _ in waiting), default=self._now_seconds() + timeout_seconds
        )
        await asyncio.sleep(max(LATENCY_SECONDS, min(timeout_seconds, due_seconds - self._now_seconds())))
        records = [record for since_seconds, record in waiting if since_seconds <= self._now_seconds()]
        self._positions |= {Partition(record.topic, record.partition): record.offset + 1 for record in records}
        return records

    def resume(self, partitions: Iterable[Partition]) -> None:
        """The next poll has them."""

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        self._positions |= offsets

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        await self._wire.ask("offsets", lambda: self._broker.committed.update(offsets), fail=_down)

    async def _give(self, partitions: Sequence[Partition]) -> None:
        self._positions |= {one: self._broker.committed.get(one, 0) for one in partitions}
        await self._on_assigned(partitions)


class ScriptedPublisher:
    """`worker.ports.Publisher`, one record after the other: a process may die after some of them."""

    def __init__(self, broker: Broker, wire: Wire) -> None:
        self._broker = broker
        self._wire = wire

    async def start(self) -> None:
        return None

    async def stop(self) -> None:
        return None

    async def ping(self) -> None:
        return None

    async def publish(self, outgoing: Sequence[OutgoingRecord]) -> None:
        for one in outgoing:
            await self._wire.ask("publication", partial(self._broker.published.append, one), fail=_down)


def _down() -> Unavailable:
    return Unavailable("down")
