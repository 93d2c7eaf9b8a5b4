"""No finding without proof: records in flight, deleted records, and the order between partitions."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count

import pytest

from schemas.types import EventType as E
from tests.unit.rules.release_scenario import REDRIVE, TOPIC, fields
from tests.unit.verify.handled_events import EXTENTS, HandledEvents, checked, findings, only, position, without_activity
from worker.verify.findings import Kind
from worker.verify.history import Extents


def test_record_in_flight_without_an_effect_is_pending() -> None:
    """Not lost: the worker may not have begun it."""
    before = HandledEvents.of_approved_release().history(committed=3)
    events = HandledEvents.of_approved_release()
    events.add(E.DEPLOYMENT_REQUESTED)
    history = replace(events.history(committed=3), rows=before.rows, statuses=before.statuses)
    result = checked(history)
    assert (result.findings, result.pending) == ([], 1)
    assert only(replace(events.history(), rows=before.rows, statuses=before.statuses)).kind is Kind.LOST


def test_record_in_flight_need_not_be_published() -> None:
    events = HandledEvents.of_deployed_release()
    history = events.history(committed=4)
    result = checked(replace(history, statuses=history.statuses[:5]))
    assert (result.findings, result.pending) == ([], 0)
    assert history.rows is not None
    [row] = history.rows.deployments
    changed = replace(history, rows=replace(history.rows, deployments=({**row, "status": "FAILED"},)))
    assert only(changed).kind is Kind.CONTRADICTORY


def test_rejection_in_flight_may_be_incomplete() -> None:
    """A row without its dead letter, or a redrive that resolved it after the activities were read."""
    events = HandledEvents()
    events.add(E.RELEASE_SUBMITTED, id="x")
    assert findings(replace(events.history(committed=0), dead_letters=())) == []
    events.add(E.RELEASE_CREATED)
    before = events.history()
    events.add(E.RELEASE_SUBMITTED, id="x", headers=REDRIVE)
    after = events.history(committed=2)
    assert findings(replace(after, rows=before.rows, statuses=before.statuses)) == []


def test_release_with_deleted_records_is_partly_checked() -> None:
    """Activities of deleted records are counted; the other records need an activity or a rejection."""
    events = HandledEvents.with_a_rejection()
    history = events.history()
    gone = replace(history, inputs=history.inputs[2:])
    extents = Extents(begins={(TOPIC, 0): 2, (TOPIC, 1): 0})
    result = checked(gone, extents)
    assert (result.findings, result.unverifiable) == ([], 2)
    found = only(replace(without_activity(gone, "e4"), statuses=()), replace(extents, trimmed=_everything()))
    assert (found.kind, found.position) == (Kind.LOST, position(4))


def test_redrive_of_a_deleted_rejected_record_has_no_findings() -> None:
    """The rejection remains; a repeat before the redrive is its duplicate."""
    events = HandledEvents()
    events.add(E.RELEASE_SUBMITTED, id="x")
    events.add(E.RELEASE_CREATED)
    events.add(E.RELEASE_SUBMITTED, id="x")
    events.add(E.RELEASE_SUBMITTED, id="x", headers=REDRIVE)
    history = events.history()
    letters = tuple(dead_letter for dead_letter in history.dead_letters if dead_letter.original != position(0))
    gone = replace(history, inputs=history.inputs[1:], dead_letters=letters)
    assert findings(gone, Extents(begins={(TOPIC, 0): 1, (TOPIC, 1): 0})) == []
    assert findings(gone) != []


def test_outputs_are_checked_where_records_are_deleted() -> None:
    """By the activities and the rejections."""
    events = HandledEvents.with_a_rejection()
    history = events.history()
    gone = replace(history, inputs=history.inputs[2:])
    extents = Extents(begins={(TOPIC, 0): 2, (TOPIC, 1): 0})
    assert only(replace(gone, dead_letters=()), extents).kind is Kind.LOST
    found = only(replace(gone, statuses=tuple(one for one in gone.statuses if one != gone.statuses[4])), extents)
    assert found.kind is Kind.LOST


def test_activity_of_an_unread_topic_is_unverifiable() -> None:
    """A topic that was an input topic before."""
    history = HandledEvents.of_deployed_release().history()
    result = checked(replace(history, inputs=()), Extents(begins={("another", 0): 0}))
    assert (result.findings, result.unverifiable) == ([], len(history.activities))


def test_activity_of_a_nonexistent_partition_is_invented() -> None:
    history = HandledEvents.of_deployed_release().history()
    found = findings(replace(history, inputs=()), Extents(begins={(TOPIC, 7): 0}))
    assert {one.kind for one in found} >= {Kind.INVENTED}


def test_release_that_keeps_changing_is_not_decided() -> None:
    history = HandledEvents.of_deployed_release().history()
    assert history.rows is not None
    restless = replace(history, rows=replace(history.rows, deployments=(), settled=False))
    result = checked(restless)
    assert (result.findings, result.unverifiable) == ([], 1)


def two_partitions(events: HandledEvents) -> None:
    """A release whose events alternate between two partitions."""
    events.add(E.RELEASE_CREATED, partition=1)
    events.add(E.RELEASE_SUBMITTED)
    events.add(E.RELEASE_APPROVED, partition=1)
    events.add(E.DEPLOYMENT_REQUESTED)
    events.add(E.DEPLOYMENT_REQUESTED, partition=1)
    events.add(E.DEPLOYMENT_STARTED)
    events.add(E.DEPLOYMENT_FAILED, partition=1)


def with_a_rejection_between(events: HandledEvents) -> None:
    events.add(E.RELEASE_CREATED, partition=1)
    events.add(E.RELEASE_APPROVED)
    events.add(E.RELEASE_SUBMITTED, partition=1)
    events.add(E.RELEASE_APPROVED)


def with_a_repeat_across(events: HandledEvents) -> None:
    """The event's second record, by partition and offset, took effect."""
    events.add(E.DEPLOYMENT_REQUESTED, block=fields(), partition=1, id="x")
    events.add(E.DEPLOYMENT_REQUESTED, block=fields(), id="x", at=0)
    events.add(E.DEPLOYMENT_STARTED)


def with_a_rejected_repeat_across(events: HandledEvents) -> None:
    events.add(E.RELEASE_APPROVED, partition=1, id="x")
    events.add(E.RELEASE_CREATED)
    events.add(E.RELEASE_SUBMITTED)
    events.add(E.RELEASE_APPROVED, id="x", at=0)


def with_an_ambiguous_order(events: HandledEvents) -> None:
    """Two late events fit at any place; only the later events decide the order."""
    events.add(E.DEPLOYMENT_REQUESTED, block=fields(), at=10)
    events.add(E.DEPLOYMENT_STARTED, at=20, partition=1)
    events.add(E.ACTIVITY_RECORDED, at=0, environment_id="prod")
    events.add(E.DEPLOYMENT_SUCCEEDED, at=5)
    events.add(E.DEPLOYMENT_FAILED, at=6, partition=1)
    events.add(E.DEPLOYMENT_FAILED, at=30)


SEQUENCES = (
    two_partitions,
    with_a_rejection_between,
    with_a_repeat_across,
    with_a_rejected_repeat_across,
    with_an_ambiguous_order,
)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda sequence: sequence.__name__)
def test_activities_order_records_of_two_partitions(sequence: Callable[[HandledEvents], None], backwards: bool) -> None:
    """Whatever the records' timestamps are."""
    events = HandledEvents()
    sequence(events)
    times = count(1_000, -1) if backwards else count()
    events.messages = [
        replace(one, record=replace(one.record, timestamp_ms=time))
        for one, time in zip(events.messages, times, strict=False)
    ]
    assert findings(events.history()) == []


def test_lost_record_does_not_hide_the_order_of_two_partitions() -> None:
    events = HandledEvents()
    two_partitions(events)
    found = only(without_activity(events.history(), "e3"))
    assert (found.kind, found.position) == (Kind.LOST, position(1))


def test_activities_without_a_possible_order_are_contradictory() -> None:
    """The search is bounded."""
    events = HandledEvents()
    two_partitions(events)
    history = events.history()
    swapped = tuple(
        replace(one, message=replace(one.message, record=replace(one.message.record, offset=3 - one.position.offset)))
        if one.position.partition == 1
        else one
        for one in history.inputs
    )
    found = findings(replace(history, inputs=tuple(sorted(swapped, key=lambda one: one.position))))
    assert {one.kind for one in found} & {Kind.CONTRADICTORY, Kind.LOST}
    assert EXTENTS.readable(position(0))


def _everything() -> frozenset[str]:
    return frozenset({"deployment-status", "release-status", "dead-letters"})
