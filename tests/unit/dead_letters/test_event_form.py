"""A rejected event as people see it: in one form whatever its content mode, with the faulty members marked."""

import json

import pytest

from schemas.record import Headers, Record
from worker.dead_letters.event_form import event_of, marked_lines

STRUCTURED: Headers = (("Content-Type", b"application/cloudevents+json"),)
BINARY: Headers = (("ce_id", b"7"), ("CE_source", b"/ci"), ("content-type", b"application/json"))


def record(value: bytes | None, headers: Headers = ()) -> Record:
    return Record(topic="events", partition=0, offset=0, timestamp_ms=0, key=None, value=value, headers=headers)


def test_event_has_one_form_in_both_modes() -> None:
    """Attributes of headers beside the data; a structured event as it is, also where headers repeat its attributes."""
    binary = event_of(record(b'{"attempt": 1}', BINARY))
    assert binary == {"id": "7", "source": "/ci", "datacontenttype": "application/json", "data": {"attempt": 1}}
    whole = {"id": "7", "data": {"attempt": 1}}
    assert event_of(record(json.dumps(whole).encode(), STRUCTURED)) == whole
    assert event_of(record(json.dumps(whole).encode(), (*STRUCTURED, *BINARY[:2]))) == whole


@pytest.mark.parametrize("value", [None, b"", b"{", b"[1]", b'"text"', b'{"a": 1, "a": 2}', b"\xff", b"[" * 100_000])
def test_other_values_are_no_event(value: bytes | None) -> None:
    assert event_of(record(value)) is None


def test_pointers_of_the_detail_are_marked() -> None:
    """Also in arrays, with escaped names, and, of members that are missing, at the object that lacks them."""
    event = {"time": "2099", "data": {"a/b": {"~": 1}, "list": [{"x": 1}, {"y": []}], "empty": {}}}
    problems = ["/data/a~1b/~0: is wrong", "/data/list/1/x: is missing", "/data/gone/deep: is missing", "time: is late"]
    lines = marked_lines(event, "; ".join([*problems, "… and 3 more"]))
    marked = {line.text.strip(): line.problem for line in lines if line.problem}
    assert marked == {
        '"~": 1': problems[0],
        "{": problems[1],
        '"data": {': problems[2],
        '"time": "2099",': problems[3],
    }
    assert json.loads("".join(line.text for line in lines)) == event


@pytest.mark.parametrize("detail", ["", ": ", "the release does not exist", "/: x", "//: x", "/data/: x", "nope: x"])
def test_any_detail_is_printed(detail: str) -> None:
    """Of a rule instead of a member, or of a program version that wrote it in another way."""
    event = {"data": {"": 1}}
    assert json.loads("".join(line.text for line in marked_lines(event, detail))) == event
