"""The most likely mistake of the publisher: a detail that helps the reader of the dead letter."""

import base64
import gzip
import json
import struct

import pytest

from schemas.reasons import Reason
from tests.unit.schemas.records import (
    DEPLOYMENT_DATA,
    ENVELOPE,
    RELEASE_DATA,
    STRUCTURED,
    binary,
    headers,
    record,
    refused,
    structured,
)

EVENT = json.dumps({**ENVELOPE, "data": RELEASE_DATA})


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        (b"\x00" + struct.pack(">I", 7) + EVENT.encode(), "five bytes of schema registry framing (schema 7)"),
        (b"\x00\x00\x00\x00\x1f\x02\x10run-1", "as schema registry framing does (schema 31): probably Avro"),
        (b"\xef\xbb\xbf" + EVENT.encode(), "write UTF-8 without it"),
        (EVENT.encode("utf-16"), "it is UTF-16 or UTF-32: write UTF-8"),
        (EVENT.encode("utf-16-le"), "it is UTF-16 or UTF-32: write UTF-8"),
        (EVENT.encode("utf-16-be"), "it is UTF-16 or UTF-32: write UTF-8"),
        (EVENT.encode("utf-32"), "it is UTF-16 or UTF-32: write UTF-8"),
        (EVENT.encode("utf-32-be"), "it is UTF-16 or UTF-32: write UTF-8"),
        (gzip.compress(EVENT.encode()), "compressed with gzip"),
        (b"\x28\xb5\x2f\xfd\x00", "compressed with zstd"),
        (b"\x82SNAPPY\x00\x00", "compressed with snappy"),
        (b"Obj\x01\x04", "it is an Avro file"),
        (b"\xac\xed\x00\x05t\x00\x05", "a serialised Java object"),
        (b"id=run-1&source=ci", "it looks like a form"),
        (b"payload=%7B%22id%22%3A1%7D", "it looks like a form"),
        (base64.b64encode(EVENT.encode()), "it is JSON in base64"),
        (base64.urlsafe_b64encode(EVENT.encode()), "it is JSON in base64"),
        (b"<event/>", "XML"),
        (b"--- \nid: run-1", "YAML"),
        (b"{'id': 'run-1'}", "double quotes"),
        (b'{id: "run-1"}', "double quotes"),
        (EVENT.encode() + b"\n" + EVENT.encode(), "several JSON texts: send one record an event"),
        (b" \n ", "it is blank"),
    ],
)
def test_value_that_is_not_json_names_the_likely_cause(value: bytes, cause: str) -> None:
    """Holds in every content mode; the cause is part of one problem."""
    for its_headers in (headers(), STRUCTURED, ()):
        invalid = refused(record(value, its_headers))
        assert invalid.reason is Reason.MALFORMED_JSON
        assert cause in invalid.detail
        assert ";" not in invalid.detail


@pytest.mark.parametrize("value", [b"no JSON", b'{"a": 1', b"\xff\xfa", b"\x00", b"nil", b"= &", b"eyJ", b"{"])
def test_value_of_no_known_form_names_no_cause(value: bytes) -> None:
    """A wrong hint would be worse than none."""
    assert "(" not in refused(record(value, headers())).detail


@pytest.mark.parametrize("body", [[EVENT], [[RELEASE_DATA]]])
def test_batch_names_what_to_send(body: object) -> None:
    for given in (record(json.dumps(body).encode(), STRUCTURED), record(json.dumps(body).encode()), binary(body)):
        assert "batches are not accepted: send one record an event" in refused(given).detail


def test_doubly_encoded_json_is_named() -> None:
    """Covers the whole value, and the data in either mode."""
    twice = json.dumps(EVENT).encode()
    for given in (
        record(twice, STRUCTURED),
        record(twice),
        binary(json.dumps(DEPLOYMENT_DATA)),
        structured(json.dumps(DEPLOYMENT_DATA)),
    ):
        assert "it was encoded twice: send the inner one" in refused(given).detail
    encoded = base64.b64encode(json.dumps(dict(RELEASE_DATA)).encode()).decode()
    assert "data_base64" in refused(structured(encoded)).detail


@pytest.mark.parametrize("quote", ['"', "'"])
@pytest.mark.parametrize("name", ["time", "specversion", "type"])
def test_quoted_attribute_is_named(name: str, quote: str) -> None:
    """A JSON serialiser that writes headers adds such quotes."""
    quoted = quote + str(ENVELOPE[name]) + quote
    for invalid in (refused(binary(**{name: quoted.encode()})), refused(structured(**{name: quoted}))):
        assert invalid.detail.startswith(f"{name}: ")
        assert "the value contains quotes" in invalid.detail


@pytest.mark.parametrize(
    ("time", "cause"),
    [
        ("2026-03-01 09:30:00Z", "a blank in place of T"),
        ("2026-03-01T09:30:00", "it has no zone: append Z or an offset"),
        ("2026-03-01T09:30:00.5", "it has no zone"),
        ("2026-03-01T09:30:00+0200", "its offset is not written as +02:00"),
        ("2026-03-01T09:30:00+02", "its offset is not written as +02:00"),
        (" 2026-03-01T09:30:00Z", "blanks around it"),
        ("2026-03-01", "a date without a time"),
        ("1772357400", "it is a number"),
        ("1772357400.25", "it is a number"),
        (1772357400, "it is a number"),
        ("", "it is empty"),
        (" ", "it is empty"),
        ("2026-03-01T09:30Z", "it has no seconds"),
        ("2026-03-01T09:30", "it has no seconds"),
        ("2026-03-01T09:30+02:00", "it has no seconds"),
        ("2016-12-31T23:59:60Z", "leap seconds are not accepted"),
        ("2026-03-01T24:00:00Z", "the hour is 24"),
        ("2026-03-01T09:30:00,5Z", "a comma before the fraction"),
        ("2026-03-01T09:30:00 UTC", "its zone is a name"),
        ("2026-03-01T09:30:00+01:00[Europe/Berlin]", "its zone is a name"),
    ],
)
def test_time_of_another_form_is_named(time: object, cause: str) -> None:
    detail = refused(structured(time=time)).detail
    assert detail.startswith("time: is not ")
    assert cause in detail
    assert ";" not in detail


@pytest.mark.parametrize("filling", ["a", "[", " ", ":", "1", "+00"])
def test_long_text_as_a_time_names_no_cause(filling: str) -> None:
    """A pattern with backtracking would exceed the test's timeout."""
    time = f"2026-03-01T09:30{filling * (1_000_000 // len(filling))}!"
    assert refused(structured(time=time)).detail == "time: is not an RFC 3339 time with a zone"


@pytest.mark.parametrize("name", ["id", "source", "specversion", "type"])
def test_missing_attribute_of_an_undeclared_event_is_named(name: str) -> None:
    event = {key: value for key, value in {**ENVELOPE, "data": RELEASE_DATA}.items() if key != name}
    assert refused(record(json.dumps(event).encode())).detail.endswith(f" (it has no {name})")


@pytest.mark.parametrize("prefix", ["ce-", "Ce-", "cloudEvents:", "cloudEvents_"])
def test_attribute_headers_of_another_protocol_are_named(prefix: str) -> None:
    given = record(json.dumps(RELEASE_DATA).encode(), tuple((f"{prefix}{name}", b"x") for name in ENVELOPE))
    assert "in Kafka they begin with ce_" in refused(given).detail
