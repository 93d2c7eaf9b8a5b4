"""What cannot be known is no finding: records in flight, records that are gone, and the order between partitions."""

from collections.abc import Callable
from dataclasses import replace
from itertools import count

import pytest

from schemas.types import EventType as E
from tests.unit.rules.story import REDRIVE, TOPIC, fields
from tests.unit.verify.scene import (
    EXTENTS,
    Scene,
    at,
    checked,
    findings,
    only,
    without_entry,
)
from worker.verify.findings import Kind
from worker.verify.history import Extents


def test_record_in_flight_without_an_effect_is_pending() -> None:
    """Not lost: its turn may not have come."""
    before = Scene.of_approved_release().history(committed=3)
    scene = Scene.of_approved_release()
    scene.tell(E.DEPLOYMENT_REQUESTED)
    history = replace(scene.history(committed=3), rows=before.rows, statuses=before.statuses)
    came_to = checked(history)
    assert (came_to.findings, came_to.pending) == ([], 1)
    assert only(replace(scene.history(), rows=before.rows, statuses=before.statuses)).kind is Kind.LOST


def test_record_in_flight_need_not_be_published() -> None:
    scene = Scene.of_deployed_release()
    history = scene.history(committed=4)
    came_to = checked(replace(history, statuses=history.statuses[:5]))
    assert (came_to.findings, came_to.pending) == ([], 0)
    assert history.rows is not None
    [row] = history.rows.deployments
    harmed = replace(history, rows=replace(history.rows, deployments=({**row, "status": "FAILED"},)))
    assert only(harmed).kind is Kind.CONTRADICTORY


def test_rejection_in_flight_may_be_incomplete() -> None:
    """Its row without its letter, or a redrive that settled it after the log was read."""
    scene = Scene()
    scene.tell(E.RELEASE_SUBMITTED, id="x")
    assert findings(replace(scene.history(committed=0), letters=())) == []
    scene.tell(E.RELEASE_CREATED)
    before = scene.history()
    scene.tell(E.RELEASE_SUBMITTED, id="x", headers=REDRIVE)
    after = scene.history(committed=2)
    assert findings(replace(after, rows=before.rows, statuses=before.statuses)) == []


def test_release_with_deleted_records_is_partly_checked() -> None:
    """Its entries of records below the beginning are counted; what can be read still has to be somewhere."""
    scene = Scene.with_a_rejection()
    history = scene.history()
    gone = replace(history, inputs=history.inputs[2:])
    extents = Extents(begins={(TOPIC, 0): 2, (TOPIC, 1): 0})
    came_to = checked(gone, extents)
    assert (came_to.findings, came_to.unverifiable) == ([], 2)
    found = only(replace(without_entry(gone, "e4"), statuses=()), replace(extents, trimmed=_everything()))
    assert (found.kind, found.place) == (Kind.LOST, at(4))


def test_redrive_of_a_deleted_rejected_record_has_no_findings() -> None:
    """Retention took the record; its rejection tells what it came to, and a repeat before the redrive is one of it."""
    scene = Scene()
    scene.tell(E.RELEASE_SUBMITTED, id="x")
    scene.tell(E.RELEASE_CREATED)
    scene.tell(E.RELEASE_SUBMITTED, id="x")
    scene.tell(E.RELEASE_SUBMITTED, id="x", headers=REDRIVE)
    history = scene.history()
    letters = tuple(letter for letter in history.letters if letter.of != at(0))
    gone = replace(history, inputs=history.inputs[1:], letters=letters)
    assert findings(gone, Extents(begins={(TOPIC, 0): 1, (TOPIC, 1): 0})) == []
    assert findings(gone) != []


def test_outputs_are_checked_where_records_are_deleted() -> None:
    """By its entries and its rejections, which are all that there is."""
    scene = Scene.with_a_rejection()
    history = scene.history()
    gone = replace(history, inputs=history.inputs[2:])
    extents = Extents(begins={(TOPIC, 0): 2, (TOPIC, 1): 0})
    assert only(replace(gone, letters=()), extents).kind is Kind.LOST
    found = only(replace(gone, statuses=tuple(one for one in gone.statuses if one != gone.statuses[4])), extents)
    assert found.kind is Kind.LOST


def test_activity_of_an_unread_topic_is_unverifiable() -> None:
    """A topic that was an input once."""
    history = Scene.of_deployed_release().history()
    came_to = checked(replace(history, inputs=()), Extents(begins={("another", 0): 0}))
    assert (came_to.findings, came_to.unverifiable) == ([], len(history.activities))


def test_activity_of_a_nonexistent_partition_is_invented() -> None:
    history = Scene.of_deployed_release().history()
    found = findings(replace(history, inputs=()), Extents(begins={(TOPIC, 7): 0}))
    assert {one.kind for one in found} >= {Kind.INVENTED}


def test_release_that_keeps_changing_is_not_decided() -> None:
    history = Scene.of_deployed_release().history()
    assert history.rows is not None
    restless = replace(history, rows=replace(history.rows, deployments=(), settled=False))
    came_to = checked(restless)
    assert (came_to.findings, came_to.unverifiable) == ([], 1)


def two_partitions(scene: Scene) -> None:
    """A release told by two partitions, neither of which makes sense by itself."""
    scene.tell(E.RELEASE_CREATED, partition=1)
    scene.tell(E.RELEASE_SUBMITTED)
    scene.tell(E.RELEASE_APPROVED, partition=1)
    scene.tell(E.DEPLOYMENT_REQUESTED)
    scene.tell(E.DEPLOYMENT_REQUESTED, partition=1)
    scene.tell(E.DEPLOYMENT_STARTED)
    scene.tell(E.DEPLOYMENT_FAILED, partition=1)


def with_a_rejection_between(scene: Scene) -> None:
    scene.tell(E.RELEASE_CREATED, partition=1)
    scene.tell(E.RELEASE_APPROVED)
    scene.tell(E.RELEASE_SUBMITTED, partition=1)
    scene.tell(E.RELEASE_APPROVED)


def with_a_repeat_across(scene: Scene) -> None:
    """The second record of the event, by offset and partition, had the effect."""
    scene.tell(E.DEPLOYMENT_REQUESTED, block=fields(), partition=1, id="x")
    scene.tell(E.DEPLOYMENT_REQUESTED, block=fields(), id="x", at=0)
    scene.tell(E.DEPLOYMENT_STARTED)


def with_a_rejected_repeat_across(scene: Scene) -> None:
    scene.tell(E.RELEASE_APPROVED, partition=1, id="x")
    scene.tell(E.RELEASE_CREATED)
    scene.tell(E.RELEASE_SUBMITTED)
    scene.tell(E.RELEASE_APPROVED, id="x", at=0)


def with_a_choice_to_take_back(scene: Scene) -> None:
    """Two late events that look alike wherever they stand; what follows tells."""
    scene.tell(E.DEPLOYMENT_REQUESTED, block=fields(), at=10)
    scene.tell(E.DEPLOYMENT_STARTED, at=20, partition=1)
    scene.tell(E.ACTIVITY_RECORDED, at=0, environment_id="prod")
    scene.tell(E.DEPLOYMENT_SUCCEEDED, at=5)
    scene.tell(E.DEPLOYMENT_FAILED, at=6, partition=1)
    scene.tell(E.DEPLOYMENT_FAILED, at=30)


PLOTS = (
    two_partitions,
    with_a_rejection_between,
    with_a_repeat_across,
    with_a_rejected_repeat_across,
    with_a_choice_to_take_back,
)


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.__name__)
def test_activities_order_records_of_two_partitions(plot: Callable[[Scene], None], backwards: bool) -> None:
    """Whatever the records' own times say."""
    scene = Scene()
    plot(scene)
    times = count(1_000, -1) if backwards else count()
    scene.told = [
        replace(one, record=replace(one.record, timestamp_ms=time))
        for one, time in zip(scene.told, times, strict=False)
    ]
    assert findings(scene.history()) == []


def test_lost_record_does_not_hide_the_order_of_two_partitions() -> None:
    scene = Scene()
    two_partitions(scene)
    found = only(without_entry(scene.history(), "e3"))
    assert (found.kind, found.place) == (Kind.LOST, at(1))


def test_activities_without_a_possible_order_are_contradictory() -> None:
    """Found in bounded time."""
    scene = Scene()
    two_partitions(scene)
    history = scene.history()
    swapped = tuple(
        replace(one, message=replace(one.message, record=replace(one.message.record, offset=3 - one.place.offset)))
        if one.place.partition == 1
        else one
        for one in history.inputs
    )
    found = findings(replace(history, inputs=tuple(sorted(swapped, key=lambda one: one.place))))
    assert {one.kind for one in found} & {Kind.CONTRADICTORY, Kind.LOST}
    assert EXTENTS.readable(at(0))


def _everything() -> frozenset[str]:
    return frozenset({"deployment-status", "release-status", "dead-letters"})
