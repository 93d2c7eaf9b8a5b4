"""`app_environments`: a correct worker has no findings at any moment; every other pointer has one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.types import EventType as E
from tests.hypothesis_profile import examples
from tests.properties.world import World
from tests.unit.rules.release_scenario import COMPONENT, TRACK, fields, release_id
from tests.unit.verify.handled_events import EXTENTS, HandledEvents, checked, position
from worker.stored_rows import EnvironmentRow
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
    """A deployment event; times repeat and decrease."""

    kind: E
    release: int
    environment: str
    minute: int
    config_revision: int
    repeats: bool


SEQUENCES = st.lists(
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


def add(events: HandledEvents, step: Step) -> None:
    own = [one.content.id for one in events.messages if one.release_id == release_id(step.release)]
    known = own[-1] if own and step.repeats else None
    events.add(
        step.kind,
        at=step.minute,
        id=known,
        release=step.release,
        environment_id=step.environment,
        config_revision=step.config_revision,
        block=fields(step.release),
    )


def environment_rows(world: World) -> list[EnvironmentRow]:
    """Each environment's row, as the worker left it."""
    rows = []
    for number, environment in enumerate(ENVIRONMENTS, 1):
        move = world.pointers.get((environment, COMPONENT, TRACK))
        rows.append(
            EnvironmentRow(
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


def check_pointers(
    events: HandledEvents,
    rows: Iterable[EnvironmentRow],
    *,
    committed: int = 1_000,
    extents: Extents = EXTENTS,
) -> tuple[list[Finding | None], int]:
    """The findings, and the number of unset rows that could have a pointer."""
    with scratch(None, committed={}, event_bytes_max=1) as store:
        for row in rows:
            store.pointers.add_row(row)
        histories = [events.history(number, committed=committed) for number in RELEASES]
        for history in histories:
            if history.rows is not None:
                store.pointers.add_release(history.rows)
        store.seal()
        for history in histories:
            made = checked(history, extents)
            store.pointers.add_history(history.key, made.pointers, complete=made.pointers_complete)
        return list(store.pointers.findings()), store.pointers.unset_rows()


@given(steps=SEQUENCES, data=st.data())
@settings(max_examples=examples(100), deadline=None)
def test_correct_worker_has_no_finding_at_any_moment(steps: Sequence[Step], data: st.DataObject) -> None:
    """The commits are read first, then these rows, then the other tables, while the worker continues."""
    committed = data.draw(st.integers(0, len(steps)), label="committed")
    looked_at = data.draw(st.integers(committed, len(steps)), label="looked at")
    events = HandledEvents(world=World(environments=ENVIRONMENTS))
    rows = environment_rows(events.world)
    for number, step in enumerate(steps, 1):
        add(events, step)
        if number == looked_at:
            rows = environment_rows(events.world)
    assert check_pointers(events, rows, committed=committed) == ([], 0)


@given(steps=SEQUENCES, data=st.data())
@settings(max_examples=examples(100), deadline=None)
def test_wrong_deployment_is_one_finding(steps: Sequence[Step], data: st.DataObject) -> None:
    """Another deployment of the environment, one of another environment, or a nonexistent one."""
    events = HandledEvents(world=World(environments=ENVIRONMENTS))
    for step in steps:
        add(events, step)
    rows = environment_rows(events.world)
    number = data.draw(st.sampled_from(range(len(rows))), label="row")
    there = list(events.world.deployments)
    attempt = data.draw(st.sampled_from([*there, UUID(int=7)]), label="attempt")
    if rows[number].attempt is None or str(attempt) == rows[number].attempt:
        return
    rows[number] = replace(rows[number], attempt=str(attempt))
    [found], _ = check_pointers(events, rows)
    assert found is not None
    assert (found.table, found.row) == ("app_environments", rows[number].row)
    assert found.kind is (Kind.CONTRADICTORY if attempt in there else Kind.INVENTED)


def of_two_releases() -> HandledEvents:
    """Both succeeded in prod: the first at minute 1, at offset 0; the second at minute 2, at offset 1."""
    events = HandledEvents(world=World(environments=ENVIRONMENTS))
    for release in (1, 2):
        events.add(E.DEPLOYMENT_SUCCEEDED, at=release, release=release, block=fields(release))
    return events


def as_of(offset: int) -> EnvironmentRow:
    """The row of prod after that record."""
    events = HandledEvents(world=World(environments=ENVIRONMENTS))
    for message in of_two_releases().messages[: offset + 1]:
        events.handle(message)
    return environment_rows(events.world)[0]


def test_pointer_at_an_older_deployment_is_contradictory() -> None:
    """The finding names the record that must set the pointer, and its release."""
    [found], _ = check_pointers(of_two_releases(), [as_of(0)])
    assert found is not None
    assert (found.kind, found.position, found.release) == (Kind.CONTRADICTORY, position(1), release_id(2))
    assert "20260301-2.1" in found.expected
    assert "20260301-1.1" in found.found


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_equal_times_point_at_the_higher_release(order: tuple[int, int]) -> None:
    """Whichever was handled first; the other one is a finding."""
    events, rows = HandledEvents(world=World(environments=ENVIRONMENTS)), []
    for release in order:
        events.add(E.DEPLOYMENT_SUCCEEDED, at=1, release=release, block=fields(release))
        rows.append(environment_rows(events.world)[0])
    assert check_pointers(events, rows[1:]) == ([], 0)
    [attempt] = events.world.attempts(release_id(1))
    other = replace(rows[1], release=str(release_id(1)), attempt=str(attempt.id), name="20260301-1.1")
    [found], _ = check_pointers(events, [other])
    assert found is not None
    assert (found.kind, found.release) == (Kind.CONTRADICTORY, release_id(2))


@pytest.mark.parametrize("changes", [{"name": "20260301-1.1"}, {"release": str(release_id(1))}, {"name": None}])
def test_row_that_contradicts_itself_is_contradictory(changes: dict[str, Any]) -> None:
    [found], _ = check_pointers(of_two_releases(), [replace(as_of(1), **changes)])
    assert found is not None
    assert (found.kind, found.position) == (Kind.CONTRADICTORY, position(1))


@pytest.mark.parametrize("attempt", [None, "", "none of ours", str(UUID(int=7))])
def test_pointer_at_a_nonexistent_deployment_is_invented(attempt: str | None) -> None:
    [found], _ = check_pointers(of_two_releases(), [replace(as_of(1), attempt=attempt)])
    assert found is not None
    assert (found.kind, found.position) == (Kind.INVENTED, None)


def test_row_younger_than_its_deployments_is_counted() -> None:
    """The worker inserts no rows, and does not go back to earlier deployments."""
    young = replace(as_of(1), release=None, attempt=None, name=None)
    assert check_pointers(of_two_releases(), [young, replace(young, environment="dev")]) == ([], 1)


def test_two_rows_of_one_environment_are_not_compared() -> None:
    """A worker reads one of the two, and updates those with the same pointer."""
    assert check_pointers(of_two_releases(), [as_of(1), as_of(0)]) == ([], 0)


def test_deployments_of_several_partitions_are_not_compared() -> None:
    """The order of their pointers is unknown; a pointer at a nonexistent deployment is still found."""
    events = of_two_releases()
    events.add(E.ACTIVITY_RECORDED, release=2, partition=1)
    assert check_pointers(events, [as_of(0)]) == ([], 0)
    assert check_pointers(events, [as_of(1)]) == ([], 0)
    [found], _ = check_pointers(events, [replace(as_of(1), attempt=str(UUID(int=7)))])
    assert found is not None
    assert found.kind is Kind.INVENTED
    events.add(E.DEPLOYMENT_REQUESTED, release=2, environment_id="prod")
    [attempt] = [one for one in events.world.attempts(release_id(2)) if one.attempt == 2]
    assert check_pointers(events, [replace(as_of(1), attempt=str(attempt.id))]) == ([None], 0)


def test_deleted_records_make_a_pointer_unverifiable() -> None:
    gone = Extents(begins=dict.fromkeys(EXTENTS.begins, 1))
    assert check_pointers(of_two_releases(), [as_of(0)], extents=gone) == ([None], 0)
