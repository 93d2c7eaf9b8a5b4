"""Rule 1: a known event is a duplicate for ever; only a redrive decides a rejected event again."""

from dataclasses import replace

import pytest

from schemas.event import Invalid
from schemas.reasons import Reason
from schemas.record import Headers
from schemas.types import EventType as E
from tests.unit.rules.release_scenario import (
    REDRIVE,
    SOURCE,
    TOPIC,
    Scenario,
    applied,
    duplicate,
    fields,
    message,
    minute,
    rejected,
    release_id,
    stale,
)
from worker.rules.decide import decide
from worker.rules.message import Message
from worker.rules.rows import Rejection
from worker.rules.state import FirstUse, Rejected, State


def test_duplicate_of_an_applied_event_changes_nothing() -> None:
    """The outcome has the entries of the event, in their order."""
    scenario = Scenario()
    activities = applied(scenario.add(E.DEPLOYMENT_REQUESTED, id="x", block=fields())).activities
    before = scenario.world.tables()
    again = duplicate(scenario.add(E.DEPLOYMENT_REQUESTED, id="x", block=fields()))
    assert len(activities) == 3
    assert (again.activities, again.rejection) == (activities, None)
    assert scenario.world.tables() == before


def test_duplicate_of_a_stale_event_changes_nothing() -> None:
    """A stale event has a log entry, so it is known."""
    scenario = Scenario.of_approved_release()
    activity = stale(scenario.add(E.RELEASE_APPROVED, id="x"))
    before = scenario.world.tables()
    assert duplicate(scenario.add(E.RELEASE_APPROVED, id="x")).activities == (activity,)
    assert scenario.world.tables() == before


def test_duplicate_of_a_rejected_event_changes_nothing() -> None:
    """The outcome has the rejection."""
    scenario = Scenario()
    rejection = rejected(scenario.add(E.RELEASE_SUBMITTED, id="x"), Reason.RELEASE_NOT_FOUND)
    scenario.add(E.RELEASE_CREATED)
    before = scenario.world.tables()
    again = duplicate(scenario.add(E.RELEASE_SUBMITTED, id="x"))
    assert (again.activities, again.rejection) == ((), rejection)
    assert scenario.world.tables() == before


def test_duplicate_is_recognised_by_source_and_id_only() -> None:
    """An event with another type, release or time and the same source and id is a duplicate."""
    scenario = Scenario.of_approved_release()
    activities = applied(scenario.add(E.DEPLOYMENT_REQUESTED, id="x")).activities
    assert duplicate(scenario.add(E.RELEASE_CREATED, id="x", release=2, at=99)).activities == activities


@pytest.mark.parametrize("loaded", [False, True])
def test_reused_identity_names_the_first_type_and_release(loaded: bool) -> None:
    """`identity_reused`: from the entries as they were written, and as a database gives them back."""
    scenario = Scenario.of_approved_release()
    scenario.add(E.DEPLOYMENT_STARTED, id="x")
    if loaded:
        scenario.world.activities = {
            key: replace(activity, payload=None) for key, activity in scenario.world.activities.items()
        }
    first = FirstUse(type=E.DEPLOYMENT_STARTED, release_id=release_id())
    assert duplicate(scenario.add(E.DEPLOYMENT_SUCCEEDED, id="x")).reused == first
    assert duplicate(scenario.add(E.DEPLOYMENT_STARTED, id="x", release=2)).reused == first
    assert duplicate(scenario.add(E.DEPLOYMENT_STARTED, id="x", at=50, comment="another")).reused is None


def test_reused_identity_of_a_rejection_names_the_first() -> None:
    """The same for a rejected event, whose columns name both."""
    scenario = Scenario()
    rejected(scenario.add(E.DEPLOYMENT_STARTED, id="x"), Reason.RELEASE_NOT_FOUND)
    first = FirstUse(type=E.DEPLOYMENT_STARTED, release_id=release_id())
    assert duplicate(scenario.add(E.DEPLOYMENT_SUCCEEDED, id="x")).reused == first
    assert duplicate(scenario.add(E.DEPLOYMENT_STARTED, id="x", release=2)).reused == first
    assert duplicate(scenario.add(E.DEPLOYMENT_STARTED, id="x")).reused is None


@pytest.mark.parametrize("text", ["{", "[]", '{"event": 5}', '{"event": {"type": null}}', '"' + "x" * 99])
def test_reused_identity_of_an_edited_activity_names_no_type(text: str) -> None:
    """An unreadable entry is not compared, and raises no error."""
    scenario = Scenario.of_approved_release()
    activities = applied(scenario.add(E.DEPLOYMENT_STARTED, id="x")).activities
    edited = replace(activities[0], payload=None, activity_data=text)
    sent = message(E.DEPLOYMENT_SUCCEEDED, id="x")
    assert duplicate(decide(State(activities=(edited,)), sent)).reused is None


def test_invalid_duplicate_is_no_reused_identity() -> None:
    """Its type and release are not known."""
    scenario = Scenario.of_approved_release()
    scenario.add(E.DEPLOYMENT_STARTED, id="x")
    broken = Invalid(reason=Reason.MALFORMED_JSON, detail="wrong", source=SOURCE, id="x")
    assert (
        duplicate(scenario.handle(Message(record=message(E.DEPLOYMENT_STARTED).record, content=broken))).reused is None
    )


def test_same_id_from_another_source_is_another_event() -> None:
    """The identity is the pair of source and id."""
    scenario = Scenario.of_approved_release()
    scenario.add(E.DEPLOYMENT_REQUESTED, id="x")
    applied(scenario.add(E.DEPLOYMENT_STARTED, id="x", source="https://other.example.com"))
    assert scenario.statuses() == ["IN_PROGRESS"]


def test_invalid_event_with_a_known_identity_is_a_duplicate() -> None:
    """The first event's outcome is unchanged, though this copy is invalid."""
    scenario = Scenario.of_approved_release()
    activities = applied(scenario.add(E.DEPLOYMENT_REQUESTED, id="x")).activities
    record = message(E.DEPLOYMENT_REQUESTED).record
    broken = Invalid(reason=Reason.INVALID_DATA, detail="wrong", source=SOURCE, id="x")
    assert duplicate(scenario.handle(Message(record=record, content=broken))).activities == activities


def test_repeated_invalid_record_is_a_duplicate() -> None:
    """A record without an identity is known by its position."""
    scenario = Scenario()
    sent = Message(
        record=message(E.RELEASE_APPROVED).record, content=Invalid(reason=Reason.MALFORMED_JSON, detail="wrong")
    )
    rejection = rejected(scenario.handle(sent), Reason.MALFORMED_JSON)
    assert duplicate(scenario.handle(sent)).rejection == rejection


def test_redriven_event_is_decided_afresh() -> None:
    """An event that is valid now is applied, and its rejection is resolved at the time of the redriven record."""
    scenario = Scenario()
    rejection = rejected(scenario.add(E.RELEASE_SUBMITTED, id="x", at=0), Reason.RELEASE_NOT_FOUND)
    scenario.add(E.RELEASE_CREATED)
    [resolved] = applied(scenario.add(E.RELEASE_SUBMITTED, id="x", at=0, recorded_at=50, headers=REDRIVE)).resolved
    assert (resolved.rejection_id, resolved.resolved_at) == (rejection.id, minute(50))
    assert scenario.status() == "IN_REVIEW"


def test_redriven_stale_event_is_resolved_too() -> None:
    """The stale event has a log entry now, and an event has either an entry or an open rejection."""
    scenario = Scenario()
    rejection = rejected(scenario.add(E.RELEASE_APPROVED, id="x"), Reason.RELEASE_NOT_FOUND)
    scenario.add(E.DEPLOYMENT_CANCELLED, block=fields())
    stale(scenario.add(E.RELEASE_APPROVED, id="x", headers=REDRIVE))
    assert scenario.world.rejections[rejection.id].resolved_at is not None


def test_redriven_event_may_be_rejected_for_another_reason() -> None:
    """Its rejection stays one row with one id, and says the new reason."""
    scenario = Scenario()
    first = rejected(scenario.add(E.RELEASE_APPROVED, id="x"), Reason.RELEASE_NOT_FOUND)
    scenario.add(E.RELEASE_CREATED)
    outcome = scenario.add(E.RELEASE_APPROVED, id="x", headers=REDRIVE)
    second = rejected(outcome, Reason.INVALID_TRANSITION)
    assert isinstance(outcome, Rejected)
    assert outcome.again
    assert second.id == first.id
    assert scenario.world.rejections[first.id].resolved_at is None


def test_first_rejection_is_not_marked_as_repeated() -> None:
    outcome = Scenario().add(E.RELEASE_APPROVED)
    assert isinstance(outcome, Rejected)
    assert not outcome.again


def test_redrive_of_an_applied_event_is_a_duplicate() -> None:
    """An applied event is a duplicate, with or without the header."""
    scenario = Scenario.of_approved_release()
    activities = applied(scenario.add(E.DEPLOYMENT_REQUESTED, id="x")).activities
    assert duplicate(scenario.add(E.DEPLOYMENT_REQUESTED, id="x", headers=REDRIVE)).activities == activities
    assert scenario.statuses() == ["PENDING"]


def test_resolved_event_is_a_duplicate_of_its_effect() -> None:
    """The outcome has the entries, not the resolved rejection."""
    scenario = Scenario()
    scenario.add(E.RELEASE_SUBMITTED, id="x")
    scenario.add(E.RELEASE_CREATED)
    activities = applied(scenario.add(E.RELEASE_SUBMITTED, id="x", headers=REDRIVE)).activities
    assert duplicate(scenario.add(E.RELEASE_SUBMITTED, id="x")).activities == activities


@pytest.mark.parametrize("kind", [E.RELEASE_SUBMITTED, E.RELEASE_CREATED])
def test_redrive_of_an_unknown_event_is_decided_normally(kind: E) -> None:
    """The header has no effect on an event without a rejection."""
    scenario = Scenario()
    if kind is E.RELEASE_SUBMITTED:
        scenario.add(E.RELEASE_CREATED)
    assert applied(scenario.add(kind, headers=REDRIVE)).resolved == ()


def test_redelivered_redrive_is_a_duplicate() -> None:
    """A restart delivers the same record again, and no outcome depends on restarts: the record is not decided again
    with later events.
    """
    scenario = Scenario()
    rejected(scenario.add(E.RELEASE_SUBMITTED, id="x"), Reason.RELEASE_NOT_FOUND)
    rejected(scenario.add(E.RELEASE_SUBMITTED, id="x", headers=REDRIVE), Reason.RELEASE_NOT_FOUND)
    redriven = scenario.messages[-1]
    scenario.add(E.RELEASE_CREATED)
    duplicate(scenario.handle(redriven))
    assert scenario.status() == "DRAFT"


def test_redrive_of_a_position_is_decided_once() -> None:
    """The header names the rejected record, so a second copy of the redrive has no effect."""
    scenario = Scenario()
    rejected(scenario.add(E.RELEASE_SUBMITTED, id="x"), Reason.RELEASE_NOT_FOUND)
    at = scenario.messages[-1].record
    redrive: Headers = (("rudder-redrive", f"{at.topic}/{at.partition}@{at.offset}".encode()),)
    rejected(scenario.add(E.RELEASE_SUBMITTED, id="x", headers=redrive), Reason.RELEASE_NOT_FOUND)
    scenario.add(E.RELEASE_CREATED)
    duplicate(scenario.add(E.RELEASE_SUBMITTED, id="x", headers=redrive))
    assert scenario.status() == "DRAFT"


def test_redrive_of_a_position_may_have_a_lower_offset() -> None:
    """A topic that was created again has low offsets, so the position in the header decides."""
    scenario = Scenario()
    rejected(scenario.handle(message(E.RELEASE_SUBMITTED, id="x", offset=900)), Reason.RELEASE_NOT_FOUND)
    scenario.add(E.RELEASE_CREATED)
    redrive: Headers = (("rudder-redrive", b"old/0@1"), ("rudder-redrive", f"{TOPIC}/0@900".encode()))
    applied(scenario.handle(message(E.RELEASE_SUBMITTED, id="x", at=5, offset=3, headers=redrive)))


def correcting(rejection: Rejection) -> Headers:
    return (("rudder-corrects", str(rejection.id).upper().encode()),)


@pytest.mark.parametrize("kind", [E.RELEASE_SUBMITTED, E.RELEASE_REOPENED])
def test_correction_resolves_the_rejection(kind: E) -> None:
    """A new event, applied or stale, resolves the rejection that it names, at the time of its record."""
    scenario = Scenario()
    rejection = rejected(scenario.add(E.RELEASE_SUBMITTED, id="x", release=7), Reason.RELEASE_NOT_FOUND)
    scenario.add(E.RELEASE_CREATED)
    scenario.add(kind, id="y", recorded_at=50, headers=correcting(rejection))
    assert scenario.world.rejections[rejection.id].resolved_at == minute(50)


def test_rejected_correction_resolves_nothing() -> None:
    scenario = Scenario()
    rejection = rejected(scenario.add(E.RELEASE_SUBMITTED, id="x"), Reason.RELEASE_NOT_FOUND)
    rejected(scenario.add(E.RELEASE_SUBMITTED, id="y", headers=correcting(rejection)), Reason.RELEASE_NOT_FOUND)
    assert scenario.world.rejections[rejection.id].resolved_at is None


def test_correction_by_another_source_resolves_nothing() -> None:
    """Any publisher can compute the id of a rejection."""
    scenario = Scenario()
    rejection = rejected(scenario.add(E.RELEASE_SUBMITTED, id="x"), Reason.RELEASE_NOT_FOUND)
    correction = message(E.RELEASE_CREATED, id="y", source="https://other", offset=8, headers=correcting(rejection))
    applied(scenario.handle(correction))
    assert scenario.world.rejections[rejection.id].resolved_at is None


def test_correction_resolves_a_rejection_once() -> None:
    """A second correction is an event of its own, and keeps the time at which the first one resolved the rejection."""
    scenario = Scenario()
    rejection = rejected(scenario.add(E.RELEASE_SUBMITTED, id="x"), Reason.RELEASE_NOT_FOUND)
    scenario.add(E.RELEASE_CREATED, id="y", recorded_at=50, headers=correcting(rejection))
    scenario.add(E.RELEASE_SUBMITTED, id="z", recorded_at=60, headers=correcting(rejection))
    assert scenario.world.rejections[rejection.id].resolved_at == minute(50)


@pytest.mark.parametrize("named", [True, False])
def test_redrive_of_a_corrected_event_is_a_duplicate(named: bool) -> None:
    """Otherwise the wrong event would take effect beside its correction. With and without a position."""
    scenario = Scenario()
    rejection = rejected(scenario.add(E.RELEASE_SUBMITTED, id="x"), Reason.RELEASE_NOT_FOUND)
    at = f"{rejection.topic}/{rejection.partition}@{rejection.offset}".encode()
    scenario.add(E.RELEASE_CREATED, id="y", headers=correcting(rejection))
    redrive: Headers = (("rudder-redrive", at if named else b"1"),)
    assert duplicate(scenario.add(E.RELEASE_SUBMITTED, id="x", headers=redrive)).rejection is not None
    assert scenario.status() == "DRAFT"


def test_correction_of_an_unknown_rejection_is_an_ordinary_event() -> None:
    scenario = Scenario()
    headers: Headers = (("rudder-corrects", b"6f1d5f6e-2f0a-5c0b-9d43-7b0d3f2f5a11"),)
    assert applied(scenario.add(E.RELEASE_CREATED, headers=headers)).resolved == ()
