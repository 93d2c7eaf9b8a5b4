"""What the rules refuse to guess: an event without a rule, effects without an event, a redrive of another partition."""

from dataclasses import replace
from typing import cast

import pytest

from schemas.event import Event, Invalid
from schemas.incoming import EventData
from schemas.reasons import Reason
from schemas.types import EventType as E
from tests.unit.rules.release_scenario import REDRIVE, Scenario, applied, message, rejected, release_id
from worker.rules.decide import decide
from worker.rules.effects import Effects
from worker.rules.message import Message
from worker.rules.state import State


def test_event_without_a_rule_is_an_error() -> None:
    """A type that was added to the contract only must not be taken for another."""
    sent = message(E.RELEASE_SUBMITTED)
    data = EventData(release_id=release_id(), organization_id="acme")
    unknown = replace(sent, content=replace(cast("Event", sent.content), data=data))
    with pytest.raises(TypeError, match="no rule for EventData"):
        decide(State(), unknown)


def test_effects_need_an_event() -> None:
    broken = Invalid(reason=Reason.MALFORMED_JSON, detail="wrong")
    with pytest.raises(TypeError, match="only an event has effects"):
        Effects(State(), Message(record=message(E.RELEASE_SUBMITTED).record, content=broken))


def test_redrive_in_another_partition_is_decided_afresh() -> None:
    """Offsets of two partitions say nothing about their order."""
    scenario = Scenario()
    rejected(scenario.handle(message(E.RELEASE_SUBMITTED, id="x", partition=1, offset=900)), Reason.RELEASE_NOT_FOUND)
    scenario.add(E.RELEASE_CREATED)
    applied(scenario.handle(message(E.RELEASE_SUBMITTED, id="x", at=5, partition=0, offset=3, headers=REDRIVE)))


def test_version_is_that_after_the_event() -> None:
    """A new release has its first; an activity alone changes no release."""
    scenario = Scenario()
    assert applied(scenario.add(E.RELEASE_CREATED)).release_version == 0
    known = replace(scenario.world.load(message(E.RELEASE_SUBMITTED)), release_version=4)
    submitted = decide(known, message(E.RELEASE_SUBMITTED, id="s", at=5))
    assert applied(submitted).release_version == 5
    unversioned = decide(replace(known, release_version=None), message(E.RELEASE_SUBMITTED, id="s", at=5))
    assert applied(unversioned).release_version == 1
    assert applied(scenario.add(E.ACTIVITY_RECORDED)).release_version is None
