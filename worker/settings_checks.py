"""Settings that contradict each other, or that a library would refuse later: found before anything starts."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from worker.environment_variables import PREFIX

if TYPE_CHECKING:
    from worker.settings import Settings

PORT_MAX = 65_535
_SURROGATE = re.compile("[\ud800-\udfff]")


def problems(settings: "Settings") -> Iterator[str]:
    """Each problem as one line, with the names of the environment variables."""
    yield from _text_problems(settings)
    yield from _kafka_problems(settings)
    yield from _topic_problems(settings)
    yield from _limit_problems(settings)
    yield from _process_problems(settings)


def _text_problems(settings: "Settings") -> Iterator[str]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
        if _SURROGATE.search(text):  # Python's representation of a byte that is not UTF-8
            yield f"{PREFIX}{name.upper()} is not UTF-8 text"
        elif isinstance(value, str | Path) and not text.isprintable():
            yield f"{PREFIX}{name.upper()} contains control characters"
    if " " in settings.event_source:
        yield "RUDDER_EVENT_SOURCE is not a URI-reference: it contains a blank"


def _kafka_problems(settings: "Settings") -> Iterator[str]:
    if settings.partition_assignment_strategy == "cooperative-sticky":
        yield (
            "RUDDER_PARTITION_ASSIGNMENT_STRATEGY=cooperative-sticky is not supported by aiokafka; "
            "use sticky or static membership (RUDDER_GROUP_INSTANCE_ID)"
        )
    sasl = settings.kafka_security_protocol.startswith("SASL_")
    if sasl and (settings.kafka_sasl_username is None or settings.kafka_sasl_password is None):
        yield (
            f"RUDDER_KAFKA_SECURITY_PROTOCOL={settings.kafka_security_protocol} requires RUDDER_KAFKA_SASL_USERNAME "
            "and RUDDER_KAFKA_SASL_PASSWORD"
        )
    if not sasl and (settings.kafka_sasl_username or settings.kafka_sasl_password):
        yield (
            "RUDDER_KAFKA_SASL_USERNAME or RUDDER_KAFKA_SASL_PASSWORD is set without SASL; "
            "set RUDDER_KAFKA_SECURITY_PROTOCOL to SASL_SSL or SASL_PLAINTEXT"
        )
    if settings.kafka_ssl_keyfile_password and settings.kafka_ssl_keyfile is None:
        yield "RUDDER_KAFKA_SSL_KEYFILE_PASSWORD is set without RUDDER_KAFKA_SSL_KEYFILE; set both"
    files = (settings.kafka_ssl_cafile, settings.kafka_ssl_certfile, settings.kafka_ssl_keyfile)
    if (any(files) or settings.kafka_ssl_keyfile_password) and not settings.kafka_security_protocol.endswith("SSL"):
        yield (
            "RUDDER_KAFKA_SSL_CAFILE, _CERTFILE, _KEYFILE or _KEYFILE_PASSWORD is set without TLS; "
            "set RUDDER_KAFKA_SECURITY_PROTOCOL to SSL or SASL_SSL"
        )
    if (settings.kafka_ssl_certfile is None) != (settings.kafka_ssl_keyfile is None):
        yield "RUDDER_KAFKA_SSL_CERTFILE and RUDDER_KAFKA_SSL_KEYFILE require each other; set both"


def _topic_problems(settings: "Settings") -> Iterator[str]:
    outputs = (settings.deployment_status_topic, settings.release_status_topic, settings.dead_letter_topic)
    states = settings.deployment_state_topic
    if states in {*outputs, *settings.input_topics}:
        yield (
            f"RUDDER_DEPLOYMENT_STATE_TOPIC is also another topic of the worker, {states}, which compaction would "
            "empty; use a topic of its own"
        )
    for topic in settings.input_topics:
        if topic in outputs:
            yield f"topic {topic} is both in RUDDER_INPUT_TOPICS and an output topic; use different topics"
    if settings.gateway_topic in outputs:
        yield f"topic {settings.gateway_topic} is both RUDDER_GATEWAY_TOPIC and an output topic; use an input topic"
    if len(set(settings.input_topics)) < len(settings.input_topics):
        yield "RUDDER_INPUT_TOPICS contains a topic twice"
    if settings.dead_letter_topic in outputs[:2]:
        yield "RUDDER_DEAD_LETTER_TOPIC is also a status topic; use a topic of its own"


def _limit_problems(settings: "Settings") -> Iterator[str]:
    if settings.retry_initial_seconds > settings.retry_max_seconds:
        yield "RUDDER_RETRY_INITIAL_SECONDS must not exceed RUDDER_RETRY_MAX_SECONDS"
    if settings.in_flight_records_max < settings.concurrency:
        yield "RUDDER_IN_FLIGHT_RECORDS_MAX must be at least RUDDER_CONCURRENCY"
    if settings.in_flight_bytes_max < settings.event_bytes_max:
        yield "RUDDER_IN_FLIGHT_BYTES_MAX must be at least RUDDER_EVENT_BYTES_MAX"
    if settings.session_timeout_seconds > settings.max_poll_interval_seconds:
        yield "RUDDER_SESSION_TIMEOUT_SECONDS must not exceed RUDDER_MAX_POLL_INTERVAL_SECONDS"
    if settings.drain_timeout_seconds >= settings.max_poll_interval_seconds:
        yield "RUDDER_DRAIN_TIMEOUT_SECONDS must be less than RUDDER_MAX_POLL_INTERVAL_SECONDS"


def _process_problems(settings: "Settings") -> Iterator[str]:
    processes = f"RUDDER_PROCESSES={settings.processes}"
    if settings.processes > 1 and settings.database_url.get_secret_value().startswith("sqlite"):
        yield (
            f"{processes} requires a database server, because a SQLite file serves one process; "
            "set RUDDER_DATABASE_URL to PostgreSQL or SQL Server"
        )
    if settings.http_port and settings.http_port + settings.processes - 1 > PORT_MAX:
        yield (
            f"{processes} requires a port for each process, from RUDDER_HTTP_PORT={settings.http_port} on, "
            f"but the highest port is {PORT_MAX}"
        )
