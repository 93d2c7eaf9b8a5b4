"""What a message is to the worker: its identity, its lane, its time, and whether an operator sent it back."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from schemas.event import Invalid
from schemas.reasons import Reason
from schemas.record import Headers
from schemas.types import EventType as E
from tests.unit.rules.release_scenario import SOURCE, START, fields, message, minute, release_id
from worker.rules.identity import activity_id, position_id
from worker.rules.message import Message

RECORD = replace(message(E.RELEASE_APPROVED, recorded_at=0).record, topic="t", partition=2, offset=40)


def invalid(**known: object) -> Message:
    content = replace(Invalid(reason=Reason.INVALID_DATA, detail="wrong"), **known)  # type: ignore[arg-type]
    return Message(record=RECORD, content=content)


def test_message_id_is_that_of_its_first_activity() -> None:
    """The rejection has the same id, so an event cannot be both applied and rejected unnoticed."""
    assert message(E.RELEASE_APPROVED, id="7").id == activity_id(source=SOURCE, event_id="7")
    assert invalid(source=SOURCE, id="7").id == activity_id(source=SOURCE, event_id="7")


def test_message_id_without_identity_is_that_of_its_position() -> None:
    """It is still remembered once, however often it is delivered."""
    assert invalid().id == position_id(topic="t", partition=2, offset=40, timestamp_ms=RECORD.timestamp_ms)


def test_ordering_key_is_the_release() -> None:
    """Also an invalid one that names its release."""
    assert message(E.RELEASE_APPROVED, release=3).ordering_key == release_id(3)
    assert invalid(release_id=release_id(3)).ordering_key == release_id(3)


def test_ordering_key_without_a_release_is_the_message_id() -> None:
    """So that a repeat finds what the first one wrote."""
    nameless, named = invalid(), invalid(source=SOURCE, id="7")
    assert nameless.release_id is None
    assert nameless.ordering_key == nameless.id
    assert named.ordering_key == named.id


@pytest.mark.parametrize(
    ("headers", "redrive"),
    [((), False), ((("rudder-redrive", None),), True), ((("a", b"b"), ("rudder-redrive", b"1")), True)],
)
def test_redrive_header_counts_with_any_value(headers: Headers, redrive: bool) -> None:
    """Its presence is the operator's word."""
    assert message(E.RELEASE_APPROVED, headers=headers).redrive is redrive


def test_message_time_is_the_events() -> None:
    """The record's time is when it arrived, not when it happened."""
    assert message(E.RELEASE_APPROVED, at=5, recorded_at=9).at == minute(5)
    assert invalid(time=minute(5)).at == minute(5)


def test_message_time_defaults_to_the_records() -> None:
    """Rejections have a time too, and never the wall clock's."""
    assert invalid().at == START


def test_message_time_without_any_is_1970() -> None:
    """Kafka's -1 means none; anything but a constant would differ at the next replay."""
    timeless = replace(invalid(), record=replace(RECORD, timestamp_ms=-1))
    assert timeless.at == datetime(1970, 1, 1, tzinfo=UTC)


def test_message_without_a_release_id_has_none() -> None:
    assert invalid().release_id is None
    assert message(E.RELEASE_APPROVED, release_id=UUID(int=5)).release_id == UUID(int=5)


def test_claims_are_the_identity_and_the_release_number() -> None:
    """A record claims a number where it could create a release; tracks that a database may take for one are one."""
    assert len(message(E.RELEASE_APPROVED).claims) == 1
    assert len(message(E.DEPLOYMENT_STARTED).claims) == 1
    assert invalid(release_id=release_id(3)).claims == (invalid().id,)
    created = message(E.RELEASE_CREATED, id="1")
    block = fields(1, deployment_track_id="Main ")
    deployed = message(E.DEPLOYMENT_STARTED, id="2", release=2, block=block)
    assert set(created.claims) & set(deployed.claims) == {created.claims[1]}
    other = message(E.RELEASE_CREATED, id="3", deployment_track_id="next")
    assert not set(created.claims) & set(other.claims)
