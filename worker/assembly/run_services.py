"""Constructs the services of `run`, connects them, and constructs the checks of `check-config --connect`."""

import platform
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from worker.assembly.databases import store
from worker.assembly.handling import (
    batched,
    decider,
    live_mapping,
    monitors,
    outgoing_records,
    reader,
    record_reader,
    retry_policy,
)
from worker.assembly.kafka_clients import (
    batch_bytes_max,
    kafka_connection,
    output_topics,
    publisher,
    topic_check,
    topic_reader,
)
from worker.db.database_url import masked
from worker.kafka.certificates import warn_of_expiry
from worker.kafka.connection import Connection
from worker.kafka.consumer_client import KafkaConsumerClient
from worker.kafka.topic_reader import KafkaTopicReader
from worker.pipeline.breaker import Breaker
from worker.pipeline.consumer import Bounds, Consumer
from worker.pipeline.delivery import Delivery
from worker.pipeline.resolution import ReleaseResolution
from worker.pipeline.state_order import StateOrder
from worker.ports import Tracer
from worker.rules.errors import ConfigurationError
from worker.service.behind_monitor import BehindMonitor
from worker.service.breaker_monitor import BreakerMonitor
from worker.service.broker_monitor import BrokerMonitor
from worker.service.clock import SystemClock
from worker.service.connection_check import Check
from worker.service.health import WorkerHealth
from worker.service.http import Server, application
from worker.service.lag import LagMonitor
from worker.service.no_tracing import NoTracing
from worker.service.state_monitor import StateMonitor
from worker.service.supervisor import Service
from worker.service.worker import Worker
from worker.settings import Settings
from worker.telemetry import BUILD_INFO, Metrics
from worker.version import __version__

if TYPE_CHECKING:
    from worker.service.tracing import OtelTracer

_POLL_TIMEOUT_SECONDS = 0.25
"""Longest wait of a poll for records, and so the longest delay of a stop."""

_SILENCE_SECONDS = 10.0
"""How long no record may come while the last committed ones are read."""

_COMMIT_TIMEOUT_SECONDS = 10.0
_MARGIN_SECONDS = 15.0
"""Part of the rebalance timeout, beside the drain and two commits: detecting the rebalance, and joining again."""


LAST_SERVICES = ("http",)
"""Services that stop after the others: metrics are served until the end of the drain."""


MAPPING_SERVICE = "mapping"


def services(settings: Settings) -> Mapping[str, Service]:
    """The services of `rudder-worker run`.

    Raises:
        ConfigurationError: the settings name a database or files that cannot be used.
    """
    clock, metrics = SystemClock(), Metrics()
    metrics.set(BUILD_INFO, 1, __version__, platform.python_version())
    connection = kafka_connection(settings)
    warn_of_expiry(connection, now=datetime.now(UTC))
    database, producer = store(settings), publisher(settings, connection)

    async def probe_database() -> None:
        await database.ping()
        await behind_monitor.compare()

    dependency_monitors = monitors(settings, probe_database, producer, clock=clock, metrics=metrics)
    breaker = Breaker(events=settings.breaker_events, rejected_share_max=settings.breaker_rejected_share_max)
    batched_store = batched(settings, database)
    mapping = live_mapping(settings)
    resolution = None
    if mapping is not None:
        resolution = ReleaseResolution(database, monitor=dependency_monitors.database, clock=clock)
    state_order = StateOrder() if settings.deployment_state_topic else None
    outgoing = outgoing_records(settings)
    delivery = Delivery(
        store=batched_store,
        publisher=producer,
        outgoing=outgoing,
        policy=retry_policy(settings),
        monitors=dependency_monitors,
        breaker=breaker,
        decider=decider(settings),
        tracer=_tracer(settings),
        clock=clock,
        metrics=metrics,
        state_order=state_order,
    )
    client = _consumer_client(settings, connection, metrics)
    consumer = Consumer(
        client=client,
        delivery=delivery,
        monitors=dependency_monitors,
        breaker=breaker,
        bounds=_bounds(settings),
        clock=clock,
        metrics=metrics,
        holds_assigned=True,
        batched_store=batched_store,
        resolution=resolution,
        reader=record_reader(settings, mapping),
        state_order=state_order,
    )
    behind_monitor = BehindMonitor(
        consumer,
        partial(
            KafkaTopicReader,
            connection,
            group_id=settings.group_id,
            silence_seconds=_SILENCE_SECONDS,
            batch_bytes_max=batch_bytes_max(settings),
        ),
        database.known_events(),
        reader(settings),
        rewinds=settings.database_behind == "rewind",
        known_records_min=settings.in_flight_records_max + settings.commit_lag_records_max,
        monitors=dependency_monitors,
        clock=clock,
        metrics=metrics,
    )
    breaker_monitor = BreakerMonitor(
        breaker,
        database.openings(),
        group_id=settings.group_id,
        worker=f"{settings.kafka_client_id} on {socket.gethostname()}",
        database=dependency_monitors.database,
        clock=clock,
    )

    state_monitor = None
    if state_order is not None:
        state_monitor = StateMonitor(
            state_order,
            outgoing=outgoing,
            publisher=producer,
            stored=database,
            monitors=dependency_monitors,
            clock=clock,
            metrics=metrics,
        )

    async def stop_producer() -> None:
        if state_monitor is not None:
            await state_monitor.flush()
        await producer.stop()

    async def check_database() -> None:
        await database.check()
        await breaker_monitor.check()

    async def start_producer() -> None:
        await producer.start()
        dependency_monitors.broker.connected()

    async def close_database() -> None:
        await breaker_monitor.flush()
        await database.close()

    broker_monitor = BrokerMonitor(topic_check(settings, producer), refusal=connection.lasting_refusal, clock=clock)
    health = WorkerHealth(
        monitors=dependency_monitors,
        breaker=breaker,
        consumer=consumer,
        membership=client,
        clock=clock,
        broker_monitor=broker_monitor,
        behind_monitor=behind_monitor,
    )
    worker = Worker(
        dependencies=(
            ("database", check_database, close_database),
            ("broker", start_producer, stop_producer),
            ("topics", broker_monitor.check, None),
        ),
        consumer=consumer,
        startup_timeout_seconds=settings.startup_timeout_seconds,
        facts=_facts(settings),
        clock=clock,
    )
    server = Server(application(health, metrics.registry), host=settings.http_host, port=settings.http_port)
    lag = LagMonitor(
        client, consumer=consumer, monitors=dependency_monitors, breaker=breaker, clock=clock, metrics=metrics
    )
    return {
        "worker": worker,
        "http": server,
        "broker": broker_monitor,
        "lag": lag,
        "breaker": breaker_monitor,
        "behind": behind_monitor,
        **({} if state_monitor is None else {"states": state_monitor}),
        **({} if mapping is None else {MAPPING_SERVICE: mapping}),
    }


def require_extras(settings: Settings) -> None:
    """Check that the packages are installed that only some settings require.

    Raises:
        ConfigurationError: a package is missing; the message names the extra.
    """
    from worker.db.engine import require_driver

    require_driver(settings.database_url.get_secret_value())
    if settings.tracing != "off":
        _otel_tracer()


def connection_checks(settings: Settings) -> Sequence[Check]:
    """The checks of `check-config --connect`. They write, create and join nothing.

    Raises:
        ConfigurationError: as `services`.
    """
    database, reader = store(settings), topic_reader(settings)
    connection = kafka_connection(settings)
    producer = publisher(settings, connection)
    topics = topic_check(settings, producer)

    async def look_at_database() -> Sequence[str]:
        await database.check()
        return await database.advice()

    async def look_at_broker() -> Sequence[str]:
        await producer.start()
        return ()

    async def look_at_topics() -> Sequence[str]:
        findings = await topics.check()
        if findings.problems:
            raise ConfigurationError("; ".join(findings.problems))
        return (*findings.advice, *await topics.check_privileges())

    async def look_at_group() -> Sequence[str]:
        await reader.start()
        await reader.committed(settings.input_topics)
        return await reader.check_privileges()

    return (
        Check(name="database", look=look_at_database, close=database.close),
        Check(name="broker", look=look_at_broker, close=producer.stop),
        Check(name="topics", look=look_at_topics, needs="broker"),
        Check(name="group", look=look_at_group, close=reader.stop, needs="broker"),
    )


def _consumer_client(settings: Settings, connection: Connection, metrics: Metrics) -> KafkaConsumerClient:
    return KafkaConsumerClient(
        connection,
        topics=settings.input_topics,
        group_id=settings.group_id,
        group_instance_id=settings.group_instance_id,
        assignor=settings.partition_assignment_strategy,
        session_timeout_seconds=settings.session_timeout_seconds,
        max_poll_interval_seconds=settings.max_poll_interval_seconds,
        rebalance_timeout_seconds=settings.drain_timeout_seconds + 2 * _COMMIT_TIMEOUT_SECONDS + _MARGIN_SECONDS,
        commit_timeout_seconds=_COMMIT_TIMEOUT_SECONDS,
        metadata_max_age_seconds=settings.kafka_metadata_max_age_seconds,
        batch_bytes_max=batch_bytes_max(settings),
        metrics=metrics,
    )


def _facts(settings: Settings) -> Mapping[str, object]:
    """The fields of `worker.started`; no secrets."""
    topics = output_topics(settings)
    return {
        "version": __version__,
        "group": settings.group_id,
        "client_id": settings.kafka_client_id,
        "input_topics": list(settings.input_topics),
        "output_topics": list(topics.by_setting.values()),
        "brokers": settings.kafka_bootstrap_servers,
        "database": masked(settings.database_url.get_secret_value()),
    }


def _bounds(settings: Settings) -> Bounds:
    return Bounds(
        concurrency=settings.concurrency,
        in_flight_records_max=settings.in_flight_records_max,
        in_flight_bytes_max=settings.in_flight_bytes_max,
        event_bytes_max=settings.event_bytes_max,
        event_ahead_max_seconds=settings.event_ahead_max_seconds,
        commit_interval_seconds=settings.commit_interval_seconds,
        poll_timeout_seconds=_POLL_TIMEOUT_SECONDS,
        drain_timeout_seconds=settings.drain_timeout_seconds,
        commit_lag_records_max=settings.commit_lag_records_max,
        keep_alive_seconds=min(5.0, settings.max_poll_interval_seconds / 3),
    )


def _tracer(settings: Settings) -> Tracer:
    return NoTracing() if settings.tracing == "off" else _otel_tracer().to_collector()


def _otel_tracer() -> "type[OtelTracer]":
    try:
        from worker.service.tracing import OtelTracer
    except ImportError as error:
        raise ConfigurationError(
            "RUDDER_TRACING=otlp requires a package that is not installed; run pip install 'rudder-worker[otel]'"
        ) from error
    return OtelTracer
