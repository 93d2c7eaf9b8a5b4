"""A rejection that a correction has resolved, or should have, perhaps an event of another release."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from schemas.types import EventType as E
from tests.unit.rules.release_scenario import REDRIVE
from tests.unit.verify.handled_events import EXTENTS, HandledEvents, findings, only, position
from worker.verify.findings import Kind
from worker.verify.history import Correction, Extents, History

REJECTED_AT = 6


@pytest.fixture
def history() -> History:
    return HandledEvents.with_a_rejection().history()


def corrected(history: History, *corrections: Correction, resolved_at: datetime | None = None) -> History:
    """The history with corrections of its rejection, and what that has as `resolved_at`."""
    [(event, rejection)] = history.rejections.items()
    return replace(
        history,
        rejections={event: replace(rejection, resolved_at=resolved_at)},
        corrections={event: corrections},
    )


def correction(
    history: History, offset: int, *, partition: int = 0, effective: bool = True, unseen: bool = False
) -> Correction:
    [rejection] = history.rejections.values()
    return Correction(
        position=position(offset, partition=partition),
        resolved_at=rejection.created_at + timedelta(hours=offset),
        effective=effective,
        unseen=unseen,
    )


def test_resolution_by_a_correction_is_no_finding(history: History) -> None:
    """Also by one of several, and by one of another partition, where no order is known."""
    one, other = correction(history, 9), correction(history, 3, partition=1)
    assert findings(corrected(history, one, resolved_at=one.resolved_at)) == []
    assert findings(corrected(history, one, other, resolved_at=other.resolved_at)) == []
    assert findings(corrected(history, other, resolved_at=None)) == []


def test_correction_that_left_its_rejection_open_is_found(history: History) -> None:
    found = only(corrected(history, correction(history, 9)))
    assert (found.kind, found.table, found.position) == (
        Kind.CONTRADICTORY,
        "release_event_rejections",
        position(REJECTED_AT),
    )
    assert f"by the correction {position(9)}" in found.expected


@pytest.mark.parametrize("state", ["before it", "rejected", "in flight"])
def test_other_corrections_need_not_resolve(history: History, state: str) -> None:
    """One before the rejection, one without an effect, one that was perhaps applied while the rows were read."""
    one = {
        "before it": correction(history, REJECTED_AT - 1),
        "rejected": correction(history, 9, effective=False),
        "in flight": correction(history, 9, unseen=True),
    }[state]
    assert findings(corrected(history, one)) == []


def test_correction_in_flight_may_resolve(history: History) -> None:
    """Its activity may have been read before it was applied."""
    one = correction(history, 9, effective=False, unseen=True)
    assert findings(corrected(history, one, resolved_at=one.resolved_at)) == []


def test_resolution_without_a_cause_is_found(history: History) -> None:
    """By no correction, by one that was rejected, or at another time."""
    time = correction(history, 9).resolved_at
    wrong = correction(history, 10)
    for corrections in ([], [correction(history, 9, effective=False)], [wrong]):
        found = only(corrected(history, *corrections, resolved_at=time))
        assert (found.kind, found.expected) == (Kind.CONTRADICTORY, "no resolved_at")


def test_deleted_correction_may_have_resolved(history: History) -> None:
    """Where another partition has lost records; in its own partition whatever came later is still there."""
    resolved = corrected(history, resolved_at=correction(history, 9).resolved_at)
    [rejection] = history.rejections.values()
    elsewhere = replace(resolved, trimmed=frozenset({(rejection.topic, 1)}))
    here = replace(resolved, trimmed=frozenset({(rejection.topic, 0)}))
    extents = Extents(begins=EXTENTS.begins)
    assert findings(elsewhere, extents) == []
    assert only(here, extents).expected == "no resolved_at"


@pytest.mark.parametrize("partition", [0, 1])
def test_redrive_of_a_corrected_event_is_no_finding(partition: int) -> None:
    """The event would pass now, and is a duplicate: an event of another release, perhaps in another partition,
    corrected it before.
    """
    events = HandledEvents()
    rejected = events.add(E.RELEASE_SUBMITTED, id="x")
    [(event, rejection)] = events.world.rejections.items()
    corrected_at = rejection.created_at + timedelta(hours=1)
    events.world.rejections[event] = replace(rejection, resolved_at=corrected_at)
    events.add(E.RELEASE_CREATED)
    offset = 1 if partition == 0 else 0
    one = Correction(position=position(offset, partition=partition), resolved_at=corrected_at, effective=True)
    events.add(E.RELEASE_SUBMITTED, id="x", headers=REDRIVE)
    history = replace(events.history(), corrections={rejected.id: (one,)})
    assert findings(history) == []
    assert [finding.kind for finding in findings(replace(history, corrections={}))] != []
