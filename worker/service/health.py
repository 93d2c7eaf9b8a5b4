"""What the worker says of itself to an orchestrator."""

import asyncio

from worker.pipeline.breaker import Breaker
from worker.pipeline.consumer import Consumer
from worker.pipeline.dependency_monitor import DependencyMonitor, DependencyMonitors
from worker.ports import Clock, Membership
from worker.service.broker_monitor import BrokerMonitor

_STUCK_AFTER_SECONDS = 60.0
"""Longer than any single step of the loop may take: a commit, a poll, a wait for room."""

_ANSWER_TIMEOUT_SECONDS = 2.0

_UNASSIGNED = (
    "none assigned yet; the group may be waiting for a member that went without a word, "
    "for up to RUDDER_SESSION_TIMEOUT_SECONDS: a restart prolongs that"
)

_DROPPED = (
    "the group has dropped this member: no heartbeat for RUDDER_SESSION_TIMEOUT_SECONDS, or no poll for "
    "RUDDER_MAX_POLL_INTERVAL_SECONDS; it joins again by itself"
)


class WorkerHealth:
    """Liveness looks at the loop alone: restarting a worker brings no database back."""

    def __init__(
        self,
        *,
        monitors: DependencyMonitors,
        breaker: Breaker,
        consumer: Consumer,
        membership: Membership,
        clock: Clock,
        broker_monitor: BrokerMonitor | None = None,
    ) -> None:
        self._membership = membership
        self._monitors = monitors
        self._breaker = breaker
        self._consumer = consumer
        self._clock = clock
        self._broker_monitor = broker_monitor

    def alive(self) -> bool:
        beat_seconds = self._consumer.beat_seconds
        return beat_seconds is None or self._clock.monotonic_seconds() - beat_seconds < _STUCK_AFTER_SECONDS

    async def unready(self) -> dict[str, str]:
        database, broker = await asyncio.gather(_problem(self._monitors.database), _problem(self._monitors.broker))
        dropped = _DROPPED if self._membership.dropped else None
        topics = None
        if (broker_monitor := self._broker_monitor) is not None:
            topics, broker = broker_monitor.problem, broker or broker_monitor.refused
        # Without its topics no member is assigned anything, and no other member is to blame.
        unassigned = _UNASSIGNED if topics is None else None
        partitions = dropped if self._consumer.joined else unassigned
        tripped = self._breaker.tripped
        breaker = None if tripped is None else str(tripped)
        problems = {
            "database": database,
            "broker": broker,
            "topics": topics,
            "partitions": partitions,
            "breaker": breaker,
        }
        return {name: problem for name, problem in problems.items() if problem is not None}


async def _problem(monitor: DependencyMonitor) -> str | None:
    try:
        async with asyncio.timeout(_ANSWER_TIMEOUT_SECONDS):
            return await monitor.problem()
    except TimeoutError:
        return "does not answer in time"
