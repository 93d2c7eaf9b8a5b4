"""Publishes current states again where an earlier one may have been published after them.

That is so for the releases that `worker.pipeline.state_order` names: their partition was released before an offset
commit had confirmed the order. Until the repair, `release_version` shows a subscriber which state is the later one.
"""

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID

import structlog

from worker.deployment_states import states_of
from worker.pipeline.backoff import Backoff
from worker.pipeline.current_states import StoredReleases, publish_until_current
from worker.pipeline.dependency_monitor import DependencyMonitors
from worker.pipeline.outgoing import OutgoingRecords
from worker.pipeline.state_order import StateOrder
from worker.ports import Clock, OutgoingRecord, Publisher
from worker.rules.errors import ConfigurationError, Unavailable
from worker.telemetry import STATES_REPAIRED, STATES_TO_REPAIR, LogEvent, Metrics

_RELEASES_MAX = 20
"""Releases that are repaired together: all of their rows are in memory."""

_ATTEMPTS_MAX = 10
"""Failed attempts of one release; none is made during an outage."""

_BACKOFF = Backoff(initial_seconds=0.5, max_seconds=30.0)
_INTERVAL_SECONDS = 60.0
_AVAILABLE_AGAIN_SECONDS = 0.5
_LAST_TIMEOUT_SECONDS = 5.0
"""Of the attempt at the stop."""

ADVICE = "subscribers of the state topic may have an earlier state; run rudder-worker state publish --execute"

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.states")


class StateMonitor:
    """A service. `flush` it after the last message, while the database and the broker can still be used."""

    def __init__(
        self,
        order: StateOrder,
        *,
        outgoing: OutgoingRecords,
        publisher: Publisher,
        stored: StoredReleases,
        monitors: DependencyMonitors,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._order = order
        self._outgoing = outgoing
        self._publisher = publisher
        self._stored = stored
        self._monitors = monitors
        self._clock = clock
        self._metrics = metrics
        self._failures: dict[UUID, int] = {}
        self._being_repaired = 0
        metrics.read_at_scrape(STATES_TO_REPAIR, lambda: order.to_repair + self._being_repaired)

    async def run(self, stop: asyncio.Event) -> None:
        """Repair what the order names, until `stop`."""
        async with asyncio.TaskGroup() as group:
            repairing = group.create_task(self._repair_repeatedly(), name="states")
            await stop.wait()
            repairing.cancel()

    async def flush(self) -> None:
        """At the end: repair what is left, if the dependencies answer now; else log it."""
        if self._monitors.available:
            try:
                async with asyncio.timeout(_LAST_TIMEOUT_SECONDS):
                    while self._order.to_repair:
                        await self._repair(_RELEASES_MAX)
            except (Unavailable, ConfigurationError, TimeoutError) as error:
                self._log_not_repaired(self._order.to_repair, error)
        elif self._order.to_repair:
            self._log_not_repaired(self._order.to_repair, None)
        self._log_left_out()

    async def _repair_repeatedly(self) -> None:
        failures = 0
        while True:
            if not self._order.to_repair:
                await self._clock.wait(self._order.added, timeout_seconds=_INTERVAL_SECONDS)
                self._order.added.clear()
                self._log_left_out()
                continue
            if not self._monitors.available:
                await self._pause(_AVAILABLE_AGAIN_SECONDS)
                continue
            try:
                # After a failure one by one: a release that cannot be repaired must not hold up the others.
                await self._repair(1 if failures else _RELEASES_MAX)
                failures = 0
            except (Unavailable, ConfigurationError):
                failures += 1
                self._monitors.database.suspect()  # its monitor finds and logs an outage
                self._monitors.broker.suspect()
                await self._pause(_BACKOFF.delay_seconds(failures=failures, chance=self._clock.chance()))

    async def _pause(self, seconds: float) -> None:
        await self._clock.wait(asyncio.Event(), timeout_seconds=seconds)

    async def _repair(self, releases_max: int) -> None:
        """Repair some releases. If that fails, they are to be repaired again, after the others.

        Raises:
            Unavailable, ConfigurationError: the database or the broker does not answer, or a release changed during
                every attempt.
        """
        releases = self._order.take(releases_max)
        self._being_repaired = len(releases)
        try:
            states = await self._publish(releases)
        except BaseException as error:
            self._put_back(releases, failed=isinstance(error, Unavailable | ConfigurationError))
            raise
        finally:
            self._being_repaired = 0
        for release_id in releases:
            self._failures.pop(release_id, None)
        self._metrics.count(STATES_REPAIRED, by=len(releases))
        # The level of the timed out drain or failed commit before it: subscribers may have read the earlier state.
        _log.warning(LogEvent.STATES_REPAIRED, releases=len(releases), states=states, left=self._order.to_repair)

    async def _publish(self, releases: Sequence[UUID]) -> int:
        """The number of states."""
        states = await publish_until_current(lambda: self._records(releases), self._publisher)
        if states is None:
            raise Unavailable("a state changed during every attempt to publish it")
        return states

    async def _records(self, releases: Sequence[UUID]) -> Mapping[str, Sequence[OutgoingRecord]]:
        found: dict[str, Sequence[OutgoingRecord]] = {}
        for rows in await self._stored.rows_of(releases):
            if not rows.settled:
                raise Unavailable("a release changed during every attempt to read it")
            try:
                states = states_of(rows)
            except (ValueError, KeyError, TypeError) as error:  # an edited row
                self._log_not_repaired(1, error, release_id=str(rows.release["id"]))
                continue
            found |= {key: [self._outgoing.state(event)] for key, event in states.items()}
        return found

    def _put_back(self, releases: Sequence[UUID], *, failed: bool) -> None:
        for release_id in releases:
            if failed and len(releases) == 1:
                self._failures[release_id] = self._failures.get(release_id, 0) + 1
            if self._failures.get(release_id, 0) < _ATTEMPTS_MAX:
                self._order.published_late(release_id)
            else:
                del self._failures[release_id]
                self._log_not_repaired(1, None, release_id=str(release_id))

    def _log_left_out(self) -> None:
        if left_out := self._order.take_left_out():
            self._log_not_repaired(left_out, None)

    def _log_not_repaired(self, releases: int, cause: Exception | None, *, release_id: str | None = None) -> None:
        _log.warning(
            LogEvent.STATES_NOT_REPAIRED,
            releases=releases,
            release_id=release_id,
            cause=None if cause is None else f"{type(cause).__name__}: {cause}",
            advice=ADVICE,
        )
