"""The status topics and the dead letters, compared with the activities and the rejections."""

from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from schemas.event import Event
from schemas.trace_context import TraceContext
from schemas.types import EventType as E
from tests.unit.rules.release_scenario import REDRIVE, message
from tests.unit.verify.handled_events import (
    EXTENTS,
    TOPICS,
    HandledEvents,
    activity_of,
    checked,
    findings,
    only,
    position,
    statuses_of,
    with_activities,
)
from worker.pipeline.dead_letter import VALUE_SHA256, contents_of
from worker.verify.findings import Kind
from worker.verify.history import History, StatusRecord

TRACE = TraceContext("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "ci=1")
DEPLOYMENTS, RELEASES, DEAD_LETTERS = TOPICS.deployment_status, TOPICS.release_status, TOPICS.dead_letters


def with_statuses(history: History, topic: str, *statuses: StatusRecord) -> History:
    """The history with these in the topic, at offsets from 0."""
    others = [status for status in history.statuses if status.position.topic != topic]
    placed = [replace(status, position=position(offset, topic=topic)) for offset, status in enumerate(statuses)]
    return replace(history, statuses=(*others, *placed))


def with_data(status: StatusRecord, /, **data: Any) -> StatusRecord:
    return replace(status, content={**status.content, "data": {**status.content["data"], **data}})


def test_status_event_without_its_release_version_is_contradictory() -> None:
    """Its activity has one, so no earlier program version published it."""
    history = HandledEvents.of_deployed_release().history()
    first, second, third = statuses_of(history, DEPLOYMENTS)
    data = {name: value for name, value in second.content["data"].items() if name not in {"release_version", "release"}}
    changed = replace(second, content={**second.content, "data": data})
    found = only(with_statuses(history, DEPLOYMENTS, first, changed, third))
    assert (found.kind, found.position) == (Kind.CONTRADICTORY, position(1, topic=DEPLOYMENTS))


def test_trace_context_of_a_status_event_is_its_causes() -> None:
    events = HandledEvents.of_approved_release()
    plain = message(E.DEPLOYMENT_STARTED, id="traced", at=9, offset=3)
    assert isinstance(plain.content, Event)
    events.handle(replace(plain, content=replace(plain.content, trace=TRACE)))
    history = events.history()
    assert findings(history) == []
    [started] = statuses_of(history, DEPLOYMENTS)
    assert started.content["trace"] == TRACE
    changed = replace(started, content={**started.content, "trace": None})
    assert only(with_statuses(history, DEPLOYMENTS, changed)).kind is Kind.CONTRADICTORY


def test_missing_status_event_is_lost() -> None:
    """The finding names the record that caused the change, and its activity."""
    history = HandledEvents.of_deployed_release().history()
    first, second, third = statuses_of(history, DEPLOYMENTS)
    found = only(with_statuses(history, DEPLOYMENTS, first, third))
    assert (found.kind, found.position, found.row) == (Kind.LOST, position(4), activity_of(history, "e4").id)
    assert second.id in found.expected
    assert DEPLOYMENTS in found.expected


def test_equal_repeats_are_no_finding() -> None:
    """Delivery is at least once; a stalled worker may also repeat events after later ones."""
    history = HandledEvents.of_deployed_release().history()
    first, second, third = statuses_of(history, DEPLOYMENTS)
    assert findings(with_statuses(history, DEPLOYMENTS, first, first, second, first, third, second)) == []


@pytest.mark.parametrize(
    "data",
    [{"status": "FAILED"}, {"comment": "x"}, {"attempt": 2}, {"more": 1}, {"release_version": None}, {"release": None}],
)
def test_different_repeat_is_contradictory(data: dict[str, Any]) -> None:
    """The finding names the repeat, and both contents."""
    history = HandledEvents.of_deployed_release().history()
    first, second, third = statuses_of(history, DEPLOYMENTS)
    found = only(with_statuses(history, DEPLOYMENTS, first, second, third, with_data(second, **data)))
    assert (found.kind, found.position) == (Kind.CONTRADICTORY, position(3, topic=DEPLOYMENTS))
    [(name, value)] = data.items()
    assert found.found == f"{name} {value}"


@pytest.mark.parametrize("part", ["type", "time", "key", "trace"])
def test_status_event_with_another_envelope_is_contradictory(part: str) -> None:
    """With another key than the release's, its events would have no order."""
    history = HandledEvents.of_deployed_release().history()
    first, second, third = statuses_of(history, DEPLOYMENTS)
    odd = replace(second, content={**second.content, part: "x"})
    found = only(with_statuses(history, DEPLOYMENTS, first, odd, third))
    assert (found.kind, found.position, found.found) == (
        Kind.CONTRADICTORY,
        position(1, topic=DEPLOYMENTS),
        f"{part} x",
    )


def test_swapped_status_events_are_out_of_order() -> None:
    history = HandledEvents.of_deployed_release().history()
    first, second, third = statuses_of(history, DEPLOYMENTS)
    found = only(with_statuses(history, DEPLOYMENTS, second, first, third))
    assert (found.kind, found.position) == (Kind.OUT_OF_ORDER, position(1, topic=DEPLOYMENTS))
    assert second.id in found.expected


def test_status_event_without_an_activity_is_invented() -> None:
    history = HandledEvents.of_deployed_release().history()
    known = statuses_of(history, DEPLOYMENTS)
    found = only(with_statuses(history, DEPLOYMENTS, *known, replace(known[0], id=str(uuid4()))))
    assert (found.kind, found.position) == (Kind.INVENTED, position(3, topic=DEPLOYMENTS))


def test_status_event_in_the_wrong_topic_is_invented() -> None:
    history = HandledEvents.of_deployed_release().history()
    known = statuses_of(history, RELEASES)
    found = only(with_statuses(history, RELEASES, *known, statuses_of(history, DEPLOYMENTS)[0]))
    assert (found.kind, found.position) == (Kind.INVENTED, position(len(known), topic=RELEASES))


def test_status_event_of_another_source_is_ignored() -> None:
    """Unless it has an activity's id."""
    history = HandledEvents.of_deployed_release().history()
    known = statuses_of(history, DEPLOYMENTS)
    foreign = replace(known[0], id="theirs", own=False)
    assert findings(with_statuses(history, DEPLOYMENTS, *known, foreign)) == []
    forged = replace(with_data(known[0], status="FAILED"), own=False)
    assert only(with_statuses(history, DEPLOYMENTS, *known, forged)).kind is Kind.CONTRADICTORY


def test_edited_activity_adds_no_finding_for_its_status_event() -> None:
    """The status event has the content of the activity before it was edited."""
    history = HandledEvents.of_deployed_release().history()
    edited = activity_of(history, "e4")
    changed = with_activities(history, lambda e: replace(e, activity_data="x") if e.id == edited.id else e)
    assert only(changed).row == edited.id


def test_two_input_partitions_have_no_order_of_status_events() -> None:
    """Two workers may have handled them."""
    events = HandledEvents.of_approved_release()
    events.add(E.DEPLOYMENT_REQUESTED)
    events.add(E.DEPLOYMENT_STARTED, partition=1)
    history = events.history()
    first, second = statuses_of(history, DEPLOYMENTS)
    assert findings(with_statuses(history, DEPLOYMENTS, second, first)) == []


def test_missing_status_event_of_a_trimmed_topic_is_counted() -> None:
    """Retention or compaction may have deleted it; the remaining records are checked."""
    history = HandledEvents.of_deployed_release().history()
    first, _, third = statuses_of(history, DEPLOYMENTS)
    trimmed = replace(EXTENTS, trimmed=frozenset({DEPLOYMENTS}))
    result = checked(with_statuses(history, DEPLOYMENTS, third), trimmed)
    assert (result.findings, result.unverifiable) == ([], 2)
    found = only(with_statuses(history, DEPLOYMENTS, with_data(third, status="FAILED")), trimmed)
    assert found.kind is Kind.CONTRADICTORY
    assert only(with_statuses(history, RELEASES, *statuses_of(history, RELEASES)[1:]), trimmed).kind is Kind.LOST
    assert first.id != third.id


def test_repeat_in_a_trimmed_topic_is_not_out_of_order() -> None:
    """The first publication may have been deleted, and only its repeat remain."""
    history = HandledEvents.of_deployed_release().history()
    first, second, third = statuses_of(history, DEPLOYMENTS)
    trimmed = replace(EXTENTS, trimmed=frozenset({DEPLOYMENTS}))
    result = checked(with_statuses(history, DEPLOYMENTS, third, first, second), trimmed)
    assert (result.findings, result.unverifiable) == ([], 2)


def test_missing_dead_letter_is_lost() -> None:
    history = HandledEvents.with_a_rejection().history()
    found = only(replace(history, dead_letters=()))
    assert (found.kind, found.position, found.row) == (Kind.LOST, position(6), history.inputs[6].id)
    assert found.expected == "a dead letter, invalid_transition"
    trimmed = checked(replace(history, dead_letters=()), replace(EXTENTS, trimmed=frozenset({DEAD_LETTERS})))
    assert (trimmed.findings, trimmed.unverifiable) == ([], 1)


def test_each_rejection_of_a_redriven_event_needs_a_dead_letter() -> None:
    """The row has the last rejection only; two records have dead letters."""
    events = HandledEvents()
    events.add(E.RELEASE_SUBMITTED, id="x")
    events.add(E.RELEASE_SUBMITTED, id="x", headers=REDRIVE)
    history = events.history()
    first, second = history.dead_letters
    for kept, missed in ((first, second), (second, first)):
        found = only(replace(history, dead_letters=(kept,)))
        assert (found.kind, found.position) == (Kind.LOST, missed.original)


def test_dead_letter_of_a_repeat_is_optional() -> None:
    events = HandledEvents.with_a_rejection()
    events.add(E.RELEASE_REJECTED, id="e6")
    history = events.history()
    assert len(history.dead_letters) == 2
    assert findings(replace(history, dead_letters=history.dead_letters[:1])) == []


def test_dead_letter_with_another_reason_is_contradictory() -> None:
    history = HandledEvents.with_a_rejection().history()
    [dead_letter] = history.dead_letters
    odd = replace(dead_letter, position=position(9, topic=DEAD_LETTERS), reason="attempt_gap")
    found = only(replace(history, dead_letters=(dead_letter, odd)))
    assert (found.kind, found.position, found.found) == (Kind.CONTRADICTORY, odd.position, "attempt_gap")


def test_dead_letter_unlike_its_record_is_contradictory() -> None:
    history = HandledEvents.with_a_rejection().history()
    [dead_letter] = history.dead_letters
    found = only(replace(history, dead_letters=(replace(dead_letter, matches_record=False),)))
    assert (found.kind, found.position) == (Kind.CONTRADICTORY, dead_letter.position)


def test_dead_letter_of_an_applied_record_is_invented() -> None:
    history = HandledEvents.with_a_rejection().history()
    [dead_letter] = history.dead_letters
    odd = replace(
        dead_letter, rejection_id=history.inputs[4].id, original=position(4), position=position(1, topic=DEAD_LETTERS)
    )
    found = only(replace(history, dead_letters=(dead_letter, odd)))
    assert (found.kind, found.position) == (Kind.INVENTED, odd.position)


def test_status_event_without_its_comment_is_no_finding() -> None:
    """The broker refused it as too large. Only an event with a comment can omit it."""
    events = HandledEvents.of_approved_release()
    events.add(E.DEPLOYMENT_STARTED, comment="long")
    history = events.history()
    first, *others = statuses_of(history, DEPLOYMENTS)
    without = with_data(first, comment=None, comment_omitted=True)
    assert findings(with_statuses(history, DEPLOYMENTS, without, *others)) == []
    no_comment = HandledEvents.of_deployed_release().history()
    first, *others = statuses_of(no_comment, DEPLOYMENTS)
    assert only(with_statuses(no_comment, DEPLOYMENTS, with_data(first, comment_omitted=True), *others)).kind == (
        Kind.CONTRADICTORY
    )


@pytest.mark.parametrize("times", [1, 2])
def test_shorter_dead_letter_of_the_same_record_is_no_finding(times: int) -> None:
    """The broker refused the whole one as too large. A wrong digest is a finding."""
    events = HandledEvents.with_a_rejection()
    [whole] = [one for one in events.published if one.topic == DEAD_LETTERS]
    record = events.messages[-1].record
    form = contents_of(record)[times]
    added = whole.headers[len(record.headers) :]
    short = replace(whole, key=form.key, value=None, headers=(*form.headers, *added, *form.omissions))
    events.published[events.published.index(whole)] = short
    assert findings(events.history()) == []
    other = tuple((name, b"0" * 64 if name == VALUE_SHA256 else raw) for name, raw in short.headers)
    events.published[events.published.index(short)] = replace(short, headers=other)
    assert only(events.history()).kind == Kind.CONTRADICTORY
