"""In a valid envelope, the type, the data's JSON and the data's schema are checked in this order."""

import base64
import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from schemas.reasons import Reason
from schemas.record import Record
from tests.unit.schemas.records import (
    DEPLOYMENT_DATA,
    ENVELOPE,
    RELEASE_DATA,
    RELEASE_FIELDS,
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


def without(name: str) -> bytes:
    event = {**ENVELOPE, "data": RELEASE_DATA}
    del event[name]
    return json.dumps(event).encode()


@pytest.mark.parametrize(
    "type_", ["com.example.other", SUBMITTED.replace(".v1", ".v2"), SUBMITTED.upper(), SUBMITTED + " "]
)
def test_unknown_types_and_versions_are_unsupported(type_: str) -> None:
    """The type is compared exactly; the identity of the event is kept."""
    for given in (binary(type=type_.encode()), structured(type=type_)):
        invalid = refused(given)
        assert (invalid.reason, invalid.type) == (Reason.UNSUPPORTED_TYPE, type_)
        assert (invalid.id, invalid.time, invalid.release_id) == ("run-1", TIME, UUID(RELEASE_ID))


def test_first_problem_decides_the_reason() -> None:
    """The envelope is checked before the type, and the type before the data."""
    assert refused(binary([], type=b"x", time=b"x")).reason is Reason.NOT_A_CLOUDEVENT
    assert refused(binary([], type=b"x")).reason is Reason.UNSUPPORTED_TYPE
    assert refused(record(b"{", headers(type=b"x"))).reason is Reason.UNSUPPORTED_TYPE
    assert refused(record(b"{", headers(time=b"x"))).reason is Reason.NOT_A_CLOUDEVENT


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(DATA[:-1], id="truncated"),
        pytest.param(b'{"actor": "\xff"}', id="not UTF-8"),
        pytest.param(b'{"actor": NaN}', id="NaN"),
        pytest.param(b'{"actor": "a", "actor": "b"}', id="duplicate names"),
        pytest.param(b'{"actor": "\\ud800"}', id="lone surrogate"),
        pytest.param(DEEP, id="100,000 levels"),
        pytest.param(b" ", id="blank"),
        pytest.param(b'{"attempt": ' + b"9" * 5000 + b"}", id="endless integer"),
    ],
)
def test_malformed_data_keeps_the_identity(broken: bytes) -> None:
    """The identity comes from the headers in binary mode, and from the envelope of base64 data in structured mode."""
    encoded = base64.b64encode(broken).decode()
    for given in (record(broken, headers()), structured(None, data_base64=encoded)):
        invalid = refused(given)
        assert invalid.reason is Reason.MALFORMED_JSON
        assert (invalid.source, invalid.id, invalid.type, invalid.time) == (
            "https://ci.example.com",
            "run-1",
            SUBMITTED,
            TIME,
        )


@pytest.mark.parametrize(
    ("given", "detail"),
    [
        pytest.param(record(None, headers()), "/data: is missing", id="binary tombstone"),
        pytest.param(record(b"", headers()), "/data: is missing", id="binary empty value"),
        pytest.param(binary(None), "/data: Input should be an object", id="binary null"),
        pytest.param(binary([]), "/data: Input should be an object", id="array"),
        pytest.param(structured("{}"), "/data: Input should be an object", id="text"),
        pytest.param(structured(None), "/data: is missing or null", id="structured null"),
        pytest.param(record(without("data"), STRUCTURED), "/data: is missing or null", id="structured without data"),
        pytest.param(structured(None, data_base64="a"), "/data_base64: is empty or not base64", id="bad base64"),
        pytest.param(
            structured(None, data_base64="é"), "/data_base64: is empty or not base64", id="base64 of no ASCII"
        ),
        pytest.param(
            structured(None, data_base64="e3!0="),
            "/data_base64: is empty or not base64",
            id="base64 with a stranger",
        ),
        pytest.param(structured(None, data_base64=""), "/data_base64: is empty or not base64", id="empty base64"),
        pytest.param(structured(None, data_base64=5), "/data_base64: is empty or not base64", id="base64 number"),
        pytest.param(structured(datacontenttype="text/xml"), "/datacontenttype: is not a JSON media type", id="XML"),
        pytest.param(
            structured(datacontenttype=""), "/datacontenttype: is not a JSON media type", id="empty data type"
        ),
        pytest.param(
            record(b"\x00", (*headers()[:-1], ("content-type", b"application/avro"))),
            "/datacontenttype: is not a JSON media type",
            id="binary Avro",
        ),
    ],
)
def test_data_that_is_not_an_object_is_invalid(given: Record, detail: str) -> None:
    """The detail has the place, and the identity is kept."""
    invalid = refused(given)
    assert (invalid.reason, invalid.detail.split(" (")[0], invalid.id) == (Reason.INVALID_DATA, detail, "run-1")


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"release_id": "release-7"}, "/data/release_id"),
        ({"organization_id": 5}, "/data/organization_id"),
        ({"organization_id": "o" * 256}, "/data/organization_id"),
        ({"environment_id": "🚢" * 128}, "/data/environment_id"),
        ({"attempt": 0}, "/data/attempt"),
        ({"attempt": 2**63}, "/data/attempt"),
        ({"attempt": "1"}, "/data/attempt"),
        ({"release": {}}, "/data/release/project_id"),
        ({"comment": "a\0b"}, "/data/comment"),
        ({"api_settings": {"colour/~": {"a": ["\0"]}}}, "/data/api_settings/colour~1~0/a/0"),
        ({"api_settings": {"bad\0name": 1}}, "/data/api_settings/bad\\u0000name"),
    ],
)
def test_invalid_data_has_a_json_pointer(change: dict[str, object], pointer: str) -> None:
    """Holds in both modes; the whole identity is kept."""
    data = {**DEPLOYMENT_DATA, **change}
    for given in (binary(data, type=STARTED.encode()), structured(data, type=STARTED)):
        invalid = refused(given)
        assert invalid.reason is Reason.INVALID_DATA
        assert invalid.detail.startswith(f"{pointer}: ")
        assert (invalid.source, invalid.id, invalid.type, invalid.time) == (
            "https://ci.example.com",
            "run-1",
            STARTED,
            TIME,
        )
        assert (invalid.release_id is None) == ("release_id" in change)


@pytest.mark.parametrize("unknown", [{"colour": "a\0b"}, {"a\0b": 1}, {"colour": {"a\0b": ["\0"]}}])
def test_unknown_fields_may_hold_anything(unknown: dict[str, object]) -> None:
    """Tolerant reader: unknown fields in input data are ignored, inside the release block as well."""
    block = {**RELEASE_FIELDS, **unknown}
    for data in ({**DEPLOYMENT_DATA, **unknown}, {**DEPLOYMENT_DATA, "release": block}):
        for given in (binary(data, type=STARTED.encode()), structured(data, type=STARTED)):
            assert decoded(given).type == STARTED


def test_many_problems_make_a_bounded_detail() -> None:
    """The detail lists ten problems and counts the others."""
    release: dict[str, object] = {"apim_base_revisions": [{}] * 1000}
    detail = refused(structured({**DEPLOYMENT_DATA, "release": release}, type=STARTED)).detail
    assert detail.count("; ") == 10
    assert detail.endswith("… and 3996 more")
    nul = "\0" * 50
    detail = refused(structured({**DEPLOYMENT_DATA, "api_settings": {nul: [nul] * 3000}}, type=STARTED)).detail
    assert len(detail) <= 1000
    assert detail.count(": contains U+0000") + int(detail.split(" ")[-2]) == 3001


def test_detail_escapes_and_cuts_quoted_input() -> None:
    """Details are written to logs and headers."""
    for given in (
        structured(type="x" * 200),
        structured({**RELEASE_DATA, "organization_id": "x" * 300}),
        structured({**DEPLOYMENT_DATA, "api_settings": {"x" * 300: "\0"}}, type=STARTED),
        record(DATA, (*headers(), ("ce_" + "x" * 300, b"\xff"))),
        record(DATA, (*headers(), ("ce_a\nb\ud800", b"\xff"))),
    ):
        detail = refused(given).detail
        assert "x" * 101 not in detail
        assert detail.isprintable()
        detail.encode()
