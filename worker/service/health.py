"""Liveness and readiness of the worker, for an orchestrator."""

import asyncio

from worker.pipeline.breaker import Breaker
from worker.pipeline.consumer import Consumer
from worker.pipeline.dependency_monitor import DependencyMonitor, DependencyMonitors
from worker.ports import Clock, Membership
from worker.service.behind_monitor import BehindMonitor
from worker.service.broker_monitor import BrokerMonitor

_STUCK_AFTER_SECONDS = 60.0
"""Longer than any step of the loop: a commit, a poll, a wait for the in-flight budget."""

_ANSWER_TIMEOUT_SECONDS = 2.0

_UNASSIGNED = (
    "none assigned yet; the group may be waiting up to RUDDER_SESSION_TIMEOUT_SECONDS for a member that ended without "
    "leaving it; do not restart, which prolongs the wait"
)

_DROPPED = (
    "the group has removed this member: no heartbeat for RUDDER_SESSION_TIMEOUT_SECONDS, or no poll for "
    "RUDDER_MAX_POLL_INTERVAL_SECONDS; it joins again automatically"
)


class WorkerHealth:
    """Liveness depends on the loop alone: a restart does not end an outage of the database."""

    def __init__(
        self,
        *,
        monitors: DependencyMonitors,
        breaker: Breaker,
        consumer: Consumer,
        membership: Membership,
        clock: Clock,
        broker_monitor: BrokerMonitor | None = None,
        behind_monitor: BehindMonitor | None = None,
    ) -> None:
        self._membership = membership
        self._monitors = monitors
        self._breaker = breaker
        self._consumer = consumer
        self._clock = clock
        self._broker_monitor = broker_monitor
        self._behind_monitor = behind_monitor

    def alive(self) -> bool:
        beat_seconds = self._consumer.beat_seconds
        return beat_seconds is None or self._clock.monotonic_seconds() - beat_seconds < _STUCK_AFTER_SECONDS

    async def unready(self) -> dict[str, str]:
        database, broker = await asyncio.gather(_problem(self._monitors.database), _problem(self._monitors.broker))
        dropped = _DROPPED if self._membership.dropped else None
        topics = None
        if (broker_monitor := self._broker_monitor) is not None:
            topics, broker = broker_monitor.problem, broker or broker_monitor.refused
        # Without the topics nothing is assigned; the cause is not another member.
        unassigned = _UNASSIGNED if topics is None else None
        partitions = dropped if self._consumer.joined else unassigned
        problems = {
            "database": database,
            "broker": broker,
            "topics": topics,
            "partitions": partitions,
            "breaker": self._breaker.cause,
            "database_behind": None if self._behind_monitor is None else self._behind_monitor.problem,
        }
        return {name: problem for name, problem in problems.items() if problem is not None}


async def _problem(monitor: DependencyMonitor) -> str | None:
    try:
        async with asyncio.timeout(_ANSWER_TIMEOUT_SECONDS):
            return await monitor.problem()
    except TimeoutError:
        return "does not answer in time"
