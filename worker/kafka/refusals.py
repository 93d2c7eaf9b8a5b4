"""What a broker answers when it refuses the worker: its login, its certificate, or a right on a topic or group.

aiokafka treats a refused login as any failed connection and connects again without end; only its log has the reason.
"""

import ssl
import time

import structlog
from aiokafka.errors import (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    IllegalSaslStateError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)

from worker.telemetry import LogEvent

_LOGIN_ERRORS = (
    AuthenticationFailedError,
    AuthenticationMethodNotSupported,
    IllegalSaslStateError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
RIGHT_ERRORS = (ClusterAuthorizationFailedError, GroupAuthorizationFailedError, TopicAuthorizationFailedError)

_RENEWED_WITHIN_SECONDS = 45.0
"""A refusal that is not repeated so long is over: longer than any wait between two attempts."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.kafka")


class Refusals:
    """The refusal that is repeated now, if any."""

    def __init__(self) -> None:
        self._cause: str | None = None
        self._first_at_seconds = self._last_at_seconds = float("-inf")

    def add(self, cause: str) -> None:
        """The worker was refused. Logged if it was not before, or for another reason."""
        now_seconds = time.monotonic()
        if self.current is None:
            self._first_at_seconds = now_seconds
        if self.current != cause:
            _log.error(LogEvent.BROKER_REFUSED, cause=cause)
        self._cause, self._last_at_seconds = cause, now_seconds

    def end(self) -> None:
        """The worker was not refused."""
        self._cause = None

    @property
    def current(self) -> str | None:
        recent = time.monotonic() - self._last_at_seconds <= _RENEWED_WITHIN_SECONDS
        return self._cause if recent else None

    @property
    def lasting(self) -> tuple[str, float] | None:
        """The current one, and for how many seconds it has been repeated."""
        cause = self.current
        return None if cause is None else (cause, self._last_at_seconds - self._first_at_seconds)


def is_login_refused(error: BaseException) -> bool:
    """Whether a connection failed because of who connects, or who answers: not for want of a network."""
    return isinstance(error, _LOGIN_ERRORS) or tls_fault(error) is not None


def tls_fault(error: BaseException | None) -> ssl.SSLError | None:
    """The fault of a certificate or of TLS itself behind a failed connection; a connection that was cut is none."""
    while error is not None:
        if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return error
        error = error.__cause__
    return None
