"""Problem details: one kind has one status, and what the answer says is printable and bounded."""

import json
from http import HTTPStatus

import pytest

from schemas.reasons import Reason
from worker.gateway.problems import MEDIA_TYPE, STATUSES, Fault, Kind, Refusal, answer, faults_of, kind_of


@pytest.mark.parametrize("kind", Kind)
def test_kind_has_a_status_and_a_document(kind: Kind) -> None:
    response = answer(Refusal(kind, "what\nis wrong"))
    assert response.status_code == STATUSES[kind] >= 400
    assert response.headers["content-type"] == MEDIA_TYPE
    assert json.loads(bytes(response.body)) == {
        "type": f"urn:rudder:problem:{kind}",
        "title": HTTPStatus(response.status_code).phrase,
        "status": response.status_code,
        "detail": "what\\u000ais wrong",
    }


@pytest.mark.parametrize(
    ("kind", "header"),
    [
        (Kind.UNAUTHENTICATED, "www-authenticate"),
        (Kind.TOO_MANY_REQUESTS, "retry-after"),
        (Kind.UNAVAILABLE, "retry-after"),
        (Kind.UNSUPPORTED_MEDIA_TYPE, "accept-encoding"),
        (Kind.TIMEOUT, "connection"),
    ],
)
def test_status_has_the_header_that_it_requires(kind: Kind, header: str) -> None:
    assert header in answer(Refusal(kind, "x")).headers


def test_method_that_is_allowed_is_named() -> None:
    assert answer(Refusal(Kind.METHOD_NOT_ALLOWED, "x"), allow="POST").headers["allow"] == "POST"


def test_cause_and_key_are_not_in_the_answer() -> None:
    response = answer(Refusal(Kind.UNAVAILABLE, "x", key="acme", cause="broker 10.0.0.1:9092"))
    assert b"acme" not in response.body
    assert b"9092" not in response.body


def test_errors_have_pointers() -> None:
    refusal = Refusal(Kind.INVALID_DATA, "x", errors=[Fault(pointer="/data/a", detail="is missing")])
    assert json.loads(bytes(answer(refusal).body))["errors"] == [{"pointer": "/data/a", "detail": "is missing"}]


@pytest.mark.parametrize(
    ("detail", "within", "faults"),
    [
        ("/data/a: is missing", "", [("/data/a", "is missing")]),
        ("/data/a: is x; or y; /data/b: z", "/3", [("/3/data/a", "is x; or y"), ("/3/data/b", "z")]),
        ("id: is missing; source: is empty", "", [("/id", "is missing"), ("/source", "is empty")]),
        ("not JSON at character 3: x", "", [("", "not JSON at character 3: x")]),
        ("the value is not an object", "/0", [("/0", "the value is not an object")]),
    ],
)
def test_detail_is_divided_at_its_pointers(detail: str, within: str, faults: list[tuple[str, str]]) -> None:
    assert [(fault.pointer, fault.detail) for fault in faults_of(detail, within=within)] == faults


def test_reasons_of_decoding_are_kinds() -> None:
    for reason in (Reason.MALFORMED_JSON, Reason.NOT_A_CLOUDEVENT, Reason.UNSUPPORTED_TYPE, Reason.TOO_LARGE):
        assert kind_of(reason) == reason.value
    assert kind_of(Reason.ATTEMPT_GAP) is Kind.INVALID_DATA
