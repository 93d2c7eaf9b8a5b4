"""Members of consumer groups, as the worker makes them, with a note of all that happens to them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from schemas.record import Record
from tests.conformance.deadlines import WAIT_SECONDS, until
from worker.kafka.connection import Connection
from worker.kafka.consumer_client import KafkaConsumerClient
from worker.ports import Partition

SESSION_TIMEOUT_SECONDS = 6.0


def connection(bootstrap_servers: str, *, request_timeout_seconds: float = 40.0) -> Connection:
    return Connection(
        bootstrap_servers=bootstrap_servers, client_id="tests", request_timeout_seconds=request_timeout_seconds
    )


async def _nothing(_partitions: list[Partition]) -> None:
    """What a rebalance means to a test that does not care."""


@dataclass(slots=True)
class Member:
    """`partitions` are those it has; `happened` is what came to it, in order."""

    source: KafkaConsumerClient
    partitions: set[Partition] = field(default_factory=set)
    happened: list[str] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)

    async def poll(self) -> list[Record]:
        """One short poll, its records noted."""
        found = list(await self.source.poll(timeout_seconds=0.05, records_max=100))
        if found:
            self.happened.append("records")
        self.records += found
        return found

    async def take(self, count: int) -> list[Record]:
        """Polls until there are so many records in all."""

        async def enough() -> bool:
            await self.poll()
            return len(self.records) >= count

        await until(enough, what=lambda: f"{count} records; there are {len(self.records)}")
        return self.records


@asynccontextmanager
async def member(
    bootstrap_servers: str,
    topic: str,
    *,
    group_id: str | None = None,
    on_assigned: Callable[[list[Partition]], Awaitable[None]] = _nothing,
    on_revoked: Callable[[list[Partition]], Awaitable[None]] = _nothing,
    rebalance_timeout_seconds: float = 60.0,
    request_timeout_seconds: float = 40.0,
) -> AsyncIterator[Member]:
    """A started member, which leaves the group at the end. Without a `group_id`, the group is the topic's own."""
    source = KafkaConsumerClient(
        connection(bootstrap_servers, request_timeout_seconds=request_timeout_seconds),
        topics=[topic],
        group_id=group_id or f"group.{topic}",
        session_timeout_seconds=SESSION_TIMEOUT_SECONDS,
        rebalance_timeout_seconds=rebalance_timeout_seconds,
        metadata_max_age_seconds=0.5,
    )
    made = Member(source)

    async def assigned(partitions: Iterable[Partition]) -> None:
        given = list(partitions)
        made.happened.append("assigned")
        made.partitions.update(given)
        await on_assigned(given)

    async def revoked(partitions: Iterable[Partition]) -> None:
        taken = list(partitions)
        made.happened.append("revoked")
        await on_revoked(taken)
        made.partitions.difference_update(taken)

    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await source.start(on_assigned=assigned, on_revoked=revoked)
        yield made
    finally:
        await source.stop()
