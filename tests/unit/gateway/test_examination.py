"""Whatever a client sends is accepted or refused with a problem; nothing else can happen."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.adapters.foreign import Adapted, ForeignEvent, NoInterest
from schemas.adapters.recognition import ADAPTERS
from schemas.event import Event
from tests.unit.gateway.requests import head
from worker.gateway.examination import (
    EventLimits,
    Examined,
    ForeignCloudEvent,
    adapted_webhook,
    examine_events,
    examine_webhook,
)
from worker.gateway.http_binding import BATCH, STRUCTURED, KafkaEvent, kafka_events
from worker.gateway.problems import Kind, Refusal
from worker.gateway.request_head import RequestHead
from worker.gateway.webhooks import project_of, record_headers
from worker.rules.allowed_sources import AllowedSources

PAYLOADS = Path(__file__).parents[2] / "payloads"
LIMITS = EventLimits(bytes_max=100_000, ahead_seconds_max=86_400, sources=None)
NOW_MS = 1_774_346_400_000
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "1",
    "source": "/ci",
    "type": "dev.rudder.deployment.succeeded.v1",
    "data": {
        "release_id": "0b6f1a52-5a4e-4c7f-9a34-0a6b3a0f5c11",
        "organization_id": "acme",
        "environment_id": "production",
    },
}
CONTENT_TYPES = st.sampled_from([STRUCTURED, BATCH, "application/json", "text/plain", ""]) | st.text(max_size=10)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ATTRIBUTES = st.sampled_from([*EVENT, "time", "subject", "traceparent", "datacontenttype", "Extension", "a-b"])
EVENTS = st.dictionaries(ATTRIBUTES, JSON, max_size=4).map(lambda changes: {**EVENT, **changes})
BODIES = (
    st.binary(max_size=50)
    | JSON.map(lambda value: json.dumps(value).encode())
    | EVENTS.map(lambda event: json.dumps(event).encode())
    | st.lists(EVENTS, max_size=3).map(lambda events: json.dumps(events).encode())
)
HEADERS = st.dictionaries(ATTRIBUTES, st.binary(max_size=10) | st.just(b"1.0"), max_size=5)


def examined(fields: Sequence[tuple[bytes, bytes]], body: bytes) -> Sequence[Examined] | Refusal:
    try:
        return examine_events(kafka_events(RequestHead(fields), body), LIMITS, now_ms=NOW_MS)
    except Refusal as refusal:
        return refusal


def webhook(name: str, body: bytes) -> Adapted | Refusal | None:
    try:
        content = examine_webhook(head(content_type="application/json"), body)
        return adapted_webhook(name, record_headers(name, head()), body, content)
    except Refusal as refusal:
        return refusal


def structured(event: Mapping[str, Any], *, limits: EventLimits = LIMITS) -> Sequence[Examined]:
    return examine_events(
        [KafkaEvent(value=json.dumps(event).encode(), headers=(("content-type", STRUCTURED.encode()),))],
        limits,
        now_ms=NOW_MS,
    )


def refused(event: Mapping[str, Any], *, limits: EventLimits = LIMITS) -> Refusal:
    with pytest.raises(Refusal) as caught:
        structured(event, limits=limits)
    return caught.value


@given(content_type=CONTENT_TYPES, attributes=HEADERS, body=BODIES)
@example(content_type="application/json", attributes={"traceparent": b"\xff"}, body=json.dumps(EVENT["data"]).encode())
def test_any_request_is_accepted_or_refused(content_type: str, attributes: dict[str, bytes], body: bytes) -> None:
    given_attributes = {"specversion": "1.0", "id": "1", "source": "/ci", "type": EVENT["type"]} if attributes else {}
    fields = [(b"content-type", content_type.encode())]
    fields += [
        (f"ce-{name}".encode(), value.encode()) for name, value in given_attributes.items() if name not in attributes
    ]
    fields += [(f"ce-{name}".encode(), value) for name, value in attributes.items()]
    found = examined(fields, body)
    if isinstance(found, Refusal):
        assert found.detail.isprintable()
    else:
        assert all(isinstance(one, Event | ForeignCloudEvent) for one in found)


@given(body=BODIES, name=st.sampled_from(sorted(ADAPTERS)))
def test_any_webhook_is_accepted_or_refused(body: bytes, name: str) -> None:
    found = webhook(name, body)
    if isinstance(found, Refusal):
        assert found.kind in {Kind.MALFORMED_JSON, Kind.INVALID_DATA, Kind.UNSUPPORTED_TYPE}
    else:
        assert isinstance(found, ForeignEvent | NoInterest)


@pytest.mark.parametrize(
    "path",
    sorted(path for path in PAYLOADS.glob("git*/**/*.json") if not path.name.endswith(".headers.json")),
    ids=lambda path: str(path.relative_to(PAYLOADS)),
)
def test_recorded_webhook_is_accepted(path: Path) -> None:
    """With its body alone, as after a proxy that drops headers."""
    name, body = path.relative_to(PAYLOADS).parts[0], path.read_bytes()
    assert isinstance(webhook(name, body), ForeignEvent | NoInterest)
    assert project_of(name, json.loads(body)) is not None


def test_problem_of_an_event_has_its_pointer() -> None:
    refusal = refused({**EVENT, "data": {**EVENT["data"], "release_id": "7", "environment_id": ""}})
    assert refusal.kind is Kind.INVALID_DATA
    assert [fault.pointer for fault in refusal.errors] == ["/data/release_id", "/data/environment_id"]


@pytest.mark.parametrize(
    ("change", "kind", "pointer"),
    [
        ({"id": ""}, Kind.NOT_A_CLOUDEVENT, "/id"),
        ({"type": "x"}, Kind.UNSUPPORTED_TYPE, "/type"),
        ({"Extension": "x"}, Kind.NOT_A_CLOUDEVENT, ""),
        ({"subject": ""}, Kind.NOT_A_CLOUDEVENT, "/subject"),
        ({"time": "2099-01-01T00:00:00Z"}, Kind.INVALID_DATA, "/time"),
        ({"data": None}, Kind.INVALID_DATA, "/data"),
        ({"data": {"text": "x" * 100_000}}, Kind.TOO_LARGE, ""),
    ],
)
def test_wrong_event_is_refused(change: dict[str, Any], kind: Kind, pointer: str) -> None:
    refusal = refused({**EVENT, **change})
    assert (refusal.kind, refusal.errors[0].pointer) == (kind, pointer)


def test_source_that_is_not_allowed_is_refused() -> None:
    limits = EventLimits(
        bytes_max=100_000, ahead_seconds_max=0, sources=AllowedSources.of({"acme": ["/ci"], "closed": []})
    )
    assert isinstance(structured(EVENT, limits=limits)[0], Event)
    refusal = refused({**EVENT, "source": "/other"}, limits=limits)
    assert (refusal.kind, refusal.errors[0].pointer) == (Kind.SOURCE_NOT_ALLOWED, "/source")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml"])
def test_webhook_of_another_content_type_is_refused(content_type: str) -> None:
    with pytest.raises(Refusal) as caught:
        examine_webhook(head(content_type=content_type), b"{}")
    assert caught.value.kind is Kind.UNSUPPORTED_MEDIA_TYPE


@pytest.mark.parametrize(
    "body",
    [
        {"context": {}, "data": {"body": {"repository": {"full_name": "victim/shop"}}}},
        {"body": '{"repository": {"full_name": "victim/shop"}}', "headers": {}},
    ],
)
def test_wrapped_body_is_refused(body: dict[str, Any]) -> None:
    """It would be read as another repository's than the one that its key was checked for."""
    with pytest.raises(Refusal) as refused:
        adapted_webhook("github", (), json.dumps(body).encode(), body)
    assert refused.value.kind is Kind.INVALID_DATA
