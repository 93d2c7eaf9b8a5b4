"""Sound events read the same in every mode; what is no event at all has its reason; size comes first."""

import base64
import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from schemas.decode import EVENT_BYTES_MAX, decode
from schemas.event import Invalid
from schemas.incoming import DeploymentChange
from schemas.reasons import Reason
from schemas.record import Record
from schemas.types import EventType
from tests.unit.schemas.records import (
    DEPLOYMENT_DATA,
    ENVELOPE,
    RELEASE_DATA,
    RELEASE_ID,
    STARTED,
    STRUCTURED,
    SUBMITTED,
    binary,
    decoded,
    headers,
    record,
    refused,
    structured,
)

DATA = json.dumps(RELEASE_DATA).encode()
DEEP = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
TIME = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


def value(**changes: object) -> bytes:
    return json.dumps({**ENVELOPE, "data": RELEASE_DATA, **changes}).encode()


def without(name: str) -> bytes:
    event = {**ENVELOPE, "data": RELEASE_DATA}
    del event[name]
    return json.dumps(event).encode()


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(binary(), id="binary"),
        pytest.param(structured(), id="structured"),
        pytest.param(
            record(value(), (("content-type", b"Application/CloudEvents"),)), id="structured, bare and in capitals"
        ),
        pytest.param(record(value()), id="structured, undeclared"),
        pytest.param(record(value(), (("content-type", b"application/json"),)), id="structured, declared as JSON"),
        pytest.param(
            record(value(), (*STRUCTURED, ("ce_id", b"other"), ("ce_id", b"\xff"))), id="structured beats ce_ headers"
        ),
        pytest.param(
            record(DATA, tuple((name.upper(), raw) for name, raw in headers())), id="binary, names in capitals"
        ),
        pytest.param(record(DATA, (*headers(), ("ce_subject", None), ("ce_id", None))), id="null headers are absent"),
        pytest.param(record(DATA, headers()[:-1]), id="binary, no content type"),
        pytest.param(
            record(value(data=None, data_base64=base64.b64encode(DATA).decode()), STRUCTURED),
            id="structured, base64 data",
        ),
        pytest.param(structured(datacontenttype="application/vnd.acme+json; charset=utf-8"), id="JSON of another name"),
        pytest.param(structured(datacontenttype=None, subject=5, colour={}), id="unread attributes are not judged"),
        pytest.param(binary(tracestate=b"", partitionkey=b"x"), id="extensions may be empty"),
    ],
)
def test_event_reads_the_same_in_every_mode(given: Record) -> None:
    """One event, however it is wrapped."""
    event = decoded(given)
    assert (event.source, event.id, event.type) == ("https://ci.example.com", "run-1", EventType.RELEASE_SUBMITTED)
    assert event.time == TIME
    assert (event.data.release_id, event.data.organization_id) == (UUID(RELEASE_ID), "acme")


def test_event_type_selects_the_model() -> None:
    """A deployment event brings a deployment's data."""
    assert isinstance(decoded(binary(DEPLOYMENT_DATA, type=STARTED.encode())).data, DeploymentChange)


@pytest.mark.parametrize("given", [binary(time=None), structured(time=None), record(without("time"), STRUCTURED)])
def test_missing_time_is_the_records_timestamp(given: Record) -> None:
    """To the millisecond, as Kafka has it."""
    timed = record(given.value, given.headers, timestamp_ms=1_772_357_400_123)
    assert decoded(timed).time == TIME.replace(microsecond=123_000)


@pytest.mark.parametrize(
    ("timestamp_ms", "named"),
    [(-1, "the record has no timestamp"), (2**63 - 1, "a timestamp out of range (9223372036854775807 ms)")],
)
def test_missing_time_and_timestamp_is_none(timestamp_ms: int, named: str) -> None:
    """The clock on the wall is never asked."""
    invalid = refused(record(DATA, headers(time=None), timestamp_ms=timestamp_ms))
    assert (invalid.reason, invalid.id, invalid.time) == (Reason.NOT_A_CLOUDEVENT, "run-1", None)
    assert invalid.detail.startswith("time: is missing, and ")
    assert named in invalid.detail


def test_data_depth_is_the_same_in_both_modes() -> None:
    """The envelope's own level does not count."""
    for depth, fits in ((63, True), (64, False)):
        nested = json.loads("[" * depth + "]" * depth)
        data = {**RELEASE_DATA, "deep": nested}
        encoded = base64.b64encode(json.dumps(data).encode()).decode()
        for given in (binary(data), structured(data), structured(None, data_base64=encoded)):
            if fits:
                decoded(given)
            else:
                assert refused(given).reason is Reason.MALFORMED_JSON


@pytest.mark.parametrize(
    ("reason", "given"),
    [
        pytest.param(Reason.NOT_A_CLOUDEVENT, record(None), id="tombstone"),
        pytest.param(Reason.NOT_A_CLOUDEVENT, record(b""), id="empty value"),
        pytest.param(Reason.NOT_A_CLOUDEVENT, record(b"{}"), id="empty object"),
        pytest.param(Reason.NOT_A_CLOUDEVENT, record(b"[]"), id="array"),
        pytest.param(Reason.NOT_A_CLOUDEVENT, record(b"5"), id="number"),
        pytest.param(Reason.NOT_A_CLOUDEVENT, record(DATA), id="data without an envelope"),
        pytest.param(Reason.NOT_A_CLOUDEVENT, record(without("source")), id="undeclared without source"),
        pytest.param(Reason.MALFORMED_JSON, record(b"hello"), id="text"),
        pytest.param(Reason.MALFORMED_JSON, record(b"\x00\x01\x02"), id="bytes"),
        pytest.param(Reason.MALFORMED_JSON, record(None, STRUCTURED), id="structured tombstone"),
        pytest.param(Reason.MALFORMED_JSON, record(b"", STRUCTURED), id="structured empty value"),
        pytest.param(Reason.MALFORMED_JSON, record(value()[:-1], STRUCTURED), id="structured truncated"),
        pytest.param(Reason.MALFORMED_JSON, record(value() + b"x", STRUCTURED), id="structured with garbage behind"),
        pytest.param(
            Reason.MALFORMED_JSON, record(value()[:-1] + b',"ext":"\xff"}', STRUCTURED), id="structured, not UTF-8"
        ),
        pytest.param(
            Reason.MALFORMED_JSON, record(value()[:-1] + b',"id":"x"}', STRUCTURED), id="structured, id twice"
        ),
        pytest.param(Reason.MALFORMED_JSON, record(value()[:-1] + b',"ext":NaN}', STRUCTURED), id="structured NaN"),
        pytest.param(Reason.MALFORMED_JSON, record(DEEP, STRUCTURED), id="structured, 100,000 levels"),
        pytest.param(Reason.MALFORMED_JSON, structured({**RELEASE_DATA, "actor": "\ud800"}), id="lone surrogate"),
        pytest.param(Reason.MALFORMED_JSON, structured(id="\ud800"), id="lone surrogate in the id"),
        pytest.param(Reason.NOT_A_CLOUDEVENT, record(b"[" + value() + b"]", STRUCTURED), id="structured array"),
    ],
)
def test_record_that_is_no_event_has_a_reason_and_no_identity(reason: Reason, given: Record) -> None:
    """Nothing in it can be trusted to be an identity."""
    invalid = refused(given)
    assert invalid.reason is reason
    assert (invalid.source, invalid.id, invalid.type, invalid.time, invalid.release_id) == (None,) * 5


@pytest.mark.parametrize(
    "content_type",
    [
        b"application/cloudevents-batch+json",
        b"application/cloudevents+avro",
        b"application/cloudevents+json;charset=latin1",
    ],
)
def test_structured_formats_other_than_json_are_refused(content_type: bytes) -> None:
    """The binding has no batches, and the worker speaks JSON in UTF-8."""
    assert refused(record(value(), (("content-type", content_type),))).reason is Reason.NOT_A_CLOUDEVENT


def test_size_bound_is_exact_and_checked_first() -> None:
    """A value one byte too long is not even parsed."""
    assert EVENT_BYTES_MAX == 1_048_576
    given = structured()
    assert given.value is not None
    size = len(given.value)
    assert decode(given, bytes_max=size) == decoded(given)
    detail = f"the value has {size} bytes, more than {size - 1}"
    assert decode(given, bytes_max=size - 1) == Invalid(reason=Reason.TOO_LARGE, detail=detail)
    assert refused(record(b"x" * (EVENT_BYTES_MAX + 1))).reason is Reason.TOO_LARGE
    assert refused(record(b"x" * EVENT_BYTES_MAX)).reason is Reason.MALFORMED_JSON


def test_too_large_record_keeps_its_binary_identity() -> None:
    """The headers are read all the same; a structured event's identity is inside what is not read."""
    invalid = refused(record(b"x" * 10_000_000, headers()))
    assert (invalid.reason, invalid.id, invalid.type, invalid.time) == (Reason.TOO_LARGE, "run-1", SUBMITTED, TIME)
    invalid = refused(record(b"x" * 10_000_000, headers(id=b"\xff")))
    assert (invalid.reason, invalid.source, invalid.id, invalid.type) == (Reason.TOO_LARGE, None, None, SUBMITTED)
    invalid = refused(record(b"x" * 10_000_000, STRUCTURED))
    assert (invalid.reason, invalid.id) == (Reason.TOO_LARGE, None)
