"""The demo: a broker, a database, a worker process, a day of CI/CD during which the worker is killed, and `verify`."""

import asyncio
import http.client
import signal
import sqlite3
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from rich.console import Console
from rich.markup import escape

from worker.demo.broker import EmbeddedBroker, free_port
from worker.demo.company import app_environments
from worker.demo.event_stream import RELEASES, event_stream
from worker.demo.release_publisher import EventRecord
from worker.demo.report import print_addresses, print_report, print_verification
from worker.demo.worker_command import WorkerCommand

EVENTS_TOPIC: Final = "rudder.deployment-events"
STATES_TOPIC: Final = "rudder.deployment-state"
TOPICS: Final = (EVENTS_TOPIC, "rudder.deployment-status", "rudder.release-status", "rudder.dead-letters", STATES_TOPIC)
PARTITIONS: Final = 4
GROUP_ID: Final = "rudder-worker"
RECORD_BYTES_MAX: Final = 4 * 1024 * 1024
"""Some records of the day are larger than an event may be."""
TOPIC_CONFIGS: Final = {"max.message.bytes": str(RECORD_BYTES_MAX), "retention.ms": "-1"}
"""Retention goes by the records' own timestamps, and the day is past."""
KILLED_AFTER_FRACTION: Final = 0.4
START_TIMEOUT_SECONDS: Final = 30.0
VERIFY_TIMEOUT_SECONDS: Final = 120.0
STALL_TIMEOUT_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.1
PROGRESS_SECONDS: Final = 5.0


class DemoFailed(Exception):
    """The demo cannot go on; the message says why, with the end of the worker's log."""


async def run_demo(
    *, seed: int, serve: bool, output_path: Path, releases: int = RELEASES, console: Console | None = None
) -> int:
    """Return 0 if the verification found nothing, else 1. `serve`: everything stays up until Ctrl-C."""
    console = console or Console()
    try:
        async with EmbeddedBroker() as broker:
            demo = _Demo(output_path, broker.bootstrap_servers, console)
            await demo.prepare(seed=seed)
            verified = await demo.run(list(event_stream(seed=seed, releases=releases)), serve=serve)
            return 0 if verified else 1
    except DemoFailed as failure:
        console.print(f"[bold red]The demo failed:[/] {escape(str(failure))}", soft_wrap=True)
        return 1


def _configs(topic: str) -> dict[str, str]:
    return {**TOPIC_CONFIGS, "cleanup.policy": "compact" if topic == STATES_TOPIC else "delete"}


class _Demo:
    def __init__(self, folder: Path, bootstrap_servers: str, console: Console) -> None:
        folder = folder.absolute()
        self._console = console
        self._bootstrap_servers = bootstrap_servers
        self._http_port = free_port()
        self._database_path = folder / "rudder.sqlite3"
        self._log_path = folder / "worker.log"
        self._verify_path = folder / "verify.txt"
        self._settings = {
            "RUDDER_DATABASE_URL": f"sqlite+aiosqlite:///{self._database_path}",
            "RUDDER_KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
            "RUDDER_GROUP_ID": GROUP_ID,
            "RUDDER_GROUP_INSTANCE_ID": "demo",  # a restarted worker takes its partitions back at once
            "RUDDER_HTTP_PORT": str(self._http_port),
        }

    async def prepare(self, *, seed: int) -> None:
        """Make topics, tables, and the rows that a platform has before the first event."""
        database = self._database_path
        of_an_earlier_demo = [database.with_name(database.name + end) for end in ("", "-wal", "-shm")]
        for path in (*of_an_earlier_demo, self._log_path, self._verify_path):
            path.unlink(missing_ok=True)
        async with self._admin() as admin:
            await admin.create_topics(
                [NewTopic(name, PARTITIONS, replication_factor=1, topic_configs=_configs(name)) for name in TOPICS]
            )
        async with self._command("migrate", self._log_path) as migration:
            if exit_code := await migration.wait(timeout_seconds=START_TIMEOUT_SECONDS):
                raise DemoFailed(f"migrate ended with {exit_code}:\n{migration.last_lines()}")
        insert_app_environments(database, seed=seed)

    async def run(self, records: Sequence[EventRecord], *, serve: bool) -> bool:
        """Whether the verification found nothing."""
        # Releases that claim a taken number come in the evening: no order is promised between releases but time.
        day = [record for record in records if not record.is_evening]
        began_at_seconds = time.monotonic()
        async with self._command("run", self._log_path) as running:
            await self._ready(running)
            self._console.print(f"The worker is ready. Publishing {len(records):,} records of one day.")
            await self._publish(day)
            await self._committed(int(len(day) * KILLED_AFTER_FRACTION), running)
            await running.stop(signal.SIGKILL)
        self._console.print("The worker was killed (SIGKILL). Starting it again.")
        async with self._command("run", self._log_path) as running:
            await self._committed(len(day), running)
            await self._publish(records[len(day) :])
            await self._committed(len(records), running)
            self._console.print(f"All records are committed after {time.monotonic() - began_at_seconds:.0f} s.")
            if not serve:
                await self._stop(running)
            verified = await self._verify()
            print_report(self._console, records=len(records), database_path=self._database_path)
            self._console.print(f"The worker's log is {self._log_path}.", highlight=False, soft_wrap=True)
            print_verification(self._console, self._verify_path, verified=verified)
            if serve:
                print_addresses(self._console, self._http_port, self._bootstrap_servers, self._database_path)
                await _interrupted()
                await self._stop(running)
        return verified

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap_servers)
        await admin.start()
        try:
            yield admin
        finally:
            await admin.close()

    def _command(self, name: str, output_path: Path) -> WorkerCommand:
        return WorkerCommand(name, settings=self._settings, output_path=output_path)

    async def _ready(self, running: WorkerCommand) -> None:
        give_up_at_seconds = time.monotonic() + START_TIMEOUT_SECONDS
        while not await asyncio.to_thread(self._answers_ready):
            if running.process.returncode is not None or time.monotonic() > give_up_at_seconds:
                raise DemoFailed(f"the worker is not ready:\n{running.last_lines()}")
            await asyncio.sleep(POLL_SECONDS)

    def _answers_ready(self) -> bool:
        with closing(http.client.HTTPConnection("127.0.0.1", self._http_port, timeout=2)) as connection:
            try:
                connection.request("GET", "/readyz")
                return connection.getresponse().status == http.client.OK
            except (OSError, http.client.HTTPException):
                return False

    async def _publish(self, records: Sequence[EventRecord]) -> None:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._bootstrap_servers, acks="all", max_request_size=RECORD_BYTES_MAX
        )
        async with producer:
            for record in records:
                await producer.send(
                    EVENTS_TOPIC,
                    record.value,
                    key=record.key,
                    headers=list(record.headers),
                    timestamp_ms=record.timestamp_ms,
                )

    async def _committed(self, records_count: int, running: WorkerCommand) -> None:
        """Wait until the group has committed so many records; the topic began empty, so offsets count them."""
        committed, changed_at_seconds, printed_at_seconds = 0, time.monotonic(), time.monotonic()
        async with self._admin() as admin:
            while committed < records_count:
                offsets = await admin.list_consumer_group_offsets(GROUP_ID)
                found = sum(max(at.offset, 0) for partition, at in offsets.items() if partition.topic == EVENTS_TOPIC)
                now = time.monotonic()
                if found != committed:
                    committed, changed_at_seconds = found, now
                if now - printed_at_seconds > PROGRESS_SECONDS:
                    self._console.print(f"  {committed:,} records are committed.")
                    printed_at_seconds = now
                if running.process.returncode is not None or now - changed_at_seconds > STALL_TIMEOUT_SECONDS:
                    raise DemoFailed(f"{committed:,} records are committed, and no more:\n{running.last_lines()}")
                await asyncio.sleep(POLL_SECONDS)

    async def _stop(self, running: WorkerCommand) -> None:
        if exit_code := await running.stop():
            raise DemoFailed(f"the worker's exit code is {exit_code}, expected 0:\n{running.last_lines()}")

    async def _verify(self) -> bool:
        async with self._command("verify", self._verify_path) as verification:
            exit_code = await verification.wait(timeout_seconds=VERIFY_TIMEOUT_SECONDS)
            if exit_code not in {0, 1}:
                raise DemoFailed(f"verify ended with {exit_code}:\n{verification.last_lines()}")
            return exit_code == 0


def insert_app_environments(database_path: Path, *, seed: int) -> None:
    """The platform's rows: the worker points them at releases and never inserts one."""
    rows = [
        (str(row["id"]), row["environment_id"], str(row["component_id"]), row["deployment_track_id"])
        + (f"{row['created_at']:%Y-%m-%d %H:%M:%S.%f}",) * 2
        for row in app_environments(seed=seed)
    ]
    with closing(sqlite3.connect(database_path)) as connection, connection:
        connection.executemany(
            "INSERT INTO app_environments (id, environment_id, component_id, deployment_track_id, created_at,"
            " updated_at) VALUES (?, ?, ?, ?, ?, ?)",
            rows,
        )


async def _interrupted() -> None:
    """Wait for Ctrl-C or SIGTERM."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
