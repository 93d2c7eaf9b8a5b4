"""Constructs all parts and connects them. Nothing here waits or decides."""

import platform
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from schemas.record import Record
from worker.db.action_log import SqlActionLog
from worker.db.engine import masked, require_driver
from worker.db.operators_database import OperatorsDatabase
from worker.db.store import SqlStore
from worker.db.table_reader import SqlTableReader
from worker.dead_letters.originals import Decode, Originals
from worker.dead_letters.planning import Planning
from worker.dead_letters.redrive import Edges
from worker.dead_letters.workers import GroupWorkers
from worker.environment_variables import read_secret, secret_file
from worker.kafka.certificates import warn_of_expiry
from worker.kafka.connection import Connection, Secret
from worker.kafka.consumer_client import KafkaConsumerClient
from worker.kafka.publisher import KafkaPublisher
from worker.kafka.record_batches import BATCH_BYTES_MAX
from worker.kafka.topic_check import KafkaTopicCheck
from worker.kafka.topic_reader import KafkaTopicReader
from worker.pipeline.backoff import Backoff
from worker.pipeline.breaker import Breaker
from worker.pipeline.consumer import Bounds, Consumer
from worker.pipeline.delivery import Delivery
from worker.pipeline.dependency_monitor import DependencyMonitor, DependencyMonitors
from worker.pipeline.outgoing import OutgoingRecords, Topics
from worker.pipeline.publish import PublishStep
from worker.pipeline.retry import Retries, RetryPolicy
from worker.pipeline.transaction import read
from worker.ports import Clock, Decider, Publisher, Store, Tracer
from worker.prediction import Prediction, Rows
from worker.replay.execution import CountingPublisher, Handling, NoRecords
from worker.rules.decide import decide
from worker.rules.errors import ConfigurationError
from worker.rules.message import Message
from worker.service.behind_monitor import BehindMonitor
from worker.service.breaker_monitor import BreakerMonitor
from worker.service.broker_monitor import BrokerMonitor
from worker.service.clock import SystemClock
from worker.service.connection_check import Check
from worker.service.health import WorkerHealth
from worker.service.http import Server, application
from worker.service.lag import LagMonitor
from worker.service.no_tracing import NoTracing
from worker.service.supervisor import Service
from worker.service.worker import Worker
from worker.settings import Settings
from worker.sources_file import allowed_sources
from worker.telemetry import BUILD_INFO, Metrics
from worker.verify.verification import Plan
from worker.version import __version__

if TYPE_CHECKING:
    from worker.service.tracing import OtelTracer

_POLL_TIMEOUT_SECONDS = 0.25
"""Longest wait of a poll for records, and so the longest delay of a stop."""

_PROBE_INITIAL_SECONDS = 0.1
_PROBE_MAX_SECONDS = 1.0
"""Delays between two probes of an unavailable dependency."""

_BROKER_PATIENCE_SECONDS = 5.0

_BROKER_PROBE_SECONDS = 1.0
"""An idle worker has no request to the broker that could fail: polling brings nothing in an outage either."""

_SILENCE_SECONDS = 10.0
"""How long no record may come while the last committed ones are read."""

_COMMIT_TIMEOUT_SECONDS = 10.0
_MARGIN_SECONDS = 15.0
"""Part of the rebalance timeout, beside the drain and two commits: detecting the rebalance, and joining again."""


def kafka_connection(settings: Settings) -> Connection:
    return Connection(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        client_id=settings.kafka_client_id,
        security_protocol=settings.kafka_security_protocol,
        sasl_mechanism=settings.kafka_sasl_mechanism,
        sasl_username=settings.kafka_sasl_username,
        sasl_password=_secret("kafka_sasl_password", settings.kafka_sasl_password),
        ssl_cafile=_text(settings.kafka_ssl_cafile),
        ssl_certfile=_text(settings.kafka_ssl_certfile),
        ssl_keyfile=_text(settings.kafka_ssl_keyfile),
        ssl_keyfile_password=_secret("kafka_ssl_keyfile_password", settings.kafka_ssl_keyfile_password),
        request_timeout_seconds=settings.kafka_request_timeout_seconds,
    )


def publisher(settings: Settings, connection: Connection | None = None) -> KafkaPublisher:
    return KafkaPublisher(connection or kafka_connection(settings), linger_seconds=settings.kafka_linger_seconds)


def topic_check(settings: Settings, producer: Publisher) -> KafkaTopicCheck:
    """Call `check` after the producer has started."""
    return KafkaTopicCheck(
        producer,
        inputs=settings.input_topics,
        outputs={
            "RUDDER_DEPLOYMENT_STATUS_TOPIC": settings.deployment_status_topic,
            "RUDDER_RELEASE_STATUS_TOPIC": settings.release_status_topic,
            "RUDDER_DEAD_LETTER_TOPIC": settings.dead_letter_topic,
        },
        dead_letters=settings.dead_letter_topic,
    )


def store(settings: Settings) -> SqlStore:
    """Raises ConfigurationError as `SqlStore.open`."""
    return SqlStore.open(
        settings.database_url.get_secret_value(),
        connections_max=settings.connections_max,
        timeout_seconds=settings.database_timeout_seconds,
    )


def output_topics(settings: Settings) -> Topics:
    return Topics(
        deployment_status=settings.deployment_status_topic,
        release_status=settings.release_status_topic,
        dead_letters=settings.dead_letter_topic,
    )


def topic_reader(settings: Settings) -> KafkaTopicReader:
    return KafkaTopicReader(
        kafka_connection(settings), group_id=settings.group_id, batch_bytes_max=_batch_bytes_max(settings)
    )


def table_reader(settings: Settings) -> SqlTableReader:
    """Raises ConfigurationError as `SqlTableReader.open`."""
    return SqlTableReader.open(
        settings.database_url.get_secret_value(), timeout_seconds=settings.database_timeout_seconds
    )


def verification_plan(settings: Settings, *, findings_max: int, scratch_folder: Path | None) -> Plan:
    return Plan(
        input_topics=settings.input_topics,
        topics=output_topics(settings),
        source=settings.event_source,
        event_bytes_max=settings.event_bytes_max,
        event_ahead_max_seconds=settings.event_ahead_max_seconds,
        findings_max=findings_max,
        scratch_folder=scratch_folder,
    )


def action_log(settings: Settings) -> SqlActionLog:
    """Raises ConfigurationError as `SqlActionLog.open`."""
    return SqlActionLog.open(
        settings.database_url.get_secret_value(), timeout_seconds=settings.database_timeout_seconds
    )


def decider(settings: Settings) -> Decider:
    """The rules, with the operator's allowed sources. Raises ConfigurationError if these cannot be read."""
    return partial(decide, sources=allowed_sources(settings.sources_file))


def reader(settings: Settings) -> Callable[[Record], Message]:
    """Decodes a record as the worker does."""
    return partial(
        read, event_bytes_max=settings.event_bytes_max, event_ahead_max_seconds=settings.event_ahead_max_seconds
    )


def replay_handling(
    settings: Settings, database: Store, producer: Publisher | None, *, publish_to: str | None = None
) -> Handling:
    """The handling of a replay. `producer`: None publishes nothing. `publish_to`: the topic of all records."""
    clock, metrics, policy, tracer = SystemClock(), Metrics(), _retry_policy(settings), NoTracing()
    counted = CountingPublisher(producer)
    outgoing = _outgoing(settings)
    if publish_to is not None:
        topics = Topics(deployment_status=publish_to, release_status=publish_to, dead_letters=publish_to)
        outgoing = replace(outgoing, topics=topics)
    if producer is None:
        outgoing = NoRecords(
            topics=outgoing.topics, content_mode=outgoing.content_mode, source=outgoing.source, worker=outgoing.worker
        )
    monitors = _monitors(settings, database.ping, counted, clock=clock, metrics=metrics)
    return Handling(
        read=reader(settings),
        delivery=Delivery(
            store=database,
            publisher=counted,
            outgoing=outgoing,
            policy=policy,
            monitors=monitors,
            breaker=Breaker(events=0, rejected_share_max=0.0),
            decider=decider(settings),
            tracer=tracer,
            clock=clock,
            metrics=metrics,
        ),
        publish_step=PublishStep(
            publisher=counted,
            outgoing=outgoing,
            retries=Retries(policy, clock=clock, metrics=metrics),
            monitor=monitors.broker,
            attempts_max=policy.attempts_max,
            tracer=tracer,
        ),
        publisher=counted,
        monitors=monitors,
        concurrency=settings.concurrency,
    )


LAST_SERVICES = ("http",)
"""Services that stop after the others: metrics are served until the end of the drain."""


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

    monitors = _monitors(settings, probe_database, producer, clock=clock, metrics=metrics)
    breaker = Breaker(events=settings.breaker_events, rejected_share_max=settings.breaker_rejected_share_max)
    delivery = Delivery(
        store=database,
        publisher=producer,
        outgoing=_outgoing(settings),
        policy=_retry_policy(settings),
        monitors=monitors,
        breaker=breaker,
        decider=decider(settings),
        tracer=_tracer(settings),
        clock=clock,
        metrics=metrics,
    )
    client = _consumer_client(settings, connection, metrics)
    consumer = Consumer(
        client=client,
        delivery=delivery,
        monitors=monitors,
        breaker=breaker,
        bounds=_bounds(settings),
        clock=clock,
        metrics=metrics,
        holds_assigned=True,
    )
    behind_monitor = BehindMonitor(
        consumer,
        partial(
            KafkaTopicReader,
            connection,
            group_id=settings.group_id,
            silence_seconds=_SILENCE_SECONDS,
            batch_bytes_max=_batch_bytes_max(settings),
        ),
        database.known_events(),
        reader(settings),
        rewinds=settings.database_behind == "rewind",
        known_records_min=settings.in_flight_records_max + settings.commit_lag_records_max,
        monitors=monitors,
        clock=clock,
        metrics=metrics,
    )
    breaker_monitor = BreakerMonitor(
        breaker,
        database.openings(),
        group_id=settings.group_id,
        worker=f"{settings.kafka_client_id} on {socket.gethostname()}",
        database=monitors.database,
        clock=clock,
    )

    async def check_database() -> None:
        await database.check()
        await breaker_monitor.check()

    async def close_database() -> None:
        await breaker_monitor.flush()
        await database.close()

    broker_monitor = BrokerMonitor(topic_check(settings, producer), refusal=connection.lasting_refusal, clock=clock)
    health = WorkerHealth(
        monitors=monitors,
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
            ("broker", producer.start, producer.stop),
            ("topics", broker_monitor.check, None),
        ),
        consumer=consumer,
        startup_timeout_seconds=settings.startup_timeout_seconds,
        facts=_facts(settings),
        clock=clock,
    )
    server = Server(application(health, metrics.registry), host=settings.http_host, port=settings.http_port)
    lag = LagMonitor(client, consumer=consumer, monitors=monitors, breaker=breaker, clock=clock, metrics=metrics)
    return {
        "worker": worker,
        "http": server,
        "broker": broker_monitor,
        "lag": lag,
        "breaker": breaker_monitor,
        "behind": behind_monitor,
    }


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
        batch_bytes_max=_batch_bytes_max(settings),
        metrics=metrics,
    )


def _outgoing(settings: Settings) -> OutgoingRecords:
    return OutgoingRecords(
        topics=output_topics(settings),
        content_mode=settings.content_mode,
        source=settings.event_source,
        worker=f"rudder-worker/{__version__} {socket.gethostname()}",
    )


def _retry_policy(settings: Settings) -> RetryPolicy:
    return RetryPolicy(
        backoff=Backoff(initial_seconds=settings.retry_initial_seconds, max_seconds=settings.retry_max_seconds),
        attempts_max=settings.attempts_max,
    )


def _facts(settings: Settings) -> Mapping[str, object]:
    """The fields of `worker.started`; no secrets."""
    topics = output_topics(settings)
    return {
        "version": __version__,
        "group": settings.group_id,
        "client_id": settings.kafka_client_id,
        "input_topics": list(settings.input_topics),
        "output_topics": [topics.deployment_status, topics.release_status, topics.dead_letters],
        "brokers": settings.kafka_bootstrap_servers,
        "database": masked(settings.database_url.get_secret_value()),
    }


def _monitors(
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


def require_extras(settings: Settings) -> None:
    """Check that the packages are installed that only some settings require.

    Raises:
        ConfigurationError: a package is missing; the message names the extra.
    """
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


def _batch_bytes_max(settings: Settings) -> int:
    """The largest decompressed batch: `run` and `verify` must treat the same records as unreadable."""
    return max(BATCH_BYTES_MAX, 2 * settings.event_bytes_max)


def _secret(name: str, value: SecretStr | None) -> Secret:
    """The secret; for a secret file a function that reads it, since the file may change while the worker runs."""
    path = secret_file(name)
    if value is None or path is None:
        return value.get_secret_value() if value is not None else None

    def read() -> str:
        try:
            return read_secret(path)
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"RUDDER_{name.upper()}_FILE cannot be read: {error}") from error

    return read


def _text(path: object | None) -> str | None:
    return None if path is None else str(path)


def prediction(settings: Settings, rows: Rows) -> Prediction:
    """Raises ConfigurationError: the file of allowed sources cannot be read."""
    return Prediction(rows, decider(settings))


def operators_database(settings: Settings) -> OperatorsDatabase:
    """Raises ConfigurationError as `OperatorsDatabase.open`."""
    return OperatorsDatabase.open(
        settings.database_url.get_secret_value(), timeout_seconds=settings.database_timeout_seconds
    )


def originals(settings: Settings, reader: KafkaTopicReader) -> Originals:
    """Of rejected records."""
    return Originals(reader, decoding(settings), dead_letter_topic=settings.dead_letter_topic)


def decoding(settings: Settings) -> Decode:
    """Decodes records as the worker does."""
    return partial(
        read,
        event_bytes_max=settings.event_bytes_max,
        event_ahead_max_seconds=settings.event_ahead_max_seconds,
    )


def redrive_planning(settings: Settings, database: OperatorsDatabase, reader: KafkaTopicReader) -> Planning:
    decider = partial(decide, sources=allowed_sources(settings.sources_file))
    return Planning(
        originals=originals(settings, reader),
        reader=reader,
        decode=decoding(settings),
        prediction=Prediction(database.tables, decider),
    )


def redrive_edges(
    settings: Settings, database: OperatorsDatabase, reader: KafkaTopicReader, producer: KafkaPublisher
) -> Edges:
    """What `dead-letters redrive --execute` works with."""
    return Edges(
        journal=database.redrives,
        topics=reader,
        originals=originals(settings, reader),
        producer=producer,
        decisions=database.tables,
        workers=GroupWorkers(reader, database.openings, group_id=settings.group_id, topics=settings.input_topics),
        decode=decoding(settings),
        clock=SystemClock(),
    )
