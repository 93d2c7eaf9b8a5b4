"""Holds assigned partitions until the database is known to have what the group has committed in them.

A partition that is assigned is held: the consumer begins none of its records. This service looks at the last committed
record with a client that belongs to no group, and then admits the partition. If the database is behind, the partition
stays held until the record is known, or is read again from the oldest unknown record (RUDDER_DATABASE_BEHIND).
"""

import asyncio
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from worker.database_behind import Behind, Expired, KnownEvents, Read, Records, check, oldest_unknown
from worker.pipeline.consumer import Consumer
from worker.pipeline.dependency_monitor import DependencyMonitors
from worker.ports import Clock, Partition, PartitionsLost
from worker.rules.errors import ConfigurationError, Unavailable
from worker.telemetry import PARTITIONS_BEHIND, LogEvent, Metrics

_INTERVAL_SECONDS = 3.0
_COMPARED_MAX = 200

ADVICE = (
    "the database was restored from a backup, or is another one. Restore or connect the right one, or restart with "
    "RUDDER_DATABASE_BEHIND=rewind to read again from the oldest unknown event, or read it with rudder-worker replay "
    "--execute; the partition continues when the event is known"
)

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.behind")


class RecordsClient(Records, Protocol):
    """A client that is started for a check, and stopped after it."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class BehindMonitor:
    """A service. `rewinds`: whether a partition is read again, rather than held. `known_records_min`: see
    `worker.database_behind.oldest_unknown`.
    """

    def __init__(
        self,
        consumer: Consumer,
        client: Callable[[], RecordsClient],
        events: KnownEvents,
        read: Read,
        *,
        rewinds: bool,
        known_records_min: int,
        monitors: DependencyMonitors,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._consumer = consumer
        self._client = client
        self._events = events
        self._read = read
        self._rewinds = rewinds
        self._known_records_min = known_records_min
        self._monitors = monitors
        self._clock = clock
        self._behind: dict[Partition, tuple[object, Behind]] = {}
        self._expired: set[Partition] = set()
        self._failure: str | None = None
        metrics.read_at_scrape(PARTITIONS_BEHIND, lambda: len(self._behind))

    @property
    def problem(self) -> str | None:
        """Which partition is held because the database is behind, and what to do; None: none is."""
        found = [behind for _, behind in self._behind.values()]
        if not found:
            return self._failure
        more = f", and {len(found) - 1} more partitions" if len(found) > 1 else ""
        return f"{found[0]}{more}; {ADVICE}"

    async def compare(self) -> None:
        """Look whether the last events that this worker completed are still known. If not, the database was replaced
        under it: all partitions are held and checked.

        Raises:
            Unavailable: the database does not answer.
        """
        ids = list(self._consumer.last_completed.values())[:_COMPARED_MAX]
        if ids and not set(ids) <= await self._events.known(ids):
            self._consumer.check_again()

    async def run(self, stop: asyncio.Event) -> None:
        """Check partitions when they are assigned, and held ones every few seconds, until `stop`."""
        async with asyncio.TaskGroup() as group:
            checking = group.create_task(self._check_repeatedly(), name="database behind")
            await stop.wait()
            checking.cancel()

    async def _check_repeatedly(self) -> None:
        while True:
            await self._clock.wait(self._consumer.unchecked_added, timeout_seconds=_INTERVAL_SECONDS)
            self._consumer.unchecked_added.clear()
            if not self._monitors.available:
                continue
            try:
                if self._consumer.unchecked:
                    await self.run_once()
                else:
                    self._behind.clear()
                    await self.compare()
                self._failure = None
            except PartitionsLost:
                continue  # the next assignment is checked
            except Unavailable:  # its monitor finds and logs an outage
                self._monitors.database.suspect()
                self._monitors.broker.suspect()
            except ConfigurationError as error:
                self._fail(error)

    def _fail(self, error: ConfigurationError) -> None:
        failure = f"assigned partitions are not begun, because their last committed records cannot be checked: {error}"
        if failure != self._failure:
            _log.error(LogEvent.DATABASE_CHECK_FAILED, cause=str(error))
        self._failure = failure

    async def run_once(self) -> None:
        """Check all held partitions once.

        Raises:
            Unavailable, ConfigurationError: the database or the broker does not answer; partitions stay held.
            PartitionsLost: the group has assigned a partition to another member meanwhile.
        """
        held = self._consumer.unchecked
        client = self._client()
        try:
            await client.start()
            findings = await check(list(held), client, self._events, self._read)
            # First those that may begin: to read others again can take long.
            for partition, finding in sorted(findings.items(), key=lambda found: isinstance(found[1], Behind)):
                if isinstance(finding, Behind):
                    await self._handle(finding, held[partition], client)
                    continue
                if isinstance(finding, Expired) and partition not in self._expired:
                    self._expired.add(partition)
                    _log.info(LogEvent.DATABASE_UNCHECKED, **_position(finding), log_start=finding.begin)
                if self._behind.pop(partition, None) is not None:
                    _log.warning(LogEvent.DATABASE_CURRENT, **partition._asdict())  # the level of database.behind
                self._consumer.admit(partition, held[partition])
        finally:
            await client.stop()
        unchecked = self._consumer.unchecked
        self._behind = {one: found for one, found in self._behind.items() if unchecked.get(one) is found[0]}

    async def _handle(self, behind: Behind, token: object, client: RecordsClient) -> None:
        partition = behind.partition
        logged = self._behind.get(partition)
        self._behind[partition] = token, behind
        if logged is None:
            advice = None if self._rewinds else ADVICE
            _log.error(LogEvent.DATABASE_BEHIND, **_position(behind), event_id=behind.event, advice=advice)
        if not self._rewinds:
            return
        oldest = await oldest_unknown(
            behind, client, self._events, self._read, known_records_min=self._known_records_min
        )
        if await self._consumer.rewind(partition, token, oldest.offset):
            _log.warning(
                LogEvent.DATABASE_REWOUND,
                **_position(behind),
                to_offset=oldest.offset,
                records_missing=None if oldest.complete else "older records were deleted by retention",
            )
        self._behind.pop(partition, None)


def _position(finding: Behind | Expired) -> Mapping[str, object]:
    offset = {"offset": finding.offset} if isinstance(finding, Behind) else {}
    return {**finding.partition._asdict(), "committed": finding.committed, **offset}
