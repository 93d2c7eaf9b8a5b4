"""The CloudEvents HTTP binding, read, and the Kafka binding, written: an event says the same in both."""

import json

import pytest
from cloudevents.core.bindings import http as sdk
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from schemas.envelope import STRUCTURED_CONTENT_TYPE
from tests.unit.gateway.requests import head
from worker.gateway.http_binding import (
    BATCH,
    BATCH_EVENTS_MAX,
    STRUCTURED,
    Mode,
    attribute_headers,
    content_mode,
    kafka_events,
)
from worker.gateway.problems import Kind, Refusal
from worker.gateway.request_head import RequestHead

EVENT = {"specversion": "1.0", "id": "1", "source": "/ci", "type": "t", "data": {"a": [1, "ü"]}}
STRUCTURED_HEADERS = (("content-type", STRUCTURED_CONTENT_TYPE.encode()),)


@pytest.mark.parametrize(
    ("headers", "mode"),
    [
        ({"content-type": STRUCTURED}, Mode.STRUCTURED),
        ({"content-type": "Application/CloudEvents+JSON; charset=UTF-8"}, Mode.STRUCTURED),
        ({"content-type": BATCH}, Mode.BATCHED),
        ({"content-type": "application/json", "ce-id": "1"}, Mode.BINARY),
        ({"content-type": "application/vnd.acme+json", "ce-id": "1"}, Mode.BINARY),
        ({"ce-id": "1"}, Mode.BINARY),
        ({"content-type": "application/json"}, Mode.STRUCTURED),
        ({"content-type": STRUCTURED, "ce-id": "1"}, Mode.STRUCTURED),
    ],
)
def test_content_type_decides_the_mode(headers: dict[str, str], mode: Mode) -> None:
    assert content_mode(head(headers)) is mode


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": ""},
        {"content-type": "text/plain", "ce-id": "1"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/cloudevents+avro"},
        {"content-type": "application/cloudevents-batch+xml"},
        {"content-type": f"{STRUCTURED}; charset=utf-16"},
        {"content-type": f"{BATCH}; charset=latin-1"},
    ],
)
def test_other_content_type_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Refusal) as refused:
        content_mode(head(headers))
    assert refused.value.kind is Kind.UNSUPPORTED_MEDIA_TYPE


def test_structured_event_is_not_changed() -> None:
    body = b' {"specversion" : "1.0", "a":1e2}\n'
    [event] = kafka_events(head(content_type=STRUCTURED), body)
    assert (event.value, event.headers, event.pointer) == (body, STRUCTURED_HEADERS, "")


def test_binary_event_has_its_attributes_as_headers() -> None:
    headers = {
        "CE-SpecVersion": "1.0",
        "ce-id": "1",
        "ce-source": "/ci",
        "ce-type": "t",
        "ce-datacontenttype": "text/plain",
        "content-type": "application/json",
        "accept": "*/*",
        "authorization": "Bearer x",
    }
    [event] = kafka_events(head(headers), b'{"a": 1}')
    assert event.value == b'{"a": 1}'
    assert event.headers == (
        ("ce_specversion", b"1.0"),
        ("ce_id", b"1"),
        ("ce_source", b"/ci"),
        ("ce_type", b"t"),
        ("content-type", b"application/json"),
    )


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        ("plain", "plain"),
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ('"quoted"', "quoted"),
        (r'"a \"b\" \\c"', 'a "b" \\c'),
        ("100%2525", "100%25"),
        ("100%", "100%"),
        ('"', '"'),
        ("", ""),
    ],
)
def test_attribute_is_decoded_once(sent: str, text: str) -> None:
    """The first example is the specification's."""
    assert attribute_headers(head({"ce-x": sent})) == (("ce_x", text.encode()),)


@given(
    text=st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1).filter(lambda text: text == text.strip())
)
def test_attribute_of_the_sdk_is_read(text: str) -> None:
    """Whatever the official SDK writes into a header is what it was given."""
    event = CloudEvent({"id": "1", "source": "/ci", "type": "t", "subject": text}, {})
    message = sdk.to_binary(event, JSONFormat())
    assert dict(attribute_headers(head(message.headers)))["ce_subject"] == text.encode()


def test_batch_is_one_structured_record_an_event() -> None:
    body = json.dumps([EVENT, {**EVENT, "id": "2"}], ensure_ascii=False).encode()
    events = kafka_events(head(content_type=BATCH), body)
    assert [json.loads(event.value)["id"] for event in events] == ["1", "2"]
    assert [event.pointer for event in events] == ["/0", "/1"]
    assert {event.headers for event in events} == {STRUCTURED_HEADERS}
    assert json.loads(events[0].value) == EVENT


def test_empty_batch_has_no_event() -> None:
    assert kafka_events(head(content_type=BATCH), b"[]") == ()


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", Kind.MALFORMED_JSON),
        (b"[", Kind.MALFORMED_JSON),
        (b'[{"a": NaN}]', Kind.MALFORMED_JSON),
        (b"[" * 100_000, Kind.MALFORMED_JSON),
        (b'{"specversion": "1.0"}', Kind.NOT_A_CLOUDEVENT),
        (b"[1, {}]", Kind.NOT_A_CLOUDEVENT),
        (b"[" + b"1," * 500_000 + b"1]", Kind.TOO_LARGE),
        (json.dumps([EVENT] * (BATCH_EVENTS_MAX + 1)).encode(), Kind.TOO_LARGE),
    ],
)
def test_batch_that_is_none_is_refused(body: bytes, kind: Kind) -> None:
    with pytest.raises(Refusal) as refused:
        kafka_events(head(content_type=BATCH), body)
    assert refused.value.kind is kind


def test_repeated_attribute_is_refused() -> None:
    with pytest.raises(Refusal, match="ce-id"):
        attribute_headers(RequestHead([(b"ce-id", b"1"), (b"CE-ID", b"1")]))
