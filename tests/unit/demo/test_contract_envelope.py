"""The recount's own reading of records: which are events, and why the others are not."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from worker.demo.contract_envelope import Event, Refusal, read
from worker.demo.record import RawRecord

RELEASE_ID = "0a6c1f5e-6d0c-4f5b-9d0a-1c8f5a3b7e21"
BODY: dict[str, Any] = {"release_id": RELEASE_ID, "organization_id": "org", "environment_id": "staging"}
ENVELOPE = {"specversion": "1.0", "id": "1", "source": "ci", "type": "dev.rudder.deployment.requested.v1"}
STRUCTURED = (("content-type", b"application/cloudevents+json"),)
BINARY = tuple((f"ce_{name}", text.encode()) for name, text in ENVELOPE.items())


def a_record(value: object, headers: tuple[tuple[str, bytes], ...] = STRUCTURED) -> RawRecord:
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return RawRecord(key=None, value=text, headers=headers, timestamp_ms=1_500)


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        ({**ENVELOPE, "data": BODY}, STRUCTURED),
        ({**ENVELOPE, "data": BODY}, (("Content-Type", b"APPLICATION/CLOUDEVENTS+json"),)),
        ({**ENVELOPE, "data": BODY}, ()),
        (BODY, BINARY),
    ],
)
def test_an_event_reads_the_same_in_every_content_mode(value: object, headers: tuple[tuple[str, bytes], ...]) -> None:
    """Structured, structured in capitals, structured without a header, binary."""
    event = read(a_record(value, headers))
    assert isinstance(event, Event)
    assert (event.identity, event.kind, event.release_id) == (("ci", "1"), "deployment.requested.v1", RELEASE_ID)


@pytest.mark.parametrize(
    ("reason", "value", "headers"),
    [
        ("malformed_json", b'{"specversion"', STRUCTURED),
        ("malformed_json", b"\xff", BINARY),
        ("not_a_cloudevent", {"action": "published"}, ()),
        ("not_a_cloudevent", [ENVELOPE], STRUCTURED),
        ("not_a_cloudevent", {**ENVELOPE, "specversion": "0.3", "data": BODY}, STRUCTURED),
        ("not_a_cloudevent", [ENVELOPE], (("content-type", b"application/cloudevents-batch+json"),)),
        ("unsupported_type", {**ENVELOPE, "type": "dev.rudder.release.created.v2", "data": BODY}, STRUCTURED),
        ("unsupported_type", {**ENVELOPE, "type": "release.created.v1", "data": BODY}, STRUCTURED),
        ("invalid_data", ENVELOPE, STRUCTURED),
        ("invalid_data", {**ENVELOPE, "data": {**BODY, "release_id": "r-1"}}, STRUCTURED),
        ("invalid_data", {**ENVELOPE, "data": {**BODY, "attempt": 0}}, STRUCTURED),
        ("invalid_data", {**ENVELOPE, "data": {**BODY, "environment_id": "ü" * 256}}, STRUCTURED),
        ("invalid_data", {**ENVELOPE, "data": {**BODY, "release": {}}}, STRUCTURED),
        ("too_large", b" " * 1_048_577, STRUCTURED),
    ],
)
def test_a_record_that_is_no_event_is_refused_for_its_reason(
    reason: str, value: object, headers: tuple[tuple[str, bytes], ...]
) -> None:
    """One reason each, as the contract lists them."""
    refusal = read(a_record(value, headers))
    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason


def test_a_value_of_exactly_the_limit_is_read() -> None:
    """At most 1 MiB, so that much is allowed."""
    value = json.dumps({**ENVELOPE, "data": BODY}).encode()
    assert isinstance(read(a_record(value.ljust(1_048_576))), Event)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-03-17T10:00:00.123456789Z", datetime(2026, 3, 17, 10, 0, 0, 123456, UTC)),
        ("2026-03-17T15:30:00+05:30", datetime(2026, 3, 17, 10, tzinfo=UTC)),
        (None, datetime(1970, 1, 1, 0, 0, 1, 500_000, UTC)),
    ],
)
def test_times_are_utc_to_the_microsecond_and_default_to_the_records(written: str | None, expected: datetime) -> None:
    """Finer digits are cut, not rounded."""
    time = {"time": written} if written else {}
    assert read(a_record({**ENVELOPE, **time, "data": BODY})).time == expected


def test_a_broken_binary_event_still_has_its_identity() -> None:
    """Its headers state it, so its repeat can be told apart from news."""
    assert read(a_record(b"{", BINARY)).identity == ("ci", "1")
    assert read(a_record(b"{", STRUCTURED)).identity is None
