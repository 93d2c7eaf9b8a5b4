"""Constructs the handling of messages, as `run` and the operators' commands have it."""

import socket
from collections.abc import Awaitable, Callable
from functools import partial

from schemas.record import Record
from worker.assembly.kafka_clients import output_topics
from worker.pipeline.backoff import Backoff
from worker.pipeline.batched_store import BatchedStore
from worker.pipeline.dependency_monitor import DependencyMonitor, DependencyMonitors
from worker.pipeline.outgoing import OutgoingRecords
from worker.pipeline.retry import RetryPolicy
from worker.pipeline.transaction import read
from worker.ports import Clock, Decider, Publisher, Store
from worker.prediction import Prediction, Rows
from worker.rules.decide import decide
from worker.rules.message import Message
from worker.settings import Settings
from worker.sources_file import allowed_sources
from worker.telemetry import Metrics
from worker.version import __version__

_PROBE_INITIAL_SECONDS = 0.1
_PROBE_MAX_SECONDS = 1.0
"""Delays between two probes of an unavailable dependency."""

_BROKER_PATIENCE_SECONDS = 5.0

_BROKER_PROBE_SECONDS = 1.0
"""An idle worker has no request to the broker that could fail: polling brings nothing in an outage either."""


def decider(settings: Settings) -> Decider:
    """The rules, with the operator's allowed sources. Raises ConfigurationError if these cannot be read."""
    return partial(decide, sources=allowed_sources(settings.sources_file))


def batched(settings: Settings, database: Store) -> BatchedStore:
    """The store for messages. One of its connections is left for probes."""
    return BatchedStore(database, connections=max(1, settings.connections_max - 1))


def reader(settings: Settings) -> Callable[[Record], Message]:
    """Decodes a record as the worker does."""
    return partial(
        read, event_bytes_max=settings.event_bytes_max, event_ahead_max_seconds=settings.event_ahead_max_seconds
    )


def prediction(settings: Settings, rows: Rows) -> Prediction:
    """Raises ConfigurationError: the file of allowed sources cannot be read."""
    return Prediction(rows, decider(settings))


def outgoing_records(settings: Settings) -> OutgoingRecords:
    return OutgoingRecords(
        topics=output_topics(settings),
        content_mode=settings.content_mode,
        source=settings.event_source,
        worker=f"rudder-worker/{__version__} {socket.gethostname()}",
    )


def retry_policy(settings: Settings) -> RetryPolicy:
    return RetryPolicy(
        backoff=Backoff(initial_seconds=settings.retry_initial_seconds, max_seconds=settings.retry_max_seconds),
        attempts_max=settings.attempts_max,
    )


def monitors(
    settings: Settings,
    probe_database: Callable[[], Awaitable[None]],
    producer: Publisher,
    *,
    clock: Clock,
    metrics: Metrics,
) -> DependencyMonitors:
    backoff = Backoff(
        initial_seconds=min(_PROBE_INITIAL_SECONDS, settings.retry_max_seconds),
        max_seconds=min(_PROBE_MAX_SECONDS, settings.retry_max_seconds),
    )
    monitor = partial(DependencyMonitor, backoff=backoff, clock=clock, metrics=metrics)
    return DependencyMonitors(
        database=monitor("database", probe_database, patience_seconds=settings.database_timeout_seconds),
        broker=monitor(
            "broker",
            producer.ping,
            patience_seconds=_BROKER_PATIENCE_SECONDS,
            interval_seconds=_BROKER_PROBE_SECONDS,
        ),
    )
