"""Context attributes are sent as CloudEvents writes them, or not at all."""

import pytest

from schemas.context_attributes import attribute_headers, attribute_problems
from tests.unit.schemas.records import ENVELOPE


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("subject", "x"),
        ("dataschema", "https://acme.example/x"),
        ("datacontenttype", "application/json"),
        ("own", ""),
        ("own", "ü 🚀"),
        ("own", True),
        ("own", -(2**31)),
        ("own", 2**31 - 1),
        ("own", None),
        ("0", 0),
        ("averylongattributenamebeyondtwenty", "x"),
    ],
)
def test_valid_attribute_has_no_problem(name: str, value: object) -> None:
    assert attribute_problems({**ENVELOPE, "data": {}, name: value}) == ()


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [
        ("my_own", "x", "is not an attribute name"),
        ("traceParent", "x", "is not an attribute name"),
        ("ce-id", "x", "is not an attribute name"),
        ("größe", "x", "is not an attribute name"),
        ("", "x", "is not an attribute name"),
        ("own", 1.5, "the only types"),
        ("own", {"a": 1}, "the only types"),
        ("own", [1], "the only types"),
        ("own", 2**31, "32 bits"),
        ("own", "a\nb", "control character"),
        ("own", "\x85", "control character"),
        ("own", "\ufffe", "control character"),
        ("subject", 5, "is not a string"),
        ("subject", "", "is empty"),
        ("dataschema", True, "is not a string"),
        ("datacontenttype", "application/cloudevents+json", "CloudEvents type"),
    ],
)
def test_invalid_attribute_is_reported_with_its_problem(name: str, value: object, what: str) -> None:
    (problem,) = attribute_problems({**ENVELOPE, name: value})
    assert problem.startswith(f"{name}: ")
    assert what in problem


def test_headers_have_the_canonical_text_of_each_attribute() -> None:
    event = {"id": "1", "own": True, "other": -7, "team": "ü", "unset": None, "data": {"a": 1}, "data_base64": None}
    assert attribute_headers(event) == (
        ("ce_id", b"1"),
        ("ce_own", b"true"),
        ("ce_other", b"-7"),
        ("ce_team", "ü".encode()),
        ("content-type", b"application/json"),
    )
