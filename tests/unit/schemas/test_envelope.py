"""What the worker writes, anyone can read; what the CloudEvents SDK writes, the worker reads."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings import kafka
from cloudevents.core.v1.event import CloudEvent

from schemas.envelope import write_binary, write_structured
from schemas.incoming import EventData
from schemas.record import Headers
from schemas.types import EventType
from tests.unit.schemas.records import RELEASE_DATA, RELEASE_ID, SUBMITTED, decoded, record

TIME = datetime(2026, 3, 1, 9, 30, 0, 123_456, tzinfo=UTC)
Write = Callable[..., tuple[bytes, Headers]]
WRITERS = [write_binary, write_structured]


def written(write: Write, *, data: object = RELEASE_DATA) -> tuple[bytes, Headers]:
    return write(source="/rudder", id="é-1", type=EventType.RELEASE_SUBMITTED, time=TIME, subject=RELEASE_ID, data=data)


def test_binary_mode_writes_headers_and_data() -> None:
    """As the Kafka binding has it: UTF-8 header values, the data's type as content type."""
    value, headers = written(write_binary, data={"b": 1, "a": "ü"})
    assert value.decode() == '{"b":1,"a":"ü"}'
    assert headers == (
        ("ce_specversion", b"1.0"),
        ("ce_id", "é-1".encode()),
        ("ce_source", b"/rudder"),
        ("ce_type", SUBMITTED.encode()),
        ("ce_time", b"2026-03-01T09:30:00.123456Z"),
        ("ce_subject", RELEASE_ID.encode()),
        ("content-type", b"application/json"),
    )


def test_structured_mode_writes_everything_into_the_value() -> None:
    """As the JSON format has it."""
    value, headers = written(write_structured, data={"b": 1, "a": "ü"})
    assert headers == (("content-type", b"application/cloudevents+json; charset=utf-8"),)
    assert json.loads(value) == {
        "specversion": "1.0",
        "id": "é-1",
        "source": "/rudder",
        "type": SUBMITTED,
        "time": "2026-03-01T09:30:00.123456Z",
        "subject": RELEASE_ID,
        "datacontenttype": "application/json",
        "data": {"b": 1, "a": "ü"},
    }


@pytest.mark.parametrize("write", WRITERS)
def test_model_is_written_as_json_and_read_back(write: Write) -> None:
    """And read back as the same model."""
    data = EventData.model_validate(RELEASE_DATA)
    event = decoded(record(*written(write, data=data)))
    assert (event.id, event.time) == ("é-1", TIME)
    assert event.data.model_dump() == data.model_dump()


@pytest.mark.parametrize("write", WRITERS)
def test_naive_time_is_never_written(write: Write) -> None:
    """It would be another instant to each reader."""
    with pytest.raises(ValueError, match="zone"):
        write(source="s", id="i", type="t", time=TIME.replace(tzinfo=None), subject="x", data={})


@pytest.mark.parametrize("write", WRITERS)
def test_cloudevents_sdk_reads_what_the_worker_writes(write: Write) -> None:
    """Subscribers use the SDK of their language."""
    value, headers = written(write)
    message = kafka.KafkaMessage(headers={name: raw or b"" for name, raw in headers}, key=None, value=value)
    event = kafka.from_kafka_event(message)
    assert (event.get_id(), event.get_source(), event.get_type()) == ("é-1", "/rudder", SUBMITTED)
    assert (event.get_time(), event.get_subject(), event.get_data()) == (TIME, RELEASE_ID, dict(RELEASE_DATA))


@pytest.mark.parametrize("write", [kafka.to_binary_event, kafka.to_structured_event])
@pytest.mark.parametrize("data", [dict(RELEASE_DATA), json.dumps(dict(RELEASE_DATA)).encode()], ids=["object", "bytes"])
@pytest.mark.parametrize("content_type", [{}, {"datacontenttype": "application/json"}], ids=["untyped", "typed"])
def test_worker_reads_what_the_cloudevents_sdk_writes(write: Any, data: Any, content_type: dict[str, str]) -> None:
    """In both modes; data that the SDK got as bytes comes as `data_base64` in structured mode."""
    attributes = {"id": "é-1", "source": "/sdk", "type": SUBMITTED, "time": TIME, "traceparent": "00-1", **content_type}
    message = write(CloudEvent(attributes=attributes, data=data))
    event = decoded(record(message.value, tuple(message.headers.items())))
    assert (event.source, event.id, event.type, event.time) == ("/sdk", "é-1", SUBMITTED, TIME)
    assert event.data.organization_id == "acme"
