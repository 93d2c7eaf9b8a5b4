"""The system of one plan: topics, a database, and three workers with links of their own, restarted when they end."""

import asyncio
import signal
import time
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewPartitions
from sqlalchemy import make_url

from tests.conformance.deadlines import until
from tests.conformance.producers import produce
from tests.conformance.table_contents import insert_environments, rows
from tests.end_to_end.demo_day import day_of
from tests.end_to_end.system import (
    PARTITIONS,
    RECORD_BYTES_MAX,
    System,
    create_system_topics,
    new_topics,
    partitions_of,
    to_send,
)
from tests.end_to_end.worker_process import MODULE, WorkerProcess
from tests.fault_injection.plans import SESSION_TIMEOUT_SECONDS, WORKERS, Plan
from tests.fault_injection.servers import Servers
from tests.oracle.comparison import in_order
from tests.testkit.faulty_proxy import FaultyProxy
from tests.testkit.server_process import ServerFailed
from tests.testkit.topics import delete_topics

SHORT_TIMEOUTS = {
    "RUDDER_SESSION_TIMEOUT_SECONDS": str(SESSION_TIMEOUT_SECONDS),
    "RUDDER_DATABASE_TIMEOUT_SECONDS": "2",
    "RUDDER_KAFKA_REQUEST_TIMEOUT_SECONDS": "4",
    "RUDDER_KAFKA_METADATA_MAX_AGE_SECONDS": "1",
    "RUDDER_DRAIN_TIMEOUT_SECONDS": "3",
}
"""What may take minutes in production must happen within a plan's few seconds."""

_SETTLED_WITHIN_SECONDS = 120.0
_DELIVERED_WITHIN_SECONDS = 120
_PAUSE_SECONDS = 0.05


class WorkerSupervisor:
    """Runs one worker: when its process ends, for whatever reason, the next one is started."""

    def __init__(self, number: int, system: System, settings: dict[str, str], command: Sequence[str]) -> None:
        self._number = number
        self._command = command
        self._stage = system
        self._settings = settings
        self._starts = 0
        self._closed = False
        self.fault = asyncio.Lock()
        """Held during a fault: a process that is stopped is not killed as well."""
        self.exit_codes: list[int] = []
        """Of processes that ended by themselves."""
        self.process = self._launch()

    async def run(self) -> None:
        while not self._closed:
            await asyncio.sleep(_PAUSE_SECONDS)
            code = self.process.exit_code
            if code is None or self._closed:
                continue
            if code != -signal.SIGKILL:
                self.exit_codes.append(code)
            self.process = self._launch()

    async def stop(self) -> int:
        """The exit code of the last process. A process handles signals only once it is ready, so that is awaited first.

        AssertionError if it is never ready, or does not end.
        """
        await until(lambda: self.process.exit_code is None, what="the next process is started")
        await self.process.ready()
        self._closed = True
        return await self.process.stop()

    @property
    def log(self) -> str:
        """The log of all its processes."""
        files = sorted(self._stage.folder.glob(f"worker-{self._number}.*.err"))
        return "".join(file.read_text("utf-8", "replace") for file in files)

    def _launch(self) -> WorkerProcess:
        self._starts += 1
        return self._stage.worker(f"worker-{self._number}.{self._starts}", command=self._command, **self._settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """One worker's connections to its servers."""

    database: FaultyProxy
    broker: FaultyProxy


@dataclass(slots=True, kw_only=True)
class Fixture:
    """`partitions`: how many the input topic has, as far as the publisher knows."""

    plan: Plan
    servers: Servers
    system: System
    links: Sequence[Links]
    workers: Sequence[WorkerSupervisor]
    environments: list[dict[str, Any]]
    partitions: int = PARTITIONS
    broker_fault: asyncio.Lock = field(default_factory=asyncio.Lock)
    database_fault: asyncio.Lock = field(default_factory=asyncio.Lock)
    began_at_seconds: float = 0.0

    @classmethod
    @asynccontextmanager
    async def prepared(
        cls, plan: Plan, servers: Servers, folder: Path, *, command: Sequence[str] = MODULE
    ) -> AsyncIterator[Self]:
        """Topics, a database, links, and workers that are ready. Processes that still run at the end are killed."""
        name = f"plan_{plan.seed}_{uuid4().hex[:8]}"
        url = servers.database(name)
        topics = new_topics()
        direct = servers.kafka.bootstrap_servers
        system = System(bootstrap_servers=direct, database_url=url, folder=folder, topics=topics)
        await create_system_topics(direct, topics, {"max.message.bytes": str(RECORD_BYTES_MAX)})
        await insert_environments(url, plan.seed)
        environments = in_order(await rows(url, "app_environments"))
        async with AsyncExitStack() as stack:
            links = [await _links(stack, servers, number, plan) for number in range(WORKERS)]
            workers = [
                WorkerSupervisor(number, system, settings_of(plan, system, links[number]), command)
                for number in range(WORKERS)
            ]
            supervising = [asyncio.create_task(worker.run()) for worker in workers]
            try:
                for worker in workers:
                    await worker.process.ready()
                yield cls(
                    plan=plan,
                    servers=servers,
                    system=system,
                    links=links,
                    workers=workers,
                    environments=environments,
                )
            finally:
                for task in supervising:
                    task.cancel()
                for worker in workers:
                    worker.process.kill()
        await asyncio.to_thread(servers.postgres.drop_database, name)
        await asyncio.to_thread(delete_topics, direct, list(partitions_of(topics)))

    async def publish(self) -> int:
        """Publish the plan's event stream, spread over its time; return the number of records.

        A release stays in the partition of its first record, also when the topic gets more partitions.
        """
        records = day_of(self.plan.seed, releases=self.plan.releases).daytime
        problems: list[KafkaError] = []
        producer = Producer(
            {
                "bootstrap.servers": self.system.bootstrap_servers,
                "enable.idempotence": True,
                "linger.ms": 0,
                "message.max.bytes": RECORD_BYTES_MAX,
                "log_level": 0,
                "topic.metadata.refresh.interval.ms": 300,
                "delivery.timeout.ms": _DELIVERED_WITHIN_SECONDS * 1000,
            }
        )
        partitions: dict[bytes | None, int] = {}
        self.began_at_seconds = time.monotonic()
        for number, record in enumerate(records):
            await self.moment(self.plan.sent_within_seconds * number / len(records))
            partition = partitions.setdefault(record.key, zlib.crc32(record.key or b"") % self.partitions)
            produce(producer, self.system.topics.events, replace(to_send(record), partition=partition), problems)
        left = await asyncio.to_thread(producer.flush, _DELIVERED_WITHIN_SECONDS)
        assert (left, problems) == (0, [])
        return len(records)

    async def moment(self, at_seconds: float) -> None:
        """Wait until this time after the first event."""
        left_seconds = self.began_at_seconds + at_seconds - time.monotonic()
        if left_seconds > 0:
            await asyncio.sleep(left_seconds)

    async def grow(self, more: int) -> None:
        """Give the input topic more partitions; the publisher uses them once the broker lists them."""
        topic, partitions = self.system.topics.events, self.partitions + more
        client = AdminClient({"bootstrap.servers": self.system.bootstrap_servers, "log_level": 0})
        for grown in client.create_partitions([NewPartitions(topic, partitions)]).values():
            await asyncio.to_thread(grown.result, 30)

        def listed() -> bool:
            try:
                known = client.list_topics(topic, timeout=5).topics[topic].partitions
            except KafkaException:
                return False
            return len(known) == partitions and all(one.leader >= 0 for one in known.values())

        await until(lambda: asyncio.to_thread(listed), what="the partitions are there")
        await asyncio.sleep(1.0)  # by then the publisher's client, which asks three times a second, knows them
        self.partitions = partitions

    async def restart_database(self) -> None:
        """Restart the database. After a full disk, recovery may take more than one start."""

        def answers() -> bool:
            try:
                self.servers.postgres.ensure_running()
                self.servers.postgres.execute("select 1")
            except ServerFailed:
                return False
            return True

        await until(lambda: asyncio.to_thread(answers), what="the database is back")

    async def settled(self) -> None:
        """Wait until the group has committed all records."""
        await until(self.system.committed, what=self.state, timeout_seconds=_SETTLED_WITHIN_SECONDS)

    def state(self) -> str:
        return "\n".join(
            ["all is committed", *(f"{worker.exit_codes} {worker.process.output()}" for worker in self.workers)]
        )


async def _links(stack: AsyncExitStack, servers: Servers, number: int, plan: Plan) -> Links:
    way = servers.kafka.ways[number]
    conditions: dict[str, Any] = {"seed": plan.seed, "latency_seconds": plan.latency_seconds}
    return Links(
        database=await stack.enter_async_context(FaultyProxy.running(servers.postgres.port, **conditions)),
        broker=await stack.enter_async_context(FaultyProxy.running(way.behind, port=way.port, **conditions)),
    )


def settings_of(plan: Plan, system: System, links: Links) -> dict[str, str]:
    """Of a process that reaches its servers through these links."""
    database_url = make_url(system.database_url).set(port=links.database.port)
    return {
        **SHORT_TIMEOUTS,
        "RUDDER_CONCURRENCY": str(plan.concurrency),
        "RUDDER_COMMIT_INTERVAL_SECONDS": str(plan.commit_interval_seconds),
        "RUDDER_DATABASE_URL": database_url.render_as_string(hide_password=False),
        "RUDDER_KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{links.broker.port}",
    }
