"""Forwards records to Kafka, until the brokers have acknowledged them, or as long as the client can wait.

The idempotent producer never gives a record up: one that is not acknowledged in time may still be written later. So its
request keeps its part of the budget, and a client that sends it again repeats an identity, which changes nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from worker.gateway.request_budget import RequestUsage
from worker.pipeline.backoff import Backoff
from worker.pipeline.dependency_monitor import DependencyMonitor
from worker.ports import Clock, OutgoingRecord
from worker.rules.errors import EXTERNAL, LeaseLost, RecordRefused
from worker.service.broker_monitor import BrokerMonitor
from worker.service.startup import await_dependency
from worker.telemetry import PUBLISHED, LogEvent, Metrics

ACKNOWLEDGEMENT_SECONDS: Final = 8.0
"""GitHub and GitLab close the connection after 10 seconds, and take the delivery for failed."""

_NOT_CONNECTED = "the gateway is not connected to Kafka"

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.gateway")


class Producer(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def produce(self, outgoing_record: OutgoingRecord) -> tuple[int, int]:
        """As `worker.kafka.publisher.KafkaPublisher.produce`."""
        ...


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """All in-sync replicas have all records."""


@dataclass(frozen=True, slots=True)
class NotAcknowledged:
    """Some records may be written, now or later."""

    cause: str


@dataclass(frozen=True, slots=True)
class RecordTooLarge:
    """The topic refuses a record, whatever the attempt."""

    cause: str


Forwarded = Acknowledged | NotAcknowledged | RecordTooLarge
Forwarding = Sequence[asyncio.Task[Forwarded]]


class Forwarder:
    """A service. Stop it after the HTTP server, whose requests need it. `facts`: the fields of `gateway.started`."""

    def __init__(
        self,
        producer: Producer,
        *,
        broker: DependencyMonitor,
        topics: BrokerMonitor,
        startup_timeout_seconds: float,
        facts: Mapping[str, object],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._producer = producer
        self._broker = broker
        self._topics = topics
        self._startup_timeout_seconds = startup_timeout_seconds
        self._facts = facts
        self._clock = clock
        self._metrics = metrics
        self._group: asyncio.TaskGroup | None = None
        self._producing: set[asyncio.Task[Forwarded]] = set()
        self._late: set[asyncio.Task[Forwarded]] = set()

    @property
    def problem(self) -> str | None:
        """Why nothing can be forwarded now; None: it can."""
        if self._group is None:
            return _NOT_CONNECTED
        if self._broker.in_outage:
            return "Kafka does not answer"
        return self._topics.problem

    @property
    def is_late(self) -> bool:
        """Whether Kafka still has to acknowledge records whose clients have stopped waiting."""
        return bool(self._late)

    def begin(self, records: Sequence[OutgoingRecord], usage: RequestUsage) -> Forwarding | NotAcknowledged:
        """Produce the records, those with one key in this order; wait for the result with `forwarded`."""
        group, problem = self._group, self.problem
        if group is None or problem is not None:
            return NotAcknowledged(problem or _NOT_CONNECTED)
        producing = []
        for record in records:
            usage.hold()
            task = group.create_task(self._produce(record), name="produce")
            self._producing.add(task)
            task.add_done_callback(lambda done: self._ended(done, usage))
            producing.append(task)
        return producing

    async def forwarded(self, producing: Forwarding) -> Forwarded:
        """Wait for the acknowledgements, as long as a client can wait."""
        if not producing:  # an empty batch
            return Acknowledged()
        _, late = await asyncio.wait(producing, timeout=ACKNOWLEDGEMENT_SECONDS)
        if late:
            self._late |= late
            self._broker.suspect()
            return NotAcknowledged(f"no acknowledgement within {ACKNOWLEDGEMENT_SECONDS:.0f} s")
        outcomes = [task.result() for task in producing]
        # What may succeed later comes first: the client sends all of them again.
        for kind in (NotAcknowledged, RecordTooLarge):
            for outcome in outcomes:
                if isinstance(outcome, kind):
                    return outcome
        return Acknowledged()

    async def run(self, stop: asyncio.Event) -> None:
        """Connect, and serve until `stop`.

        Raises:
            ConfigurationError: the broker refuses the gateway, or does not answer within the startup timeout.
        """
        async with AsyncExitStack() as closing:
            closing.push_async_callback(self._producer.stop)
            try:
                await self._await("broker", self._producer.start, stop)
                await self._await("topics", self._topics.check, stop)
            except LeaseLost:
                return
            async with asyncio.TaskGroup() as group:
                probing = group.create_task(self._broker.run(), name="probe broker")
                self._group = group
                _log.info(LogEvent.GATEWAY_STARTED, **self._facts)
                await stop.wait()
                self._group = None
                for task in (probing, *self._producing):  # what is left has been answered: not acknowledged
                    task.cancel()
        _log.info(LogEvent.WORKER_STOPPED)

    async def _produce(self, record: OutgoingRecord) -> Forwarded:
        try:
            await self._producer.produce(record)
        except RecordRefused as error:
            return RecordTooLarge(str(error))
        except EXTERNAL as error:
            self._broker.suspect()
            return NotAcknowledged(str(error))
        self._metrics.count(PUBLISHED, record.topic)
        return Acknowledged()

    def _ended(self, task: asyncio.Task[Forwarded], usage: RequestUsage) -> None:
        self._producing.discard(task)
        self._late.discard(task)
        usage.release()

    async def _await(self, name: str, attempt: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
        await await_dependency(
            name,
            attempt,
            stop=stop,
            timeout_seconds=self._startup_timeout_seconds,
            backoff=Backoff(initial_seconds=0.1, max_seconds=1.0),
            clock=self._clock,
        )
