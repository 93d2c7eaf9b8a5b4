"""The oracle reads the valid examples, and finds the fault that each invalid example names."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.oracle import status_machines
from tests.oracle.reading import read
from tests.oracle.records import Event, InvalidRecord, Record

EXAMPLES = sorted(
    path
    for path in (Path(__file__).parents[2] / "schemas" / "examples").glob("*/*.json")
    if path.parent.name in status_machines.EVENTS_IN
)
STRUCTURED = (("content-type", b"application/cloudevents+json"),)
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def record(value: bytes | None, headers: tuple[tuple[str, bytes | None], ...] = STRUCTURED) -> Record:
    return Record("t", 0, 7, 1_772_355_600_123, value, headers)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_example_is_read_as_its_name_says(path: Path) -> None:
    event_read = read(record(path.read_bytes()))
    reason, _, pointer = json.loads(path.read_bytes()).get("wrong", "").partition(" ")
    if path.stem.startswith("valid"):
        assert isinstance(event_read, Event)
    else:
        assert isinstance(event_read, InvalidRecord)
        assert (event_read.reason, event_read.pointers) == (reason, frozenset({pointer} - {""}))


def event(**changes: Any) -> dict[str, Any]:
    data = {"release_id": "0B6F1A52-5A4E-4C7F-9A34-0A6B3A0F5C11", "organization_id": "acme"}
    attributes = {"specversion": "1.0", "id": "1", "source": "s", "type": "dev.rudder.release.submitted.v1"}
    return attributes | {"data": data} | changes


BINARY = tuple((f"ce_{name}", text.encode()) for name, text in event().items() if name != "data")


def test_value_of_exactly_the_limit_is_read() -> None:
    value = json.dumps(event()).encode().ljust(1024 * 1024)
    assert isinstance(read(record(value)), Event)


def test_invalid_binary_record_keeps_its_identity() -> None:
    """Its headers state it, so its repeat is known as a duplicate; a broken structured value states nothing."""
    binary, structured = read(record(b"{", BINARY)), read(record(b"{", STRUCTURED))
    assert isinstance(binary, InvalidRecord)
    assert isinstance(structured, InvalidRecord)
    assert (binary.source, binary.id) == ("s", "1")
    assert (structured.source, structured.id) == (None, None)


@pytest.mark.parametrize("time", [None, "2026-03-01T09:00:00.1239999Z", "2026-03-01t11:00:00.123999+02:00"])
def test_time_is_utc_to_the_microsecond(time: str | None) -> None:
    """Finer digits are cut, not rounded; without a time, the record's timestamp counts."""
    event_read = read(record(json.dumps(event(time=time)).encode()))
    assert isinstance(event_read, Event)
    microsecond = 123_000 if time is None else 123_999
    assert event_read.time == datetime(2026, 3, 1, 9, 0, 0, microsecond, tzinfo=UTC)
    assert event_read.data["release_id"] == "0b6f1a52-5a4e-4c7f-9a34-0a6b3a0f5c11"


@pytest.mark.parametrize(
    ("traceparent", "tracestate", "trace"),
    [
        (TRACEPARENT, None, {"traceparent": TRACEPARENT}),
        (TRACEPARENT, "a=1,b@c=d e", {"traceparent": TRACEPARENT, "tracestate": "a=1,b@c=d e"}),
        ("cc" + TRACEPARENT[2:-2] + "03-more", "a=1", {"traceparent": TRACEPARENT, "tracestate": "a=1"}),
        *((TRACEPARENT, bad, {"traceparent": TRACEPARENT}) for bad in ("a", "a=1,a=2", "A=1", "a=" + "1" * 511, 5)),
        *((bad, "a=1", {}) for bad in (TRACEPARENT + "-", TRACEPARENT.upper(), "ff" + TRACEPARENT[2:], "", 5, None)),
        ("00-" + "0" * 32 + TRACEPARENT[35:], "a=1", {}),
    ],
)
def test_invalid_trace_context_is_ignored(traceparent: Any, tracestate: Any, trace: dict[str, str]) -> None:
    event_read = read(record(json.dumps(event(traceparent=traceparent, tracestate=tracestate)).encode()))
    assert isinstance(event_read, Event)
    assert event_read.trace == trace


def test_event_reads_the_same_in_each_content_mode() -> None:
    structured = event(traceparent=TRACEPARENT, tracestate="a=1")
    value = json.dumps(structured).encode()
    attributes = tuple((f"ce_{name}", text.encode()) for name, text in structured.items() if name != "data")
    events_read = [
        read(record(value)),
        read(record(value, (("content-type", b"APPLICATION/CloudEvents+json; charset=utf-8"),))),
        read(record(value, ())),
        read(record(json.dumps(structured["data"]).encode(), attributes)),
        read(record(json.dumps(structured["data"]).encode(), (*attributes, ("content-type", b"application/json")))),
    ]
    assert isinstance(events_read[0], Event)
    assert events_read == events_read[:1] * 5


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
        (b'{"action": "published"}', (), "not_a_cloudevent"),
        (b"\xff", BINARY, "malformed_json"),
        (json.dumps([event()]).encode(), STRUCTURED, "not_a_cloudevent"),
        (json.dumps(event(specversion="0.3")).encode(), STRUCTURED, "not_a_cloudevent"),
        (json.dumps(event(type="dev.rudder.release.created.v2")).encode(), (), "unsupported_type"),
        (json.dumps(event(type="release.created.v1")).encode(), STRUCTURED, "unsupported_type"),
        (json.dumps(event(data=None)).encode(), STRUCTURED, "invalid_data"),
        (json.dumps(event(data={"organization_id": "acme"})).encode(), STRUCTURED, "invalid_data"),
        (b"[" * 66 + b"]" * 66, STRUCTURED, "malformed_json"),
        (b"[" * 65 + b"]" * 65, STRUCTURED, "not_a_cloudevent"),
    ],
)
def test_invalid_record_has_its_reason(value: bytes | None, headers: Any, reason: str) -> None:
    event_read = read(record(value, headers))
    assert isinstance(event_read, InvalidRecord)
    assert event_read.reason == reason
