"""The model against the published examples: it reads what is valid, and finds the fault that each invalid one names."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.oracle import machines
from tests.oracle.reading import read
from tests.oracle.records import Event, Record, Unreadable

EXAMPLES = sorted(
    path
    for path in (Path(__file__).parents[2] / "schemas" / "examples").glob("*/*.json")
    if path.parent.name in machines.EVENTS_IN
)
STRUCTURED = (("content-type", b"application/cloudevents+json"),)


def record(value: bytes | None, headers: tuple[tuple[str, bytes | None], ...] = STRUCTURED) -> Record:
    return Record("t", 0, 7, 1_772_355_600_123, value, headers)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_an_example_is_read_as_its_author_meant(path: Path) -> None:
    letter = read(record(path.read_bytes()))
    reason, _, pointer = json.loads(path.read_bytes()).get("wrong", "").partition(" ")
    if path.stem.startswith("valid"):
        assert isinstance(letter, Event)
    else:
        assert isinstance(letter, Unreadable)
        assert (letter.reason, letter.pointers) == (reason, frozenset({pointer} - {""}))


def event(**changes: Any) -> dict[str, Any]:
    data = {"release_id": "0B6F1A52-5A4E-4C7F-9A34-0A6B3A0F5C11", "organization_id": "acme"}
    attributes = {"specversion": "1.0", "id": "1", "source": "s", "type": "dev.rudder.release.submitted.v1"}
    return attributes | {"data": data} | changes


@pytest.mark.parametrize("time", [None, "2026-03-01T09:00:00.1239999Z", "2026-03-01t11:00:00.123999+02:00"])
def test_time_is_utc_microseconds_and_defaults_to_the_records(time: str | None) -> None:
    letter = read(record(json.dumps(event(time=time)).encode()))
    assert isinstance(letter, Event)
    microsecond = 123_000 if time is None else 123_999
    assert letter.time == datetime(2026, 3, 1, 9, 0, 0, microsecond, tzinfo=UTC)
    assert letter.data["release_id"] == "0b6f1a52-5a4e-4c7f-9a34-0a6b3a0f5c11"


def test_the_same_event_is_read_in_each_content_mode() -> None:
    structured = event()
    value = json.dumps(structured).encode()
    attributes = tuple((f"ce_{name}", text.encode()) for name, text in structured.items() if name != "data")
    letters = [
        read(record(value)),
        read(record(value, (("content-type", b"APPLICATION/CloudEvents+json; charset=utf-8"),))),
        read(record(value, ())),
        read(record(json.dumps(structured["data"]).encode(), attributes)),
        read(record(json.dumps(structured["data"]).encode(), (*attributes, ("content-type", b"application/json")))),
    ]
    assert isinstance(letters[0], Event)
    assert letters == letters[:1] * 5


@pytest.mark.parametrize(
    ("value", "headers", "reason"),
    [
        (None, (), "not_a_cloudevent"),
        (b"[]", (), "not_a_cloudevent"),
        (b"{}", (), "not_a_cloudevent"),
        (b"{", STRUCTURED, "malformed_json"),
        (b"\xff", STRUCTURED, "malformed_json"),
        (b"[]", (("content-type", b"application/cloudevents-batch+json"),), "not_a_cloudevent"),
        (b"x" * (1024 * 1024 + 1), (), "too_large"),
        (json.dumps(event(type="dev.rudder.release.forgotten.v1")).encode(), (), "unsupported_type"),
        (b"[" * 66 + b"]" * 66, STRUCTURED, "malformed_json"),
        (b"[" * 65 + b"]" * 65, STRUCTURED, "not_a_cloudevent"),
    ],
)
def test_what_is_no_event_says_why(value: bytes | None, headers: Any, reason: str) -> None:
    letter = read(record(value, headers))
    assert isinstance(letter, Unreadable)
    assert letter.reason == reason
