"""Settings that cannot be meant are refused before anything starts: in one line, by name, without a secret."""

from pathlib import Path
from urllib.parse import quote

import pytest

from tests.unit.environment import SASL, SECRET, Environment
from worker.rules.errors import ConfigurationError
from worker.settings import load


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Environment:
    return Environment(monkeypatch, tmp_path)


def refusal() -> str:
    """The one line that these settings are refused with."""
    with pytest.raises(ConfigurationError) as raised:
        load()
    line = str(raised.value)
    assert len(line.splitlines()) == 1
    for text in (line, repr(raised.value), str(raised.value.__cause__), repr(raised.value.__cause__)):
        assert SECRET not in text
        assert quote(SECRET, safe="") not in text
    return line


@pytest.mark.parametrize("where", ["environment", ".env"])
@pytest.mark.parametrize("name", ["DATABASE_URL", "KAFKA_SASL_PASSWORD", "KAFKA_SSL_KEYFILE_PASSWORD"])
def test_secret_and_its_file_exclude_each_other(environment: Environment, where: str, name: str) -> None:
    """Which of the two was meant, the worker must not guess."""
    (environment.folder / "secret").write_text("sqlite+aiosqlite:///x.db")
    environment.give(where, {f"RUDDER_{name}": "sqlite+aiosqlite:///y.db", f"RUDDER_{name}_FILE": "secret"})
    assert refusal() == f"RUDDER_{name} and RUDDER_{name}_FILE are both set; remove one of them"


@pytest.mark.parametrize("content", [None, b"\xff\xfe" + SECRET.encode("utf-16-le")])
def test_unreadable_secret_file_is_named_by_its_setting(environment: Environment, content: bytes | None) -> None:
    if content is not None:
        (environment.folder / "secret").write_bytes(content)
    environment.set({"RUDDER_KAFKA_SASL_PASSWORD_FILE": "secret"})
    assert refusal().startswith("RUDDER_KAFKA_SASL_PASSWORD_FILE cannot be read: ")


@pytest.mark.parametrize(
    "name", ["DATABASE_URL", "KAFKA_SASL_PASSWORD", "KAFKA_SSL_KEYFILE_PASSWORD", "SOURCES_FILE", "GROUP_ID"]
)
def test_variable_in_another_encoding_is_named(environment: Environment, name: str) -> None:
    environment.set({f"RUDDER_{name}": f"{SECRET}\udce9"})
    assert f"RUDDER_{name}" in refusal()


CONTRADICTIONS = [
    ({"PARTITION_ASSIGNMENT_STRATEGY": "cooperative-sticky"}, ["PARTITION_ASSIGNMENT_STRATEGY", "GROUP_INSTANCE_ID"]),
    (
        {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"},
        ["KAFKA_SECURITY_PROTOCOL", "KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"],
    ),
    (
        {"KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "KAFKA_SASL_PASSWORD": SECRET},
        ["KAFKA_SECURITY_PROTOCOL", "KAFKA_SASL_USERNAME"],
    ),
    (
        {"KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "KAFKA_SASL_USERNAME": "", "KAFKA_SASL_PASSWORD": ""},
        ["KAFKA_SECURITY_PROTOCOL", "KAFKA_SASL_USERNAME"],
    ),
    ({"KAFKA_SASL_PASSWORD": SECRET}, ["KAFKA_SASL_USERNAME", "KAFKA_SECURITY_PROTOCOL"]),
    ({"KAFKA_SSL_CAFILE": "ca.pem"}, ["KAFKA_SSL_", "KAFKA_SECURITY_PROTOCOL"]),
    ({"KAFKA_SSL_KEYFILE_PASSWORD": SECRET}, ["KAFKA_SSL_KEYFILE"]),
    (
        {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_KEYFILE_PASSWORD": SECRET},
        ["KAFKA_SSL_KEYFILE_PASSWORD", "KAFKA_SSL_KEYFILE"],
    ),
    (
        {"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_CERTFILE": "cert.pem"},
        ["KAFKA_SSL_CERTFILE", "KAFKA_SSL_KEYFILE"],
    ),
    ({"KAFKA_SECURITY_PROTOCOL": "SSL", "KAFKA_SSL_KEYFILE": "key.pem"}, ["KAFKA_SSL_CERTFILE", "KAFKA_SSL_KEYFILE"]),
    ({"INPUT_TOPICS": "a,rudder.dead-letters"}, ["INPUT_TOPICS", "rudder.dead-letters"]),
    ({"INPUT_TOPICS": "a", "RELEASE_STATUS_TOPIC": "a"}, ["INPUT_TOPICS"]),
    ({"INPUT_TOPICS": "a", "DEPLOYMENT_STATUS_TOPIC": "a"}, ["INPUT_TOPICS"]),
    ({"INPUT_TOPICS": "a,b,a"}, ["INPUT_TOPICS"]),
    ({"DEAD_LETTER_TOPIC": "rudder.release-status"}, ["DEAD_LETTER_TOPIC"]),
    ({"DEPLOYMENT_STATE_TOPIC": "rudder.release-status"}, ["DEPLOYMENT_STATE_TOPIC"]),
    ({"DEPLOYMENT_STATE_TOPIC": "rudder.deployment-events"}, ["DEPLOYMENT_STATE_TOPIC"]),
    ({"RETRY_INITIAL_SECONDS": "31"}, ["RETRY_INITIAL_SECONDS", "RETRY_MAX_SECONDS"]),
    ({"CONCURRENCY": "1001"}, ["IN_FLIGHT_RECORDS_MAX", "CONCURRENCY"]),
    ({"IN_FLIGHT_BYTES_MAX": "1048575"}, ["IN_FLIGHT_BYTES_MAX", "EVENT_BYTES_MAX"]),
    ({"SESSION_TIMEOUT_SECONDS": "301"}, ["SESSION_TIMEOUT_SECONDS", "MAX_POLL_INTERVAL_SECONDS"]),
    ({"DRAIN_TIMEOUT_SECONDS": "300"}, ["DRAIN_TIMEOUT_SECONDS", "MAX_POLL_INTERVAL_SECONDS"]),
]


@pytest.mark.parametrize(("given", "named"), CONTRADICTIONS, ids=lambda value: " ".join(value))
def test_contradictory_settings_are_refused_in_one_line(
    environment: Environment, given: dict[str, str], named: list[str]
) -> None:
    """And holds no secret, though there are some."""
    environment.set({"RUDDER_DATABASE_URL": f"postgresql+asyncpg://u:{quote(SECRET, safe='')}@h/d"})
    environment.set({f"RUDDER_{name}": value for name, value in given.items()})
    line = refusal()
    for name in named:
        assert name in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_PORT", "-1"),
        ("HTTP_PORT", "65536"),
        ("HTTP_PORT", "http"),
        ("HTTP_HOST", ""),
        ("KAFKA_BOOTSTRAP_SERVERS", ""),
        ("KAFKA_BOOTSTRAP_SERVERS", "localhost"),
        ("KAFKA_BOOTSTRAP_SERVERS", "localhost:"),
        ("KAFKA_BOOTSTRAP_SERVERS", "localhost:kafka"),
        ("KAFKA_BOOTSTRAP_SERVERS", "localhost:0"),
        ("KAFKA_BOOTSTRAP_SERVERS", "localhost:65536"),
        ("KAFKA_BOOTSTRAP_SERVERS", "localhost:-1"),
        ("KAFKA_BOOTSTRAP_SERVERS", "kafka://localhost:9092"),
        ("KAFKA_BOOTSTRAP_SERVERS", "a:9092,,b:9092"),
        ("KAFKA_BOOTSTRAP_SERVERS", "a:9092 b:9092"),
        ("KAFKA_SECURITY_PROTOCOL", "TLS"),
        ("KAFKA_SASL_MECHANISM", "GSSAPI"),
        ("INPUT_TOPICS", ""),
        ("INPUT_TOPICS", " , "),
        ("INPUT_TOPICS", "a,b c"),
        ("INPUT_TOPICS", "a/b"),
        ("INPUT_TOPICS", "."),  # a broker refuses it
        ("INPUT_TOPICS", ".."),
        ("INPUT_TOPICS", "x" * 250),
        ("DEAD_LETTER_TOPIC", ""),
        ("CONTENT_MODE", "batch"),
        ("EVENT_BYTES_MAX", "0"),
        ("EVENT_BYTES_MAX", "1 MiB"),
        ("EVENT_BYTES_MAX", "268435457"),  # written again it may be longer than a column takes
        ("BREAKER_EVENTS", "-1"),
        ("BREAKER_REJECTED_SHARE_MAX", "-0.1"),
        ("BREAKER_REJECTED_SHARE_MAX", "1"),  # never exceeded; RUDDER_BREAKER_EVENTS=0 is how to say that
        ("BREAKER_REJECTED_SHARE_MAX", "50"),
        ("BREAKER_REJECTED_SHARE_MAX", "nan"),
        ("CONCURRENCY", "0"),
        ("CONCURRENCY", "1.5"),
        ("DATABASE_CONNECTIONS_MAX", "0"),
        ("COMMIT_INTERVAL_SECONDS", "0"),
        ("COMMIT_INTERVAL_SECONDS", "nan"),
        ("STARTUP_TIMEOUT_SECONDS", "-1"),
        ("KAFKA_REQUEST_TIMEOUT_SECONDS", "inf"),  # the client counts whole milliseconds
        ("DATABASE_TIMEOUT_SECONDS", "inf"),
        ("DATABASE_TIMEOUT_SECONDS", "1e300"),
        ("SESSION_TIMEOUT_SECONDS", "2147484"),  # Kafka's requests have 32 bits of milliseconds
        ("MAX_POLL_INTERVAL_SECONDS", "1e300"),
        ("KAFKA_LINGER_SECONDS", "inf"),
        ("GROUP_ID", ""),
        ("EVENT_SOURCE", "x" * 1025),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_invalid_value_is_refused_by_its_name(environment: Environment, name: str, value: str) -> None:
    environment.set({f"RUDDER_{name}": value, **SASL} if not name.startswith("KAFKA") else {f"RUDDER_{name}": value})
    assert refusal().startswith(f"RUDDER_{name}")


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("KAFKA_BOOTSTRAP_SERVERS", "localhost", "host:port"),
        ("INPUT_TOPICS", "a/b", "topic"),
        ("INPUT_TOPICS", "", "topic"),
        ("DEAD_LETTER_TOPIC", "a/b", "topic"),
    ],
)
def test_refusal_states_the_expected_value_in_words(environment: Environment, name: str, value: str, word: str) -> None:
    """An operator reads neither regular expressions nor Python."""
    environment.set({f"RUDDER_{name}": value})
    line = refusal().removeprefix(f"RUDDER_{name}")
    assert word in line
    assert "pattern" not in line
    assert "tuple" not in line


def test_env_file_that_is_not_text_is_named(environment: Environment) -> None:
    (environment.folder / ".env").write_bytes(b"\xff\xfe")
    assert ".env" in refusal()
