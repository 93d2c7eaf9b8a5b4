"""`app_environments`: whatever a sound worker makes of it passes, at any moment; anything else is named, once."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.types import EventType as E
from tests.properties.world import World
from tests.search import examples
from tests.unit.rules.story import COMPONENT, TRACK, fields, release_id
from tests.unit.verify.scene import EXTENTS, Scene, at, checked
from worker.stored_rows import Pointing
from worker.verify.findings import Finding, Kind
from worker.verify.history import Extents
from worker.verify.scratch import scratch

ENVIRONMENTS = ("prod", "dev")
RELEASES = (1, 2, 3)
STEPS = (
    E.DEPLOYMENT_REQUESTED,
    E.DEPLOYMENT_SUCCEEDED,
    E.DEPLOYMENT_SUCCEEDED,
    E.DEPLOYMENT_FAILED,
    E.DEPLOYMENT_ROLLED_BACK,
)


@dataclass(frozen=True, slots=True)
class Step:
    """A deployment event; times repeat, and go back."""

    kind: E
    release: int
    environment: str
    minute: int
    config_revision: int
    repeats: bool


STORIES = st.lists(
    st.builds(
        Step,
        kind=st.sampled_from(STEPS),
        release=st.sampled_from(RELEASES),
        environment=st.sampled_from(ENVIRONMENTS),
        minute=st.integers(0, 5),
        config_revision=st.integers(1, 2),
        repeats=st.sampled_from([False, False, False, True]),
    ),
    max_size=14,
)


def told(scene: Scene, step: Step) -> None:
    own = [one.content.id for one in scene.told if one.release_id == release_id(step.release)]
    known = own[-1] if own and step.repeats else None
    scene.tell(
        step.kind,
        at=step.minute,
        id=known,
        release=step.release,
        environment_id=step.environment,
        config_revision=step.config_revision,
        block=fields(step.release),
    )


def pointings(world: World) -> list[Pointing]:
    """Each environment's row, as the worker left it."""
    rows = []
    for number, environment in enumerate(ENVIRONMENTS, 1):
        move = world.pointers.get((environment, COMPONENT, TRACK))
        rows.append(
            Pointing(
                row=UUID(int=number),
                environment=environment,
                component=str(COMPONENT),
                track=TRACK,
                release=str(move.release_id) if move else None,
                attempt=str(move.deployment_id) if move else None,
                name=move.deployment_name if move else None,
            )
        )
    return rows


def judged(
    scene: Scene,
    rows: Iterable[Pointing],
    *,
    committed: int = 1_000,
    extents: Extents = EXTENTS,
) -> tuple[list[Finding | None], int]:
    """The findings, and how many rows point at nothing that could."""
    with scratch(None, committed={}, event_bytes_max=1) as store:
        for row in rows:
            store.pointing.add_row(row)
        histories = [scene.history(number, committed=committed) for number in RELEASES]
        for history in histories:
            if history.rows is not None:
                store.pointing.add_release(history.rows)
        store.seal()
        for history in histories:
            made = checked(history, extents)
            store.pointing.add_history(history.key, made.pointed, all_of_it=made.pointed_all)
        return list(store.pointing.findings()), store.pointing.unpointed()


@given(story=STORIES, data=st.data())
@settings(max_examples=examples(100), deadline=None)
def test_correct_worker_has_no_finding_at_any_moment(story: Sequence[Step], data: st.DataObject) -> None:
    """First come the group's commits, then these rows, then the others; the worker goes on all the while."""
    committed = data.draw(st.integers(0, len(story)), label="committed")
    looked_at = data.draw(st.integers(committed, len(story)), label="looked at")
    scene = Scene(world=World(environments=ENVIRONMENTS))
    rows = pointings(scene.world)
    for number, step in enumerate(story, 1):
        told(scene, step)
        if number == looked_at:
            rows = pointings(scene.world)
    assert judged(scene, rows, committed=committed) == ([], 0)


@given(story=STORIES, data=st.data())
@settings(max_examples=examples(100), deadline=None)
def test_wrong_deployment_is_one_finding(story: Sequence[Step], data: st.DataObject) -> None:
    """Another of its own, one of another environment, or none that there is."""
    scene = Scene(world=World(environments=ENVIRONMENTS))
    for step in story:
        told(scene, step)
    rows = pointings(scene.world)
    number = data.draw(st.sampled_from(range(len(rows))), label="row")
    there = list(scene.world.deployments)
    attempt = data.draw(st.sampled_from([*there, UUID(int=7)]), label="attempt")
    if rows[number].attempt is None or str(attempt) == rows[number].attempt:
        return
    rows[number] = replace(rows[number], attempt=str(attempt))
    [found], _ = judged(scene, rows)
    assert found is not None
    assert (found.table, found.row) == ("app_environments", rows[number].row)
    assert found.kind is (Kind.CONTRADICTORY if attempt in there else Kind.INVENTED)


def of_two_releases() -> Scene:
    """Both succeeded in prod: the first at minute 1, at offset 0; the second at minute 2, at offset 1."""
    scene = Scene(world=World(environments=ENVIRONMENTS))
    for release in (1, 2):
        scene.tell(E.DEPLOYMENT_SUCCEEDED, at=release, release=release, block=fields(release))
    return scene


def as_of(offset: int) -> Pointing:
    """What prod's row was after that record."""
    scene = Scene(world=World(environments=ENVIRONMENTS))
    for told in of_two_releases().told[: offset + 1]:
        scene.take(told)
    return pointings(scene.world)[0]


def test_pointer_at_an_older_deployment_is_contradictory() -> None:
    """The record that had to move it, and its release."""
    [found], _ = judged(of_two_releases(), [as_of(0)])
    assert found is not None
    assert (found.kind, found.place, found.release) == (Kind.CONTRADICTORY, at(1), release_id(2))
    assert "20260301-2.1" in found.expected
    assert "20260301-1.1" in found.found


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_equal_times_point_at_the_higher_release(order: tuple[int, int]) -> None:
    """Whichever was handled first; the other one is not."""
    scene, rows = Scene(world=World(environments=ENVIRONMENTS)), []
    for release in order:
        scene.tell(E.DEPLOYMENT_SUCCEEDED, at=1, release=release, block=fields(release))
        rows.append(pointings(scene.world)[0])
    assert judged(scene, rows[1:]) == ([], 0)
    [attempt] = scene.world.attempts(release_id(1))
    other = replace(rows[1], release=str(release_id(1)), attempt=str(attempt.id), name="20260301-1.1")
    [found], _ = judged(scene, [other])
    assert found is not None
    assert (found.kind, found.release) == (Kind.CONTRADICTORY, release_id(2))


@pytest.mark.parametrize("changes", [{"name": "20260301-1.1"}, {"release": str(release_id(1))}, {"name": None}])
def test_row_that_contradicts_itself_is_contradictory(changes: dict[str, Any]) -> None:
    [found], _ = judged(of_two_releases(), [replace(as_of(1), **changes)])
    assert found is not None
    assert (found.kind, found.place) == (Kind.CONTRADICTORY, at(1))


@pytest.mark.parametrize("attempt", [None, "", "none of ours", str(UUID(int=7))])
def test_pointer_at_a_nonexistent_deployment_is_invented(attempt: str | None) -> None:
    [found], _ = judged(of_two_releases(), [replace(as_of(1), attempt=attempt)])
    assert found is not None
    assert (found.kind, found.place) == (Kind.INVENTED, None)


def test_row_younger_than_its_deployments_is_counted() -> None:
    """The worker inserts none, and goes back to none."""
    young = replace(as_of(1), release=None, attempt=None, name=None)
    assert judged(of_two_releases(), [young, replace(young, environment="dev")]) == ([], 1)


def test_two_rows_of_one_environment_are_not_compared() -> None:
    """A worker reads one of the two, and moves those that say the same."""
    assert judged(of_two_releases(), [as_of(1), as_of(0)]) == ([], 0)


def test_deployments_of_several_partitions_are_not_compared() -> None:
    """Nobody can tell in which order its pointers moved; one at no deployment is found all the same."""
    scene = of_two_releases()
    scene.tell(E.ACTIVITY_RECORDED, release=2, partition=1)
    assert judged(scene, [as_of(0)]) == ([], 0)
    assert judged(scene, [as_of(1)]) == ([], 0)
    [found], _ = judged(scene, [replace(as_of(1), attempt=str(UUID(int=7)))])
    assert found is not None
    assert found.kind is Kind.INVENTED
    scene.tell(E.DEPLOYMENT_REQUESTED, release=2, environment_id="prod")
    [attempt] = [one for one in scene.world.attempts(release_id(2)) if one.attempt == 2]
    assert judged(scene, [replace(as_of(1), attempt=str(attempt.id))]) == ([None], 0)


def test_deleted_records_make_a_pointer_unverifiable() -> None:
    gone = Extents(begins=dict.fromkeys(EXTENTS.begins, 1))
    assert judged(of_two_releases(), [as_of(0)], extents=gone) == ([None], 0)
