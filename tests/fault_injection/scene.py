"""Where a plan is played: three workers, each with links of its own, and what starts another when one of them ends."""

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

from tests.conformance.contents import insert_environments, rows
from tests.conformance.deadlines import until
from tests.conformance.producers import produce
from tests.end_to_end.days import day_of
from tests.end_to_end.stage import PARTITIONS, RECORD_BYTES_MAX, Stage, partitions_of, to_send, topics_of_a_stage
from tests.end_to_end.worker_process import MODULE, WorkerProcess
from tests.fault_injection.plans import SESSION_TIMEOUT_SECONDS, WORKERS, Plan
from tests.fault_injection.servers import Servers
from tests.properties.two_opinions import in_order
from tests.testkit.child import ServerFailed
from tests.testkit.faulty_proxy import FaultyProxy
from tests.testkit.topics import delete_topics
from worker.demo.topics import create_topics

HURRIED = {
    "RUDDER_SESSION_TIMEOUT_SECONDS": str(SESSION_TIMEOUT_SECONDS),
    "RUDDER_DATABASE_TIMEOUT_SECONDS": "2",
    "RUDDER_KAFKA_REQUEST_TIMEOUT_SECONDS": "4",
    "RUDDER_KAFKA_METADATA_MAX_AGE_SECONDS": "1",
    "RUDDER_DRAIN_TIMEOUT_SECONDS": "3",
}
"""What takes a company minutes must happen within a plan's few seconds."""

_SETTLED_WITHIN_SECONDS = 120.0
_DELIVERED_WITHIN_SECONDS = 120
_PAUSE_SECONDS = 0.05


class Berth:
    """A worker's place: when its process ends, for whatever reason, another one is started there."""

    def __init__(self, number: int, stage: Stage, settings: dict[str, str], command: Sequence[str]) -> None:
        self._number = number
        self._command = command
        self._stage = stage
        self._settings = settings
        self._lives = 0
        self._closed = False
        self.harm = asyncio.Lock()
        """Who does harm to it holds this: a process that is stopped is not killed as well."""
        self.ends: list[int] = []
        """The exit codes of those that nobody killed and nobody asked to end."""
        self.process = self._launch()

    async def keep(self) -> None:
        while not self._closed:
            await asyncio.sleep(_PAUSE_SECONDS)
            code = self.process.exit_code
            if code is None or self._closed:
                continue
            if code != -signal.SIGKILL:
                self.ends.append(code)
            self.process = self._launch()

    async def stop(self) -> int:
        """Its exit code; nobody takes its place any more. One that has just been started must first be ready: before,
        it does not know what a signal means. AssertionError if it never is, or does not end.
        """
        await until(lambda: self.process.exit_code is None, what="another is started in its place")
        await self.process.ready()
        self._closed = True
        return await self.process.stop()

    @property
    def told(self) -> str:
        """All that its processes said."""
        files = sorted(self._stage.folder.glob(f"worker-{self._number}.*.err"))
        return "".join(file.read_text("utf-8", "replace") for file in files)

    def _launch(self) -> WorkerProcess:
        self._lives += 1
        return self._stage.worker(f"worker-{self._number}.{self._lives}", command=self._command, **self._settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """One worker's ways to its servers."""

    database: FaultyProxy
    broker: FaultyProxy


@dataclass(slots=True, kw_only=True)
class Scene:
    """`partitions`: how many the input topic has, as far as the publisher knows."""

    plan: Plan
    servers: Servers
    stage: Stage
    links: Sequence[Links]
    berths: Sequence[Berth]
    environments: list[dict[str, Any]]
    partitions: int = PARTITIONS
    broker_harm: asyncio.Lock = field(default_factory=asyncio.Lock)
    database_harm: asyncio.Lock = field(default_factory=asyncio.Lock)
    began_at_seconds: float = 0.0

    @classmethod
    @asynccontextmanager
    async def set(
        cls, plan: Plan, servers: Servers, folder: Path, *, command: Sequence[str] = MODULE
    ) -> AsyncIterator[Self]:
        """Topics, a database, links and workers that are ready. Whatever still runs at the end is killed."""
        name = f"plan_{plan.seed}_{uuid4().hex[:8]}"
        url = servers.database(name)
        topics = topics_of_a_stage()
        partitions = partitions_of(topics)
        direct = servers.kafka.bootstrap_servers
        stage = Stage(bootstrap_servers=direct, database_url=url, folder=folder, topics=topics)
        await create_topics(direct, partitions, {"max.message.bytes": str(RECORD_BYTES_MAX)})
        await insert_environments(url, plan.seed)
        environments = in_order(await rows(url, "app_environments"))
        async with AsyncExitStack() as stack:
            links = [await _links(stack, servers, number, plan) for number in range(WORKERS)]
            berths = [Berth(number, stage, _settings(plan, stage, links[number]), command) for number in range(WORKERS)]
            keeping = [asyncio.create_task(berth.keep()) for berth in berths]
            try:
                for berth in berths:
                    await berth.process.ready()
                yield cls(
                    plan=plan,
                    servers=servers,
                    stage=stage,
                    links=links,
                    berths=berths,
                    environments=environments,
                )
            finally:
                for task in keeping:
                    task.cancel()
                for berth in berths:
                    berth.process.kill()
        await asyncio.to_thread(servers.postgres.drop_database, name)
        await asyncio.to_thread(delete_topics, direct, list(partitions))

    async def publish(self) -> int:
        """The plan's stream, spread over its time; how many records there are. A release stays in the partition that
        it was begun in: whoever has an order to keep does not let more partitions break it.
        """
        records = day_of(self.plan.seed, releases=self.plan.releases).daytime
        problems: list[KafkaError] = []
        producer = Producer(
            {
                "bootstrap.servers": self.stage.bootstrap_servers,
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
            produce(producer, self.stage.topics.events, replace(to_send(record), partition=partition), problems)
        left = await asyncio.to_thread(producer.flush, _DELIVERED_WITHIN_SECONDS)
        assert (left, problems) == (0, [])
        return len(records)

    async def moment(self, at_seconds: float) -> None:
        """Waits until so long after the first event was sent."""
        left_seconds = self.began_at_seconds + at_seconds - time.monotonic()
        if left_seconds > 0:
            await asyncio.sleep(left_seconds)

    async def grow(self, more: int) -> None:
        """Gives the input topic more partitions; the publisher uses them once the broker shows them."""
        topic, partitions = self.stage.topics.events, self.partitions + more
        client = AdminClient({"bootstrap.servers": self.stage.bootstrap_servers, "log_level": 0})
        for grown in client.create_partitions([NewPartitions(topic, partitions)]).values():
            await asyncio.to_thread(grown.result, 30)

        def shown() -> bool:
            try:
                known = client.list_topics(topic, timeout=5).topics[topic].partitions
            except KafkaException:
                return False
            return len(known) == partitions and all(one.leader >= 0 for one in known.values())

        await until(lambda: asyncio.to_thread(shown), what="the partitions are there")
        await asyncio.sleep(1.0)  # by then the publisher's client, which asks three times a second, knows them
        self.partitions = partitions

    async def bring_back_the_database(self) -> None:
        """Recovery may take more than one start, after a disk was full."""

        def answers() -> bool:
            try:
                self.servers.postgres.ensure_running()
                self.servers.postgres.execute("select 1")
            except ServerFailed:
                return False
            return True

        await until(lambda: asyncio.to_thread(answers), what="the database is back")

    async def settled(self) -> None:
        """Waits until the group has committed all that was sent."""
        await until(self.stage.committed, what=self.told, timeout_seconds=_SETTLED_WITHIN_SECONDS)

    def told(self) -> str:
        return "\n".join(["all is committed", *(f"{berth.ends} {berth.process.told()}" for berth in self.berths)])


async def _links(stack: AsyncExitStack, servers: Servers, number: int, plan: Plan) -> Links:
    way = servers.kafka.ways[number]
    nature = {"seed": plan.seed, "latency_seconds": plan.latency_seconds}
    return Links(
        database=await stack.enter_async_context(FaultyProxy.running(servers.postgres.port, **nature)),
        broker=await stack.enter_async_context(FaultyProxy.running(way.behind, port=way.port, **nature)),
    )


def _settings(plan: Plan, stage: Stage, links: Links) -> dict[str, str]:
    database_url = make_url(stage.database_url).set(port=links.database.port)
    return {
        **HURRIED,
        "RUDDER_CONCURRENCY": str(plan.concurrency),
        "RUDDER_COMMIT_INTERVAL_SECONDS": str(plan.commit_interval_seconds),
        "RUDDER_DATABASE_URL": database_url.render_as_string(hide_password=False),
        "RUDDER_KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{links.broker.port}",
    }
