"""`publish` where no broker is: what it refuses, and in which words. With one: tests/conformance."""

import json
from pathlib import Path

import pytest

from tests.unit.cli.command_line import CommandLine, rudder_worker
from tests.unit.schemas.records import RELEASE_DATA

DATA = json.dumps(RELEASE_DATA)
EVENT = ("--type", "release.submitted", "--data", DATA)
SUBMISSION = {"type": "release.submitted", "data": dict(RELEASE_DATA)}
NO_BROKER = {"RUDDER_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--type", "release.submitted"], "--data"),
        (["--type", "release.submitted", "--data", "{bad"], "--data"),
        (["--type", "release.submitted", "--data", ""], "--data"),
        (["--data", DATA], "--type"),
        (["--id", "1"], "--type"),
        (["--time", "2026-03-01T00:00:00Z", "--file", "x"], "--type"),
        ([*EVENT, "--file", "x"], "--file"),
        (["--file", "missing.jsonl"], "missing.jsonl"),
        (["--file", "."], "directory"),
        ([*EVENT, "--file", "-"], "--file"),
        (["--file", "a.json", "--file", "b.json"], "--file occurs more than once"),
        ([*EVENT, "--topic", ""], "--topic: ''"),
        ([*EVENT, "--run", ""], "--run is empty"),
        ([*EVENT, "--run", " "], "--run is empty"),
    ],
)
def test_contradictory_flags_are_one_line(command_line: CommandLine, arguments: list[str], named: str) -> None:
    command_line.environment(**NO_BROKER)
    ended = command_line("publish", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert named in ended.problem


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--type", "nope", "--data", DATA], "unsupported_type"),
        (["--type", "release.submitted", "--data", "[]"], "/data"),
        (["--type", "release.submitted", "--data", "{}"], "/data/release_id"),
        (
            ["--type", "release.submitted", "--data", DATA[:-1] + ', "actor": "a", "actor": "b"}'],
            "contains the member actor twice",
        ),
        ([*EVENT, "--time", "yesterday"], "time"),
        ([*EVENT, "--id", ""], "id"),
        ([*EVENT, "--source", ""], "source"),
        ([*EVENT, "--topic", "a/b"], "a/b"),
        (["--file", "event.json"], "event.json:1"),
        (["--file", "lines.jsonl"], "lines.jsonl:1: malformed_json"),
        (["--file", "empty.jsonl"], "empty.jsonl has no event; nothing was sent; use --allow-empty"),
        (["--file", "attribute.json"], "attribute.json:1: not_a_cloudevent: my_own: is not an attribute name"),
        (["--file", "misspelt.json", "--strict"], "misspelt.json:1: strict: /data/coment: "),
        (
            ["--file", "twice.json", "--run", "7"],
            "twice.json:1[1]: same_id: its derived id equals that of twice.json:1[0]",
        ),
        ([*EVENT, "--redrive"], "--redrive requires the id and the source of the rejected event"),
    ],
)
def test_invalid_event_is_reported_before_connecting(tmp_path: Path, arguments: list[str], named: str) -> None:
    """The line is about the event; that there is no broker does not matter to an event that will not be sent."""
    (tmp_path / "event.json").write_text("{}")
    (tmp_path / "lines.jsonl").write_text(f'{{"id": \n{json.dumps(SUBMISSION)}\n')
    (tmp_path / "empty.jsonl").write_text("\n")
    (tmp_path / "attribute.json").write_text(json.dumps({**SUBMISSION, "my_own": "x"}))
    (tmp_path / "misspelt.json").write_text(json.dumps({**SUBMISSION, "data": {**RELEASE_DATA, "coment": "x"}}))
    (tmp_path / "twice.json").write_text(json.dumps([SUBMISSION, SUBMISSION]))
    ended = rudder_worker("publish", *arguments, folder=tmp_path, environment=NO_BROKER)
    assert ended.code in {1, 2}
    assert ended.out == ""
    assert named in ended.problem
    assert "Kafka" not in ended.problem


@pytest.mark.parametrize("flag", ["--data", "--id", "--run", "--source", "--time", "--type"])
def test_flag_in_another_encoding_is_one_line(command_line: CommandLine, flag: str) -> None:
    """A byte that is no UTF-8 reaches Python as a lone surrogate, which can be written nowhere."""
    command_line.environment(**NO_BROKER)
    ended = command_line("publish", *EVENT, flag, "mar\udcefa")
    assert (ended.code, ended.out) == (2, "")
    assert f"{flag} is not UTF-8 text" in ended.problem


@pytest.mark.parametrize("servers", ["127.0.0.1:1", "127.0.0.1:1,127.0.0.1:2", "nosuch.invalid:9092"])
def test_unreachable_broker_is_one_line(tmp_path: Path, servers: str) -> None:
    """Names it as the settings do; nothing is on standard output."""
    ended = rudder_worker("publish", *EVENT, folder=tmp_path, environment={"RUDDER_KAFKA_BOOTSTRAP_SERVERS": servers})
    assert (ended.code, ended.out) == (2, "")
    assert servers in ended.problem
    assert ended.problem.endswith("; nothing was sent")


def test_allowed_empty_file_needs_no_broker(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n")
    ended = rudder_worker("publish", "--file", "empty.jsonl", "--allow-empty", folder=tmp_path, environment=NO_BROKER)
    assert (ended.code, ended.out) == (0, "")
    assert ended.problem == "0 events sent to rudder.deployment-events"


@pytest.mark.parametrize(
    "environment",
    [
        {"RUDDER_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:99999"},
        {"RUDDER_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1"},
        {**NO_BROKER, "RUDDER_KAFKA_REQUEST_TIMEOUT_SECONDS": "inf"},
        {**NO_BROKER, "RUDDER_KAFKA_SECURITY_PROTOCOL": "SSL", "RUDDER_KAFKA_SSL_CAFILE": "missing.pem"},
        {**NO_BROKER, "RUDDER_KAFKA_SECURITY_PROTOCOL": "SSL", "RUDDER_KAFKA_SSL_CAFILE": "junk.pem"},
        {**NO_BROKER, "RUDDER_KAFKA_SASL_PASSWORD_FILE": "missing"},
    ],
    ids=lambda environment: " ".join(environment.values()),
)
def test_impossible_connection_settings_are_one_line(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "junk.pem").write_text("no certificate")
    ended = rudder_worker("publish", *EVENT, folder=tmp_path, environment=environment)
    assert "Traceback" not in ended.err
    assert (ended.code, ended.out) == (2, "")
    assert ended.problem
