"""The records that the worker publishes: topics, keys, headers, and the same ids on every repeat."""

import json
from dataclasses import replace
from hashlib import sha256
from typing import Any, Literal

import pytest

from schemas.event import Event, Invalid
from schemas.reasons import Reason
from schemas.record import Headers, Record
from schemas.trace_context import TraceContext
from schemas.types import EventType as E
from tests.unit.rules.release_scenario import SOURCE, Scenario, applied, duplicate, fields, message, release_id
from worker.pipeline.outgoing import OutgoingRecords, Topics
from worker.ports import OutgoingRecord
from worker.rules.message import Message
from worker.rules.state import Outcome

TOPICS = Topics(deployment_status="out.deployments", release_status="out.releases", dead_letters="out.dead")
RECORD = Record(
    topic="in",
    partition=3,
    offset=41,
    timestamp_ms=1_772_357_400_123,
    key=b"\xff key",
    value=b"\x00 not JSON",
    headers=(("a", b"1"), ("a", None), ("rudder-redrive", b"\xff")),
)
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
INVALID = Invalid(reason=Reason.MALFORMED_JSON, detail="/data/größe: falsch", source=SOURCE, id="x")


def outgoing(mode: Literal["binary", "structured"] = "binary") -> OutgoingRecords:
    return OutgoingRecords(topics=TOPICS, content_mode=mode, source="urn:rudder", worker="rudder-worker/1 host")


def sent(scenario: Scenario, kind: E, **more: Any) -> tuple[Outcome, tuple[OutgoingRecord, ...]]:
    outcome = scenario.add(kind, **more)
    return outcome, outgoing().of(outcome, scenario.messages[-1], attempts=1)


def headers(outgoing_record: OutgoingRecord) -> dict[str, bytes | None]:
    names = [name for name, _ in outgoing_record.headers]
    assert len(set(names)) == len(names)
    return dict(outgoing_record.headers)


def test_status_events_go_to_their_topics_in_order() -> None:
    """A release is created before its deployment, and changes its status after it."""
    outcome, published = sent(Scenario(), E.DEPLOYMENT_STARTED, block=fields())
    assert [outgoing_record.topic for outgoing_record in published] == [
        "out.releases",
        "out.deployments",
        "out.releases",
    ]
    ids = [str(activity.id).encode() for activity in applied(outcome).activities]
    assert [headers(outgoing_record)["ce_id"] for outgoing_record in published] == ids


def test_state_follows_its_status_events() -> None:
    """Keyed by release and environment; its own id, and no headers of the publishing span."""
    scenario = Scenario()
    with_states = replace(outgoing(), topics=replace(TOPICS, deployment_state="out.states"))
    outcome = scenario.add(E.DEPLOYMENT_STARTED, id="x", block=fields())
    *events, state = with_states.of(
        outcome, scenario.messages[-1], attempts=1, trace_headers=(("traceparent", TRACEPARENT.encode()),)
    )
    assert "out.states" not in {event.topic for event in events}
    key = f"{release_id()}/prod".encode()
    deployment = applied(outcome).activities[1]
    assert (state.topic, state.key, state.shorter) == ("out.states", key, None)
    assert headers(state) == {
        "ce_specversion": b"1.0",
        "ce_id": f"{deployment.id}/state".encode(),
        "ce_source": b"urn:rudder",
        "ce_type": b"dev.rudder.deployment.state.v1",
        "ce_time": b"2026-03-01T09:30:00.000000Z",
        "ce_subject": key,
        "content-type": b"application/json",
    }
    again = scenario.world.take(scenario.messages[-1])
    assert with_states.of(again, scenario.messages[-1], attempts=1)[-1] == state
    scenario.add(E.DEPLOYMENT_SUCCEEDED)
    again = scenario.world.take(scenario.messages[0])
    assert [one.topic for one in with_states.of(again, scenario.messages[0], attempts=1)] == [
        event.topic for event in events
    ]


def traced(kind: E, trace: TraceContext) -> Message:
    plain = message(kind, id="traced", at=9, offset=9)
    assert isinstance(plain.content, Event)
    return replace(plain, content=replace(plain.content, trace=trace))


def test_status_events_are_keyed_by_release() -> None:
    """Lower-case UUID text, whatever key the input had: that is what keeps a release's events in order."""
    scenario = Scenario()
    scenario.add(E.DEPLOYMENT_STARTED, release_id="ABCDEF00-0000-0000-0000-00000000000F", block=fields())
    message = scenario.messages[-1]
    message = replace(message, record=replace(message.record, key=None))
    published = outgoing().of(scenario.world.take(message), message, attempts=1)
    assert {outgoing_record.key for outgoing_record in published} == {b"abcdef00-0000-0000-0000-00000000000f"}


def test_binary_status_event_has_its_attributes_in_headers() -> None:
    """The headers have the attributes, and the value is the data alone."""
    outcome, (_, published, _) = sent(Scenario(), E.DEPLOYMENT_SUCCEEDED, id="x", at=5, block=fields())
    assert headers(published) == {
        "ce_specversion": b"1.0",
        "ce_id": str(applied(outcome).activities[1].id).encode(),
        "ce_source": b"urn:rudder",
        "ce_type": b"dev.rudder.deployment.status_changed.v1",
        "ce_time": b"2026-03-01T09:35:00.000000Z",
        "ce_subject": str(release_id()).encode(),
        "content-type": b"application/json",
    }
    assert published.value is not None
    data = json.loads(published.value)
    assert (data["previous_status"], data["status"], data["attempt"]) == (None, "SUCCESS", 1)
    assert (data["deployed_at"], data["deployed_by"]) == ("2026-03-01T09:35:00.000000Z", None)
    assert data["cause"] == {
        "source": SOURCE,
        "id": "x",
        "type": "dev.rudder.deployment.succeeded.v1",
        "time": "2026-03-01T09:35:00.000000Z",
    }


def test_structured_status_event_has_the_same_content() -> None:
    """The same attributes and data, one content type, the same topics and keys."""
    scenario = Scenario()
    outcome, binary = sent(scenario, E.DEPLOYMENT_SUCCEEDED, block=fields())
    structured = outgoing("structured").of(outcome, scenario.messages[-1], attempts=1)
    assert len(structured) == len(binary) == 3
    for one, other in zip(structured, binary, strict=True):
        assert (one.topic, one.key) == (other.topic, other.key)
        assert one.headers == (("content-type", b"application/cloudevents+json; charset=utf-8"),)
        assert one.value is not None
        assert other.value is not None
        envelope = json.loads(one.value)
        assert envelope.pop("data") == json.loads(other.value)
        assert envelope.pop("datacontenttype") == "application/json"
        assert envelope == {
            name.removeprefix("ce_"): (text or b"").decode() for name, text in other.headers if name.startswith("ce_")
        }


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_status_events_carry_the_trace_context_of_their_cause(mode: Literal["binary", "structured"]) -> None:
    """As extension attributes, and again byte for byte where the event is repeated with another context."""
    scenario = Scenario()
    _, plain = sent(scenario, E.DEPLOYMENT_STARTED, id="x", block=fields())
    first = traced(E.DEPLOYMENT_SUCCEEDED, TraceContext(TRACEPARENT, "ci=1"))
    published = outgoing(mode).of(scenario.handle(first), first, attempts=1)
    again = traced(E.DEPLOYMENT_SUCCEEDED, TraceContext(TRACEPARENT[:-1] + "0"))
    assert outgoing(mode).of(scenario.handle(again), again, attempts=2) == published
    for one in published:
        given = headers(one) if mode == "binary" else json.loads(one.value or b"")
        assert given["ce_traceparent" if mode == "binary" else "traceparent"] in {TRACEPARENT, TRACEPARENT.encode()}
        assert given["ce_tracestate" if mode == "binary" else "tracestate"] in {"ci=1", b"ci=1"}
    assert not any("trace" in name for one in plain for name, _ in one.headers)


def test_trace_headers_are_added_to_status_events_alone() -> None:
    """A dead letter has its record's headers. The shorter form has the same ones."""
    added: Headers = (("traceparent", TRACEPARENT.encode()),)
    scenario = Scenario()
    first = message(E.DEPLOYMENT_STARTED, block=fields(), comment="long")
    outcome = scenario.handle(first)
    plain = outgoing().of(outcome, first, attempts=1)
    headed = outgoing().of(outcome, first, attempts=1, trace_headers=added)
    assert [one.headers for one in headed] == [(*one.headers, *added) for one in plain]
    assert [one.shorter().headers[-1:] for one in headed if one.shorter] == [added, added]
    rejected = message(E.RELEASE_REJECTED, id="y", offset=1)
    outcome = scenario.handle(rejected)
    assert outgoing().of(outcome, rejected, attempts=1, trace_headers=added) == outgoing().of(
        outcome, rejected, attempts=1
    )


def test_duplicate_of_an_applied_event_publishes_the_same_bytes() -> None:
    """A crash may have come between commit and publish; subscribers deduplicate by the id."""
    scenario = Scenario()
    _, first = sent(scenario, E.DEPLOYMENT_STARTED, id="x", block=fields())
    scenario.add(E.DEPLOYMENT_SUCCEEDED)
    outcome, again = sent(scenario, E.DEPLOYMENT_STARTED, id="x", at=99, block=fields())
    duplicate(outcome)
    assert again == first


def test_stale_event_and_its_duplicate_publish_nothing() -> None:
    """No status changed."""
    scenario = Scenario.of_approved_release()
    for _ in range(2):
        assert sent(scenario, E.RELEASE_APPROVED, id="x")[1] == ()


def test_activity_and_its_duplicate_publish_nothing() -> None:
    """An activity has no status event and no dead letter."""
    scenario = Scenario.of_approved_release()
    for _ in range(2):
        assert sent(scenario, E.ACTIVITY_RECORDED, id="x")[1] == ()


def test_dead_letter_keeps_the_record_and_adds_the_reason() -> None:
    """Key, value and headers untouched, repeated and empty ones too; then the worker's own."""
    scenario = Scenario()
    message = Message(record=RECORD, content=INVALID)
    (letter,) = outgoing().of(scenario.handle(message), message, attempts=4)
    assert (letter.topic, letter.key, letter.value) == ("out.dead", RECORD.key, RECORD.value)
    own = letter.headers[len(RECORD.headers) :]
    assert letter.headers[: len(RECORD.headers)] == RECORD.headers
    assert dict(own) == {
        "rudder-id": str(message.id).encode(),
        "rudder-reason": b"malformed_json",
        "rudder-detail": "/data/größe: falsch".encode(),
        "rudder-topic": b"in",
        "rudder-partition": b"3",
        "rudder-offset": b"41",
        "rudder-timestamp": b"1772357400123",
        "rudder-attempts": b"4",
        "rudder-worker": b"rudder-worker/1 host",
    }


def test_dead_letter_of_a_tombstone_has_no_value() -> None:
    """A missing value or key stays missing."""
    message = Message(record=replace(RECORD, key=None, value=None), content=INVALID)
    (letter,) = outgoing().of(Scenario().handle(message), message, attempts=1)
    assert (letter.key, letter.value) == (None, None)


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_duplicate_of_a_rejection_has_the_same_dead_letter(mode: Literal["binary", "structured"]) -> None:
    """The row gives the same id and reason, even if the event were valid now; a dead letter has no content mode."""
    scenario = Scenario()
    letters: list[OutgoingRecord] = []
    for _ in range(2):
        outcome = scenario.add(E.RELEASE_SUBMITTED, id="x", at=1)
        letters += outgoing(mode).of(outcome, scenario.messages[-1], attempts=1)
        scenario.add(E.RELEASE_CREATED)
    first, again = (headers(letter) for letter in letters)
    assert first.pop("rudder-offset") == b"0"
    assert again.pop("rudder-offset") == b"2"
    assert first == again
    assert first["rudder-reason"] == b"release_not_found"


def test_rejected_redrive_has_a_dead_letter_with_the_same_id() -> None:
    """The dead letter has the reason of the latest decision."""
    scenario = Scenario()
    redrive: Headers = (("rudder-redrive", b"1"),)
    _, (first,) = sent(scenario, E.RELEASE_APPROVED, id="x")
    scenario.add(E.RELEASE_CREATED)
    _, (again,) = sent(scenario, E.RELEASE_APPROVED, id="x", headers=redrive)
    assert headers(again)["rudder-id"] == headers(first)["rudder-id"]
    assert headers(again)["rudder-reason"] == b"invalid_transition"
    assert headers(again)["rudder-redrive"] == b"1"


def shorter(outgoing_record: OutgoingRecord) -> OutgoingRecord:
    assert outgoing_record.shorter is not None
    return outgoing_record.shorter()


def test_dead_letter_without_value_has_its_length_and_digest() -> None:
    """Key and headers stay; the record itself is still at its topic, partition and offset."""
    message = Message(record=RECORD, content=INVALID)
    (whole,) = outgoing().of(Scenario().handle(message), message, attempts=4)
    short = shorter(whole)
    assert (short.topic, short.key, short.value) == (whole.topic, RECORD.key, None)
    assert short.headers[: len(whole.headers)] == whole.headers
    assert dict(short.headers[len(whole.headers) :]) == {
        "rudder-value-omitted": b"10",
        "rudder-value-sha256": sha256(b"\x00 not JSON").hexdigest().encode(),
    }


@pytest.mark.parametrize("key", [b"k" * 1_000, b"k" * 1_000_000, None])
def test_shortest_dead_letter_is_small(key: bytes | None) -> None:
    """A key or headers of a megabyte must not block the partition either."""
    record = replace(RECORD, key=key, headers=tuple((f"h{n}", b"v" * 1_000) for n in range(1_000)))
    message = Message(record=record, content=replace(INVALID, detail="d" * 4_000))
    (whole,) = outgoing().of(Scenario().handle(message), message, attempts=4)
    without_headers = shorter(shorter(whole))
    assert without_headers.key == (None if key is None or len(key) > 1_024 else key)
    shortest = shorter(without_headers) if without_headers.shorter is not None else without_headers
    assert shortest.shorter is None
    assert shortest.key is None
    assert sum(len(name) + len(raw or b"") for name, raw in shortest.headers) < 1_500
    added = headers(shortest)
    assert added["rudder-headers-omitted"] == b"1000"
    assert added.get("rudder-key-omitted") == (str(len(key)).encode() if key else None)
    assert (added["rudder-offset"], added["rudder-value-omitted"]) == (b"41", b"10")


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_status_event_that_is_too_large_omits_its_comment(mode: Literal["binary", "structured"]) -> None:
    """The shorter form has `comment_omitted` and is otherwise equal; an event without a comment has none."""
    scenario = Scenario()
    outcome = scenario.add(E.DEPLOYMENT_STARTED, block=fields(), comment="long " * 1_000)
    _, deployment, moved = outgoing(mode).of(outcome, scenario.messages[-1], attempts=1)
    assert moved.shorter is None
    short = shorter(deployment)
    assert short.headers == deployment.headers
    assert short.key == deployment.key
    before, after = (json.loads(one.value or b"") for one in (deployment, short))
    data_before, data_after = (one if mode == "binary" else one.pop("data") for one in (before, after))
    assert data_after == {**data_before, "comment": None, "comment_omitted": True}
    assert short.shorter is None
    if mode == "structured":
        assert after == before
