"""Credentials are read again for each connection, and a refused login is distinguished from an outage."""

import codecs
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    UnsupportedSaslMechanismError,
)
from structlog.testing import capture_logs

from worker.kafka.connection import Connection, Secret, at_start
from worker.kafka.refusals import Refusals
from worker.rules.errors import ConfigurationError, Unavailable
from worker.telemetry import LogEvent


def connection(password: Secret = "secret") -> Connection:
    return Connection(
        bootstrap_servers="kafka:9093",
        client_id="tests",
        security_protocol="SASL_PLAINTEXT",
        sasl_username="ada",
        sasl_password=password,
    )


def reading(*secrets: str | Exception) -> Callable[[], str]:
    left = list(secrets)

    def read() -> str:
        secret = left.pop(0)
        if isinstance(secret, Exception):
            raise secret
        return secret

    return read


def test_secret_is_read_for_each_connection() -> None:
    """An operator can change the secret without a restart of the worker."""
    one = connection(reading("first", "second", "third"))
    assert one.arguments()["sasl_plain_password"] == "first"
    assert [one.current()["sasl_plain_password"] for _ in range(2)] == ["second", "third"]


def test_unreadable_secret_ends_the_start_in_one_line() -> None:
    with pytest.raises(ConfigurationError, match="RUDDER_X_FILE cannot be read"):
        connection(reading(ValueError("RUDDER_X_FILE cannot be read: gone"))).arguments()


@pytest.mark.parametrize("setting", ["ssl_cafile", "ssl_certfile", "ssl_keyfile"])
@pytest.mark.parametrize("mark", [codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE])
def test_pem_file_with_byte_order_mark_is_one_line(tmp_path: Path, setting: str, mark: bytes) -> None:
    """OpenSSL would skip the first certificate and report an unknown authority."""
    file = tmp_path / "file.pem"
    file.write_bytes(mark + b"-----BEGIN CERTIFICATE-----")
    changed: dict[str, Any] = {setting: str(file)}
    one = replace(connection(), security_protocol="SASL_SSL", **changed)
    with pytest.raises(
        ConfigurationError, match=f"RUDDER_KAFKA_{setting.upper()}: {file} begins with a byte order mark"
    ):
        one.arguments()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SaslAuthenticationFailed("wrong"), "login ada by PLAIN, see RUDDER_KAFKA_SASL_USERNAME"),
        (UnsupportedSaslMechanismError("off"), "_MECHANISM"),
        (TopicAuthorizationFailedError("events"), "grant login ada the privilege"),
        (ssl.SSLCertVerificationError("expired"), "RUDDER_KAFKA_SSL_"),
        (ValueError("RUDDER_X_FILE cannot be read"), "cannot log in to Kafka at kafka:9093: RUDDER_X_FILE"),
    ],
)
def test_refused_login_names_the_settings(error: Exception, words: str) -> None:
    """The message does not contain the secret."""
    line = connection().refusal(error)
    assert words in line
    assert "kafka:9093" in line
    assert "secret" not in line


def test_start_distinguishes_a_refused_login_from_an_outage() -> None:
    """aiokafka reports both as a failure to bootstrap."""
    one, error = connection(), KafkaConnectionError("Unable to bootstrap")
    assert isinstance(at_start(error, one), Unavailable)
    one.refused(SaslAuthenticationFailed("wrong"))
    assert isinstance(at_start(error, one), ConfigurationError)
    one.accepted()
    assert isinstance(at_start(error, one), Unavailable)


def test_refused_login_is_logged_once_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends when a broker accepts the worker, or when it is no longer repeated."""
    now_seconds = 1_000.0
    monkeypatch.setattr("worker.kafka.refusals.time.monotonic", lambda: now_seconds)
    one = Refusals()
    with capture_logs() as logs:
        for _ in range(3):
            one.add("refused")
            now_seconds += 30
    assert one.lasting == ("refused", 60.0)
    assert [log["event"] for log in logs] == [LogEvent.BROKER_REFUSED]
    now_seconds += 30
    ended: tuple[object, object] = one.lasting, one.current
    assert ended == (None, None)
    one.add("refused")
    assert one.lasting == ("refused", 0.0)
    one.end()
    assert one.lasting is None
