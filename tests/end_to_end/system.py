"""Where an end-to-end test plays: a broker's topics, an empty migrated database, and the settings that join them."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

from confluent_kafka import Message

from tests.conformance.deadlines import until
from tests.conformance.producers import ToSend, ends_and_committed, read_all, send
from tests.conformance.table_contents import Contents, contents
from tests.end_to_end.worker_process import MODULE, WorkerProcess
from tests.testkit.topic_creation import create_topics
from worker.demo.broker import free_port
from worker.demo.release_publisher import EventRecord

RECORD_BYTES_MAX = 32 * 1024 * 1024
PARTITIONS = 4
QUICK = {
    "RUDDER_COMMIT_INTERVAL_SECONDS": "0.2",
    "RUDDER_RETRY_MAX_SECONDS": "0.5",
    "RUDDER_SESSION_TIMEOUT_SECONDS": "6",
    "RUDDER_KAFKA_REQUEST_TIMEOUT_SECONDS": "10",
    "RUDDER_DATABASE_TIMEOUT_SECONDS": "5",
    "RUDDER_LOG_LEVEL": "warning",
}
"""Tests do not wait as long as a company does."""
PATIENT = {"RUDDER_CONCURRENCY": "4", "RUDDER_DATABASE_TIMEOUT_SECONDS": "30"}
"""With a TDS server: Babelfish takes a second's work to get to know each connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicNames:
    events: str
    deployment_status: str
    release_status: str
    dead_letters: str
    deployment_state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    bootstrap_servers: str
    database_url: str
    folder: Path
    topics: TopicNames
    group_id: str = field(default_factory=lambda: f"group.{uuid4().hex}")

    @property
    def settings(self) -> dict[str, str]:
        """For one worker: each has an HTTP port of its own."""
        return {
            **QUICK,
            **(PATIENT if self.database_url.startswith("mssql") else {}),
            "RUDDER_DATABASE_URL": self.database_url,
            "RUDDER_KAFKA_BOOTSTRAP_SERVERS": self.bootstrap_servers,
            "RUDDER_GROUP_ID": self.group_id,
            "RUDDER_INPUT_TOPICS": self.topics.events,
            "RUDDER_DEPLOYMENT_STATUS_TOPIC": self.topics.deployment_status,
            "RUDDER_RELEASE_STATUS_TOPIC": self.topics.release_status,
            "RUDDER_DEAD_LETTER_TOPIC": self.topics.dead_letters,
            "RUDDER_DEPLOYMENT_STATE_TOPIC": self.topics.deployment_state,
            "RUDDER_HTTP_PORT": str(free_port()),
        }

    def worker(self, name: str = "worker", *, command: Sequence[str] = MODULE, **settings: str) -> WorkerProcess:
        """`rudder-worker run`, started. `command`: another program that takes the same arguments."""
        return WorkerProcess("run", settings=self.settings | settings, folder=self.folder, name=name, command=command)

    def with_database(self, database_url: str) -> "System":
        """The same topics with another database and another group."""
        return replace(self, database_url=database_url, group_id=f"group.{uuid4().hex}")

    async def send(self, records: Iterable[ToSend | EventRecord], *, compression: str = "none") -> None:
        """Into the input topic; returns when all are acknowledged."""
        given = [to_send(record) if isinstance(record, EventRecord) else record for record in records]
        await asyncio.to_thread(
            send, self.bootstrap_servers, self.topics.events, given, compression=compression, idempotent=False
        )

    async def read(self, topic: str) -> list[Message]:
        return await asyncio.to_thread(read_all, self.bootstrap_servers, topic)

    async def committed(self) -> bool:
        """Whether the group has committed all that the input topic holds."""
        ends, committed = await self._ends_and_committed()
        return ends == committed

    async def committed_records(self) -> int:
        """How many records the group has committed; the topic has no gaps."""
        return sum(await self.committed_offsets())

    async def committed_offsets(self) -> list[int]:
        """What the group has committed of each partition; 0: nothing."""
        _, committed = await self._ends_and_committed()
        return committed

    async def _ends_and_committed(self) -> tuple[list[int], list[int]]:
        return await asyncio.to_thread(ends_and_committed, self.bootstrap_servers, self.topics.events, self.group_id)

    async def caught_up(self, *workers: WorkerProcess) -> None:
        """Waits until all is committed; the workers must live to see it."""

        async def done() -> bool:
            for worker in workers:
                assert worker.exit_code is None, worker.output()
            return await self.committed()

        await until(done, what=lambda: "\n".join(["all is committed", *(worker.output() for worker in workers)]))

    async def rows(self) -> Contents:
        return await contents(self.database_url)


def new_topics() -> TopicNames:
    """Names that no other test uses."""
    name = uuid4().hex
    return TopicNames(
        events=f"events.{name}",
        deployment_status=f"deployment-status.{name}",
        release_status=f"release-status.{name}",
        dead_letters=f"dead-letters.{name}",
        deployment_state=f"deployment-state.{name}",
    )


def partitions_of(topics: TopicNames) -> Mapping[str, int]:
    names = (
        topics.events,
        topics.deployment_status,
        topics.release_status,
        topics.dead_letters,
        topics.deployment_state,
    )
    return dict.fromkeys(names, PARTITIONS)


async def create_system_topics(
    bootstrap_servers: str, topics: TopicNames, configs: Mapping[str, str] | None = None
) -> None:
    """All of the system's topics; that of the states is compacted."""
    partitions = dict(partitions_of(topics))
    states = {topics.deployment_state: partitions.pop(topics.deployment_state)}
    await create_topics(bootstrap_servers, partitions, configs)
    await create_topics(bootstrap_servers, states, {**(configs or {}), "cleanup.policy": "compact"})


def to_send(record: EventRecord) -> ToSend:
    return ToSend(value=record.value, key=record.key, headers=record.headers, timestamp_ms=record.timestamp_ms)
