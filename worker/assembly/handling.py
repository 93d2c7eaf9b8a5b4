"""Constructs the handling of messages, as `run` and the operators' commands have it."""

import socket
from collections.abc import Awaitable, Callable
from functools import partial

from schemas.adapters.foreign import NoInterest
from schemas.event import Invalid
from schemas.reasons import Reason
from schemas.record import Record
from worker.assembly.kafka_clients import output_topics
from worker.mapping_file import LiveMapping
from worker.pipeline.backoff import Backoff
from worker.pipeline.batched_store import BatchedStore
from worker.pipeline.dependency_monitor import DependencyMonitor, DependencyMonitors
from worker.pipeline.outgoing import OutgoingRecords
from worker.pipeline.retry import RetryPolicy
from worker.pipeline.transaction import read, read_mapped
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


def live_mapping(settings: Settings) -> LiveMapping | None:
    """Raises ConfigurationError: the mapping file cannot be read."""
    return None if settings.mapping_file is None else LiveMapping(settings.mapping_file)


def record_reader(settings: Settings, mapping: LiveMapping | None) -> Callable[[Record], Message | NoInterest]:
    """Decodes a record as the worker does."""

    limits: dict[str, int] = {
        "event_bytes_max": settings.event_bytes_max,
        "event_ahead_max_seconds": settings.event_ahead_max_seconds,
    }

    def read_record(record: Record) -> Message | NoInterest:
        return read(record, **limits) if mapping is None else read_mapped(record, mapping.current, **limits)

    return read_record


def reader(settings: Settings) -> Callable[[Record], Message | None]:
    """Decodes a record as the worker does. None: it has no outcome, because its value is null or it is of no interest.

    Raises ConfigurationError: the mapping file cannot be read.
    """
    read_record = record_reader(settings, live_mapping(settings))

    def read_message(record: Record) -> Message | None:
        message = None if record.is_tombstone else read_record(record)
        return None if isinstance(message, NoInterest) else message

    return read_message


def dead_letter_reader(settings: Settings) -> Callable[[Record], Message]:
    """Decodes a rejected record. One that is of no interest by now would be skipped, so it stays invalid.

    Raises ConfigurationError: the mapping file cannot be read.
    """
    read_record = record_reader(settings, live_mapping(settings))

    def read_message(record: Record) -> Message:
        message = read_record(record)
        if isinstance(message, NoInterest):
            detail = f"the record is of no interest by now ({message.format}, {message.kind}): dismiss its dead letter"
            return Message(record=record, content=Invalid(reason=Reason.UNSUPPORTED_TYPE, detail=detail))
        return message

    return read_message


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
    database = DependencyMonitor(
        "database",
        probe_database,
        backoff=_probe_backoff(settings),
        patience_seconds=settings.database_timeout_seconds,
        clock=clock,
        metrics=metrics,
    )
    return DependencyMonitors(
        database=database, broker=broker_dependency(settings, producer, clock=clock, metrics=metrics)
    )


def broker_dependency(settings: Settings, producer: Publisher, *, clock: Clock, metrics: Metrics) -> DependencyMonitor:
    return DependencyMonitor(
        "broker",
        producer.ping,
        backoff=_probe_backoff(settings),
        patience_seconds=_BROKER_PATIENCE_SECONDS,
        interval_seconds=_BROKER_PROBE_SECONDS,
        clock=clock,
        metrics=metrics,
    )


def _probe_backoff(settings: Settings) -> Backoff:
    return Backoff(
        initial_seconds=min(_PROBE_INITIAL_SECONDS, settings.retry_max_seconds),
        max_seconds=min(_PROBE_MAX_SECONDS, settings.retry_max_seconds),
    )
