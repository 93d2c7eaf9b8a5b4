"""The servers of the plans: Kafka with a listener for each worker, and PostgreSQL, on a small disk where possible."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Self

from tests.conformance.stores import migrate
from tests.fault_injection.plans import WORKERS, FaultKind
from tests.testkit.availability import started
from tests.testkit.kafka_jars import KafkaUnavailable
from tests.testkit.postgres import PostgresServer, PostgresUnavailable
from tests.testkit.proxied_kafka import ProxiedKafka
from tests.testkit.small_disk import DiskUnavailable, SmallDisk

_DISK_MEGABYTES = 400
_TEMPLATE = "template_of_plans"
_SETTINGS = {"max_wal_size": "64MB", "min_wal_size": "32MB", "fsync": "on", "wal_writer_delay": "10s"}
"""The write-ahead log must leave room on the disk for the tables. A crash loses what no commit has flushed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """`disk` is None where none can be mounted: then no plan fills it."""

    kafka: ProxiedKafka
    postgres: PostgresServer
    disk: SmallDisk | None

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Self]:
        with ExitStack() as stack:
            disk = None
            with suppress(DiskUnavailable):
                disk = stack.enter_context(SmallDisk.mounted(_DISK_MEGABYTES))
            parent = disk.folder if disk is not None else None
            postgres = stack.enter_context(
                started(
                    "postgresql",
                    lambda: PostgresServer(parent=parent, settings=_SETTINGS),
                    missing=PostgresUnavailable,
                )
            )
            kafka = stack.enter_context(started("apache", lambda: ProxiedKafka(ways=WORKERS), missing=KafkaUnavailable))
            asyncio.run(migrate(postgres.create_database(_TEMPLATE)))
            yield cls(kafka=kafka, postgres=postgres, disk=disk)

    @property
    def kinds(self) -> tuple[FaultKind, ...]:
        """What can be done to them."""
        return tuple(kind for kind in FaultKind if kind is not FaultKind.DISK_FULL or self.disk is not None)

    def database(self, name: str) -> str:
        """A migrated, empty one; its URL."""
        return self.postgres.create_database(name, _TEMPLATE)
