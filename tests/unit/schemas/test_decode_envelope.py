"""The detail of an invalid envelope names the attribute, and the readable attributes are kept."""

import json
from uuid import UUID

import pytest

from schemas.decode import decode
from schemas.event import Invalid
from schemas.reasons import Reason
from schemas.record import Headers
from tests.unit.schemas.records import (
    ENVELOPE,
    RELEASE_DATA,
    RELEASE_ID,
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


def value(**changes: object) -> bytes:
    return json.dumps({**ENVELOPE, "data": RELEASE_DATA, **changes}).encode()


def without(name: str) -> bytes:
    event = {**ENVELOPE, "data": RELEASE_DATA}
    del event[name]
    return json.dumps(event).encode()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("id", ""),
        ("id", "i" * 256),
        ("id", "🚢" * 128),
        ("id", "a\x00b"),
        ("id", "a\nb"),
        ("id", "a\x7fb"),
        ("id", "a\x85b"),
        ("source", ""),
        ("source", "s" * 1025),
        ("type", ""),
        ("type", "t" * 256),
        ("specversion", ""),
        ("specversion", "0.3"),
        ("specversion", "1.0.2"),
        ("time", ""),
        ("time", "yesterday"),
        ("time", "2026-03-01T09:30:00"),
        ("time", "0000-03-01T09:30:00Z"),
        ("time", "9999-03-01T09:30:00Z"),
    ],
)
def test_invalid_attribute_is_refused_in_both_modes(name: str, text: str) -> None:
    """The detail names the attribute, and the others are still read."""
    for given in (binary(**{name: text.encode()}), structured(**{name: text})):
        invalid = refused(given)
        assert invalid.reason is Reason.NOT_A_CLOUDEVENT
        assert invalid.detail.startswith(f"{name}: is ") or invalid.detail.startswith(f"{name}: has ")
        assert (invalid.source is None) == (invalid.id is None) == (name in {"id", "source"})
        assert (invalid.type is None) == (name == "type")
        assert (invalid.time is None) == (name == "time")
        assert invalid.release_id == UUID(RELEASE_ID)


@pytest.mark.parametrize("text", ["i" * 255, "🚢" * 127 + "x", "a b", "ü\u00ad"])
def test_id_may_be_any_text_up_to_255_units(text: str) -> None:
    """Up to 255 UTF-16 units, blanks and format characters included."""
    assert decoded(binary(id=text.encode())).id == decoded(structured(id=text)).id == text


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
def test_missing_attribute_is_refused(name: str) -> None:
    """The attribute is omitted, or null, which means unset in JSON."""
    for given in (binary(**{name: None}), record(without(name), STRUCTURED), structured(**{name: None})):
        invalid = refused(given)
        assert (invalid.reason, invalid.detail) == (Reason.NOT_A_CLOUDEVENT, f"{name}: is missing")


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type", "time", "datacontenttype"])
@pytest.mark.parametrize("broken", [1, 1.0, True, [], {}])
def test_attribute_of_the_wrong_type_is_refused(name: str, broken: object) -> None:
    """The number 1.0 is not the text "1.0"."""
    invalid = refused(structured(**{name: broken}))
    assert invalid.reason is Reason.NOT_A_CLOUDEVENT
    assert invalid.detail.startswith(f"{name}: ")


@pytest.mark.parametrize(
    ("extra", "detail"),
    [
        ((("ce_id", b"run-2"),), "id: the header ce_id is repeated with another value"),
        ((("ce_id", b"run-1"), ("CE_ID", b"run-2")), "id: the header ce_id is repeated with another value"),
        ((("ce_x", b"1"), ("ce_x", b"2"), ("ce_x", b"2")), "x: the header ce_x is repeated with another value"),
        ((("ce_subject", b"\xff"),), "subject: is not UTF-8"),
        ((("content-type", b"text/json"),), "content-type: the header is repeated with another value"),
        (
            (("content-type", b"application/cloudevents+json"),),
            "content-type: the header is repeated with another value",
        ),
    ],
)
def test_repeated_or_unreadable_header_is_refused(extra: Headers, detail: str) -> None:
    """The intended one of two values is unknown."""
    invalid = refused(record(DATA, (*headers(), *extra)))
    assert (invalid.reason, invalid.detail) == (Reason.NOT_A_CLOUDEVENT, detail)


@pytest.mark.parametrize(
    "extra",
    [
        (("ce_id", b"run-1"),),
        (("CE_ID", b"run-1"), ("ce_id", b"run-1")),
        (("ce_traceparent", b"1"), ("ce_traceparent", b"1")),
        (("Content-Type", b"application/json"),),
        headers(),
    ],
)
def test_repeated_equal_headers_count_once(extra: Headers) -> None:
    """Bridges and proxies of producers write such headers."""
    assert decode(record(DATA, (*headers(), *extra))) == decode(record(DATA, headers()))


@pytest.mark.parametrize("times", [1, 2])
def test_repeated_id_is_no_identity(times: int) -> None:
    """No id is used, neither the first nor the last, whatever the record's size."""
    given = record(DATA, (*headers(), *[("ce_id", b"run-2")] * times))
    for bytes_max in (1, 1_000_000):
        invalid = decode(given, bytes_max=bytes_max)
        assert isinstance(invalid, Invalid)
        assert (invalid.source, invalid.id, invalid.type) == (None, None, SUBMITTED)


def test_unreadable_content_type_is_refused() -> None:
    """The content mode of the record is unknown."""
    assert refused(record(value(), (("content-type", b"\xff"),))).detail == "content-type: is not UTF-8"


def test_one_ce_header_makes_the_mode_binary() -> None:
    """Then the value is data, whatever it looks like."""
    invalid = refused(record(value(), (("ce_subject", b"x"),)))
    assert invalid.reason is Reason.NOT_A_CLOUDEVENT
    assert "id: is missing" in invalid.detail


def test_data_beside_base64_data_is_refused() -> None:
    """The intended one of the two is unknown."""
    invalid = refused(structured(data_base64="e30="))
    assert (invalid.reason, invalid.detail) == (
        Reason.NOT_A_CLOUDEVENT,
        "data_base64: is present beside data, send only one",
    )
    assert invalid.release_id == UUID(RELEASE_ID)
