"""What every Kafka client of the worker is told: where the brokers are and how to be let in."""

import asyncio
import ssl
from dataclasses import dataclass
from typing import Any

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    InconsistentGroupProtocolError,
    InvalidGroupIdError,
    InvalidSessionTimeoutError,
    InvalidTopicError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
    UnsupportedVersionError,
)
from aiokafka.helpers import create_ssl_context

from worker.domain.errors import Misconfigured, Unavailable
from worker.kafka import topic_creation

_LOOK_SECONDS = 5.0
"""How long a server is asked why it does not let a client in."""

_RETRY_BACKOFF_MS = 300
"""aiokafka's waits do not grow, and it tries for producer, fetcher and group each: at its own 100 ms a worker without a
broker tries to connect 36 times a second. Three times as long is still soon enough when the broker is back."""

_OPERATORS_FAULT = (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    InconsistentGroupProtocolError,
    InvalidGroupIdError,
    InvalidSessionTimeoutError,
    InvalidTopicError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
    UnsupportedVersionError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Plain values, as the settings have them; files are PEM."""

    bootstrap_servers: str
    client_id: str
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "PLAIN"
    sasl_username: str | None = None
    sasl_password: str | None = None
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_keyfile_password: str | None = None
    request_timeout_seconds: float = 40.0

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments for any aiokafka client; none that has them creates topics.

        Raises:
            Misconfigured: a certificate file cannot be read.
        """
        topic_creation.forbid()
        return {
            "bootstrap_servers": self.bootstrap_servers,
            "client_id": self.client_id,
            "security_protocol": self.security_protocol,
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.sasl_username,
            "sasl_plain_password": self.sasl_password,
            "ssl_context": self._ssl_context(),
            "request_timeout_ms": int(self.request_timeout_seconds * 1000),
            "retry_backoff_ms": _RETRY_BACKOFF_MS,
        }

    def _ssl_context(self) -> ssl.SSLContext | None:
        if self.security_protocol not in {"SSL", "SASL_SSL"}:
            return None
        try:
            context: ssl.SSLContext = create_ssl_context(
                cafile=self.ssl_cafile,
                certfile=self.ssl_certfile,
                keyfile=self.ssl_keyfile,
                password=self.ssl_keyfile_password,
            )
        except (OSError, ssl.SSLError) as error:
            given = ", ".join(file for file in (self.ssl_cafile, self.ssl_certfile, self.ssl_keyfile) if file)
            raise Misconfigured(f"the RUDDER_KAFKA_SSL_… files cannot be used ({given}): {error}") from error
        return context


async def at_start(error: KafkaError, connection: Connection) -> Misconfigured | Unavailable:
    """What a client's failure to start calls for: other settings, or patience."""
    bootstrap_servers = connection.bootstrap_servers
    if isinstance(error, KafkaConnectionError) and connection.security_protocol != "PLAINTEXT":
        # A client that every server turns away says only that it found none: a wrong password would be waited out.
        found = await _reason(connection)
        if isinstance(found, KafkaError):
            error = found
        elif isinstance(found, ssl.SSLError):
            return Unavailable(f"Kafka at {bootstrap_servers} cannot be spoken to over TLS: {found}")
    if isinstance(error, _OPERATORS_FAULT):
        return Misconfigured(f"Kafka at {bootstrap_servers} refuses the worker: {error}")
    return Unavailable(f"Kafka at {bootstrap_servers} does not answer: {error}")


async def _reason(connection: Connection) -> Exception | None:
    """Why the first server that answers does not let this client in; None where none answers, or one lets it in."""
    arguments = connection.arguments()
    del arguments["retry_backoff_ms"]  # a single connection is not tried again
    for host, port, _ in collect_hosts(arguments.pop("bootstrap_servers")):
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                connected = await create_conn(host, port, **arguments)
        except KafkaConnectionError:
            continue
        except (KafkaError, ssl.SSLError) as error:
            return error
        except (OSError, TimeoutError):
            continue
        connected.close()
        return None
    return None
