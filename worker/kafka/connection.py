"""What every Kafka client of the worker needs: the addresses of the brokers, and credentials."""

import codecs
import os
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
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
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
    UnsupportedVersionError,
)
from aiokafka.helpers import create_ssl_context

from worker.kafka import aiokafka_workarounds
from worker.kafka.refusals import RIGHT_ERRORS, Refusals, is_login_refused, tls_fault
from worker.rules.errors import ConfigurationError, Unavailable

_RETRY_BACKOFF_MS = 300
"""aiokafka's waits do not grow, and producer, fetcher and group connect separately. At its own 100 ms a worker without
a broker attempts 36 connections a second. Three times as long is still soon enough when the broker is back."""

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


Secret = str | Callable[[], str] | None


class _Read:
    """What a connection's files held when they were read last, and how the last login ended."""

    ssl_context: ssl.SSLContext | None = None
    versions: tuple[object, ...] = ()
    login_error: BaseException | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Values as the settings have them; files are PEM. A secret is a text, or a function that reads it anew for each
    connection; it raises OSError or ValueError.
    """

    bootstrap_servers: str
    client_id: str
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "PLAIN"
    sasl_username: str | None = None
    sasl_password: Secret = None
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    ssl_keyfile_password: Secret = None
    request_timeout_seconds: float = 40.0
    logins: Refusals = field(default_factory=Refusals, compare=False, repr=False)
    privileges: Refusals = field(default_factory=Refusals, compare=False, repr=False)
    _read: _Read = field(default_factory=_Read, compare=False, repr=False)

    def arguments(self) -> dict[str, Any]:
        """Keyword arguments for any aiokafka client; none that has them creates topics.

        Raises:
            ConfigurationError: a certificate file or a secret cannot be read.
        """
        aiokafka_workarounds.install()
        self._read.login_error = self._read.failure = None
        try:
            current = self.current()
        except (OSError, ValueError) as error:
            raise ConfigurationError(str(error)) from error
        return {
            "bootstrap_servers": self.bootstrap_servers,
            "client_id": self.client_id,
            "security_protocol": self.security_protocol,
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.sasl_username,
            "sasl_plain_password": current["sasl_plain_password"],
            "ssl_context": self,
            "request_timeout_ms": int(self.request_timeout_seconds * 1000),
            "retry_backoff_ms": _RETRY_BACKOFF_MS,
        }

    def current(self) -> dict[str, Any]:
        """As `worker.kafka.aiokafka_workarounds.Credentials` says."""
        return {"ssl_context": self._ssl_context(), "sasl_plain_password": _text(self.sasl_password)}

    def refused(self, error: BaseException) -> None:
        self._read.login_error = error
        self.logins.add(self.refusal(error))

    def failed(self, server: str, error: Exception) -> None:
        """No connection to this `host:port`."""
        cause = str(error) or type(error).__name__
        if not isinstance(error, ConnectionRefusedError | TimeoutError | socket.gaierror):
            cause = f"{cause}: does the port expect RUDDER_KAFKA_SECURITY_PROTOCOL={self.security_protocol}?"
        self._read.failure = f"{server}: {cause}"

    def accepted(self) -> None:
        self._read.login_error = self._read.failure = None
        self.logins.end()

    @property
    def login_error(self) -> BaseException | None:
        """Why the last connection was refused; None: it was not."""
        return self._read.login_error

    @property
    def failure(self) -> str | None:
        """Why the last connection could not be made, with its server; None: it could."""
        return self._read.failure

    def refused_cause(self) -> str | None:
        """Why brokers refuse the worker now, in one line that names the settings; None: they do not."""
        return self.logins.current or self.privileges.current

    def lasting_refusal(self) -> tuple[str, float] | None:
        """The same, and for how many seconds it has been repeated."""
        return self.logins.lasting or self.privileges.lasting

    def refusal(self, error: BaseException) -> str:
        """The error in one line that names the settings to look at."""
        at, fault = self.bootstrap_servers, tls_fault(error)
        if isinstance(error, OSError | ValueError) and not isinstance(error, ssl.SSLError):
            return f"the worker cannot log in to Kafka at {at}: {error}"
        if fault is not None:
            return f"the TLS connection to Kafka at {at} failed: {fault}; check the RUDDER_KAFKA_SSL_… files"
        if is_login_refused(error):
            return (
                f"Kafka at {at} refuses the worker: {error}; login {self.sasl_username} by {self.sasl_mechanism}, see "
                "RUDDER_KAFKA_SASL_USERNAME, _PASSWORD and _MECHANISM"
            )
        if isinstance(error, RIGHT_ERRORS):
            return f"Kafka at {at} refuses the worker: {error}; grant login {self.sasl_username} the privilege"
        return f"Kafka at {at} refuses the worker: {error}"

    def _ssl_context(self) -> ssl.SSLContext | None:
        if self.security_protocol not in {"SSL", "SASL_SSL"}:
            return None
        files = [file for file in (self.ssl_cafile, self.ssl_certfile, self.ssl_keyfile) if file]
        try:
            password = _text(self.ssl_keyfile_password)
            versions = (password, *((stat.st_ino, stat.st_mtime_ns, stat.st_size) for stat in map(os.stat, files)))
            if self._read.ssl_context is None or self._read.versions != versions:
                for setting in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
                    _require_no_byte_order_mark(setting, getattr(self, setting))
                self._read.ssl_context = create_ssl_context(
                    cafile=self.ssl_cafile, certfile=self.ssl_certfile, keyfile=self.ssl_keyfile, password=password
                )
                self._read.versions = versions
        except OSError as error:  # an ssl.SSLError among them
            raise ValueError(f"the RUDDER_KAFKA_SSL_… files cannot be used ({', '.join(files)}): {error}") from error
        return self._read.ssl_context


def _require_no_byte_order_mark(setting: str, file: str | None) -> None:
    """OpenSSL passes over the first certificate or key of a file that begins with one, without an error of its own."""
    if file and Path(file).read_bytes().startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError(f"RUDDER_KAFKA_{setting.upper()}: {file} begins with a byte order mark; save it without")


def _text(secret: Secret) -> str | None:
    return secret() if callable(secret) else secret


def at_start(error: KafkaError, connection: Connection) -> ConfigurationError | Unavailable:
    """What a client's failure to start calls for: other settings, or patience."""
    # A client that every server turns away says only that it found none: a wrong password would be waited out.
    found = connection.login_error if isinstance(error, KafkaConnectionError) else error
    if isinstance(found, _OPERATORS_FAULT):
        return ConfigurationError(connection.refusal(found))
    if found is not None and tls_fault(found) is not None:
        return Unavailable(connection.refusal(found))
    # aiokafka lists the servers that it tried, without a reason.
    cause = connection.failure if isinstance(error, KafkaConnectionError) else None
    return Unavailable(f"Kafka at {connection.bootstrap_servers} does not answer: {cause or error}")
