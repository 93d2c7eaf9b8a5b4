"""One day's performance: publish it, watch the worker follow, and measure both from outside.

Separate from the play around it because only this part is timed.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from rich.console import Console

from worker.demo.child import Child
from worker.demo.contract_envelope import read
from worker.demo.demo_stage import GROUP_ID
from worker.demo.latency import LatencyMeter
from worker.demo.progress import DayProgress
from worker.demo.record import RawRecord
from worker.demo.recount import TopicNames
from worker.demo.report import Figures

RECORD_BYTES_MAX: Final = 4 * 1024 * 1024
BACKLOG_SHARE: Final = 0.9
STEADY_RATE_MAX_PER_SECOND: Final = 250.0
STALL_TIMEOUT_SECONDS: Final = 20.0
GLANCE_SECONDS: Final = 0.1


class DemoFailedError(Exception):
    """The demo cannot go on; the message says why, with the worker's last words where it has some."""


class Performance:
    """Publishes the day in two parts and watches the worker follow.

    The first part is published at once, which shows how fast a backlog is worked off; the second, once that is done, at
    half that rate, which shows how long one event takes. The pause between them also gives the releases that claim a
    taken number the order that only time can give between releases.
    """

    def __init__(
        self, *, bootstrap_servers: str, topics: TopicNames, child: Child, day: Sequence[RawRecord], console: Console
    ) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._topics = topics
        self._child = child
        backlog_count = int(len(day) * BACKLOG_SHARE)
        self._backlog, self._rest = day[:backlog_count], day[backlog_count:]
        self._progress = DayProgress(console=console, records_count=len(day))
        self._meter = LatencyMeter()
        self._published = 0
        self._backlog_seconds = 0.0
        self._steady_rate_per_second = 0.0

    def figures(self) -> Figures:
        return Figures(
            backlog_records=len(self._backlog),
            backlog_seconds=self._backlog_seconds,
            backlog_latency=self._meter.quantiles("backlog"),
            steady_rate_per_second=self._steady_rate_per_second,
            steady_latency=self._meter.quantiles("steady"),
        )

    async def run(self) -> None:
        """Publish everything and wait until the group has committed it; raises DemoFailedError on death or stall."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap_servers, acks="all", max_request_size=RECORD_BYTES_MAX
        )
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap_servers)
        failure: BaseException | None = None
        async with producer:
            await admin.start()
            try:
                with self._progress:
                    await self._perform(producer, admin)
            except* DemoFailedError as failed:
                failure = failed.exceptions[0]
            finally:
                await admin.close()
        if failure:
            raise failure

    async def _perform(self, producer: AIOKafkaProducer, admin: AIOKafkaAdminClient) -> None:
        stop = asyncio.Event()
        statuses = (self._topics.deployment_status, self._topics.release_status)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._meter.listen(bootstrap_servers=self._bootstrap_servers, topics=statuses, stop=stop))
            began_at_seconds = time.perf_counter()
            await self._publish(producer, self._backlog, phase="backlog")
            await self._caught_up(admin, records_count=len(self._backlog))
            self._backlog_seconds = max(self._meter.last_seen_at_seconds - began_at_seconds, 0.001)
            half = len(self._backlog) / self._backlog_seconds / 2
            self._steady_rate_per_second = rate = min(half, STEADY_RATE_MAX_PER_SECOND)
            tasks.create_task(self._publish(producer, self._rest, phase="steady", rate_per_second=rate))
            await self._caught_up(admin, records_count=len(self._backlog) + len(self._rest))
            stop.set()

    async def _publish(
        self,
        producer: AIOKafkaProducer,
        records: Sequence[RawRecord],
        *,
        phase: str,
        rate_per_second: float | None = None,
    ) -> None:
        began_at_seconds = time.perf_counter()
        deliveries = []
        for index, record in enumerate(records):
            if rate_per_second:
                due_at_seconds = began_at_seconds + index / rate_per_second
                await asyncio.sleep(max(0.0, due_at_seconds - time.perf_counter()))
            identity = read(record).identity
            if identity:
                self._meter.sent(identity, phase=phase)
            delivery = await producer.send(
                self._topics.events,
                record.value,
                key=record.key,
                headers=list(record.headers),
                timestamp_ms=record.timestamp_ms,
            )
            deliveries.append(delivery)
            self._published += 1
        await asyncio.gather(*deliveries)

    async def _caught_up(self, admin: AIOKafkaAdminClient, *, records_count: int) -> None:
        """Wait until so many records are committed; the topic began empty, so offsets count them."""
        last_committed, changed_at_seconds = 0, time.perf_counter()
        while last_committed < records_count:
            offsets = await admin.list_consumer_group_offsets(GROUP_ID)
            committed = sum(
                max(found.offset, 0) for partition, found in offsets.items() if partition.topic == self._topics.events
            )
            self._progress.show(published=self._published, committed=committed)
            if committed != last_committed:
                last_committed, changed_at_seconds = committed, time.perf_counter()
            if self._child.exit_code is not None:
                raise DemoFailedError(f"the worker ended with {self._child.exit_code}:\n{self._child.last_words()}")
            if time.perf_counter() - changed_at_seconds > STALL_TIMEOUT_SECONDS:
                stalled = f"{committed} of {records_count} records are committed, and no more since"
                raise DemoFailedError(f"{stalled} {STALL_TIMEOUT_SECONDS:.0f} s:\n{self._child.last_words()}")
            await asyncio.sleep(GLANCE_SECONDS)
