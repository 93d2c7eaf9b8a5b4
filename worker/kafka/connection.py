"""What every Kafka client of the worker is told: where the brokers are and how to be let in."""

import ssl
from dataclasses import dataclass
from typing import Any

from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    InconsistentGroupProtocolError,
    InvalidGroupIdError,
    InvalidSessionTimeoutError,
    InvalidTopicError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
    UnsupportedVersionError,
)
from aiokafka.helpers import create_ssl_context

from worker.domain.errors import Misconfigured, Unavailable

_OPERATORS_FAULT = (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    InconsistentGroupProtocolError,
    InvalidGroupIdError,
    InvalidSessionTimeoutError,
    InvalidTopicError,
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
        """Keyword arguments for any aiokafka client.

        Raises:
            Misconfigured: a certificate file cannot be read.
        """
        return {
            "bootstrap_servers": self.bootstrap_servers,
            "client_id": self.client_id,
            "security_protocol": self.security_protocol,
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.sasl_username,
            "sasl_plain_password": self.sasl_password,
            "ssl_context": self._ssl_context(),
            "request_timeout_ms": int(self.request_timeout_seconds * 1000),
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


def at_start(error: KafkaError, *, bootstrap_servers: str) -> Misconfigured | Unavailable:
    """What a client's failure to start calls for: other settings, or patience."""
    if isinstance(error, _OPERATORS_FAULT):
        return Misconfigured(f"Kafka at {bootstrap_servers} refuses the worker: {error}")
    return Unavailable(f"Kafka at {bootstrap_servers} does not answer: {error}")
