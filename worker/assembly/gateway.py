"""Constructs the services of `gateway` and connects them."""

import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Final

from worker.assembly.handling import broker_dependency
from worker.assembly.kafka_clients import kafka_connection, publisher
from worker.gateway.application import application
from worker.gateway.client_connections import KEEP_ALIVE_SECONDS, ClientConnections
from worker.gateway.examination import EventLimits
from worker.gateway.forwarder import Forwarder
from worker.gateway.gateway_health import GatewayHealth
from worker.gateway.keys import LiveKeys
from worker.gateway.receiving import Receiver
from worker.gateway.request_budget import RequestBudget
from worker.kafka.certificates import warn_of_expiry
from worker.kafka.topic_check import KafkaTopicCheck
from worker.keys_file import gateway_keys
from worker.service import http
from worker.service.broker_monitor import BrokerMonitor
from worker.service.clock import SystemClock
from worker.service.supervisor import Service
from worker.settings import Settings
from worker.sources_file import allowed_sources
from worker.telemetry import BUILD_INFO, Metrics
from worker.version import __version__

LAST_SERVICES: Final = ("forwarder", "http")
"""Services that stop after the others: requests in progress need the producer, and metrics are served until the end."""

KEYS_SERVICE: Final = "keys"
"""The service that reads the keys again, a `LiveKeys`."""

GRACE_SECONDS: Final = 12
"""For requests in progress at the stop; longer than Kafka's acknowledgement may take."""

_SPARE_CONNECTIONS: Final = 64
"""More connections than requests with a complete body, so that there is one for an answer of 429."""


def services(settings: Settings) -> Mapping[str, Service]:
    """The services of `rudder-worker gateway`.

    Raises:
        ConfigurationError: the settings name files that cannot be used, or no file with keys.
    """
    clock, metrics = SystemClock(), Metrics()
    metrics.set(BUILD_INFO, 1, __version__, platform.python_version())
    keys = LiveKeys(partial(gateway_keys, settings.gateway_keys_file))
    topic = settings.gateway_topic or settings.input_topics[0]
    connection = kafka_connection(settings)
    warn_of_expiry(connection, now=datetime.now(UTC))
    producer = publisher(settings, connection)
    broker = broker_dependency(settings, producer, clock=clock, metrics=metrics)
    topics = BrokerMonitor(
        KafkaTopicCheck(producer, inputs=(), outputs={"RUDDER_GATEWAY_TOPIC": topic}, dead_letters=""),
        refusal=connection.lasting_refusal,
        clock=clock,
    )
    forwarder = Forwarder(
        producer,
        broker=broker,
        topics=topics,
        startup_timeout_seconds=settings.startup_timeout_seconds,
        facts={
            "version": __version__,
            "topic": topic,
            "brokers": settings.kafka_bootstrap_servers,
            "webhooks": list(keys.current.sources),
        },
        clock=clock,
        metrics=metrics,
    )
    receiver = Receiver(
        topic=topic,
        keys=keys,
        limits=EventLimits(
            bytes_max=settings.event_bytes_max,
            ahead_seconds_max=settings.event_ahead_max_seconds,
            sources=allowed_sources(settings.sources_file),
        ),
        budget=RequestBudget(
            records_max=settings.in_flight_records_max, bytes_max=settings.in_flight_bytes_max, metrics=metrics
        ),
        forwarder=forwarder,
        clock=clock,
    )
    connections = ClientConnections(
        connections_max=settings.in_flight_records_max + _SPARE_CONNECTIONS, metrics=metrics
    )
    public = http.Server(
        application(receiver, event_bytes_max=settings.event_bytes_max, clock=clock, metrics=metrics),
        host=settings.gateway_host,
        port=settings.gateway_port,
        serves="/events, /webhooks, /openapi.json",
        protocol=connections.protocol(),
        grace_seconds=GRACE_SECONDS,
        keep_alive_seconds=KEEP_ALIVE_SECONDS,
    )
    health = GatewayHealth(forwarder=forwarder, broker=broker, topics=topics)
    private = http.Server(http.application(health, metrics.registry), host=settings.http_host, port=settings.http_port)
    return {"gateway": public, KEYS_SERVICE: keys, "http": private, "broker": topics, "forwarder": forwarder}
