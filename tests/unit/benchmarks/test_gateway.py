"""The gateway's benchmark counts what it says, and sends what the gateway accepts."""

import h11
import pytest

from benchmarks.gateway import KINDS, Answers, MakeRequest, forged
from tests.unit.gateway.requests import key
from worker.gateway.credentials import matching_key
from worker.gateway.request_head import RequestHead
from worker.gateway.webhooks import schemes_of


def test_only_accepted_requests_are_timed() -> None:
    answers = Answers()
    for status, taken_ms in [("202", 1.0), ("202", 3.0), ("429", 100.0)]:
        answers.add(status, taken_ms)
    assert answers.line(seconds=2) == "1/s accepted, p50 1.0 ms, p99 3.0 ms (202: 2, 429: 1)"
    assert Answers().line(seconds=1) == ""


@pytest.mark.parametrize("make", [*(make for make, _ in KINDS.values()), forged])
def test_request_is_complete_http(make: MakeRequest) -> None:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(make())
    request = connection.next_event()
    assert isinstance(request, h11.Request)
    while isinstance(event := connection.next_event(), h11.Data):
        pass
    assert isinstance(event, h11.EndOfMessage)


def test_forged_request_matches_no_key() -> None:
    head, _, body = forged().partition(b"\r\n\r\n")
    pairs = [line.split(b": ", 1) for line in head.split(b"\r\n")[1:]]
    fields = RequestHead((name, value) for name, value in pairs)
    assert matching_key(schemes_of("github"), [key("x" * 20)], fields, body, now_seconds=0) is None
