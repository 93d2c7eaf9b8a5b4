"""The state of the next event of a chain, and what is loaded for a chain."""

from dataclasses import replace
from uuid import UUID

import pytest

from schemas.statuses import ReleaseStatus
from schemas.types import EventType as E
from tests.unit.rules.release_scenario import Scenario, applied, fields, message, minute, release_id
from worker.rules.advance import advance, merged, needs_load
from worker.rules.decide import decide
from worker.rules.query import queries_of, query_of
from worker.rules.rows import EnvironmentPointer
from worker.rules.state import Changes, Resolved, State

UNSET = EnvironmentPointer(environment_id="prod", deployment_id=None)


@pytest.fixture
def scenario() -> Scenario:
    """An approved release with one successful attempt in prod."""
    scenario = Scenario.of_approved_release()
    scenario.add(E.DEPLOYMENT_SUCCEEDED, at=1)
    return scenario


def state_of(scenario: Scenario, **more: object) -> State:
    loaded = State(
        release=scenario.release().release, release_version=5, deployments=scenario.world.attempts(release_id())
    )
    return replace(loaded, **more)  # type: ignore[arg-type]


def test_created_release_takes_its_number() -> None:
    """`number_taken` says that another release has the number: that matters only while this one does not exist."""
    changes = applied(decide(State(), message(E.RELEASE_CREATED)))
    state = advance(State(number_taken=True), changes)
    assert changes.new_release is not None
    assert state == State(release=changes.new_release.release, release_version=0)
    assert advance(State(number_taken=True), Changes()).number_taken


def test_moves_replace_loaded_rows(scenario: Scenario) -> None:
    """The release's status and time, its version, the attempt that is superseded and the one that opens."""
    state = state_of(scenario)
    opened = applied(decide(state, message(E.DEPLOYMENT_REQUESTED, at=2, id="a")))
    following = advance(state, opened)
    superseded = applied(decide(following, message(E.DEPLOYMENT_STARTED, attempt=3, at=3, id="b")))
    last = advance(state, opened, superseded)
    assert last == advance(following, superseded)
    assert [(one.attempt, one.status) for one in last.deployments] == [
        (1, "SUCCESS"),
        (2, "CANCELLED"),
        (3, "IN_PROGRESS"),
    ]
    assert last.release == replace(scenario.release().release, status=ReleaseStatus.DEPLOYING, updated_at=minute(2))
    assert last.release_version == 7


def test_attempts_that_were_not_loaded_are_added(scenario: Scenario) -> None:
    opened = applied(decide(state_of(scenario), message(E.DEPLOYMENT_REQUESTED, at=2, id="a")))
    state = advance(State(), opened)
    assert opened.new_deployment is not None
    assert (state.release, state.deployments) == (None, (opened.new_deployment.deployment,))


@pytest.mark.parametrize("kind", [E.DEPLOYMENT_SUCCEEDED, E.DEPLOYMENT_REQUESTED])
def test_pointer_move_replaces_the_pointer_of_its_environment(scenario: Scenario, kind: E) -> None:
    """The success opens an attempt, or ends one that was requested."""
    state = advance(state_of(scenario, pointer=UNSET), applied(decide(state_of(scenario), message(kind, at=2, id="a"))))
    changes = applied(decide(state, message(E.DEPLOYMENT_SUCCEEDED, at=3, id="b")))
    assert changes.pointer_move is not None
    other = replace(UNSET, environment_id="test", deployment_id="kept")
    assert advance(state, changes).pointer == EnvironmentPointer(
        environment_id="prod",
        deployment_id=str(changes.pointer_move.deployment_id),
        release_id=release_id(),
        deployed_at=minute(3),
    )
    assert advance(replace(state, pointer=other), changes).pointer == other
    assert advance(replace(state, pointer=None), changes).pointer is None


def test_resolved_rejection_is_resolved_for_the_next_event(scenario: Scenario) -> None:
    """The next event's own rejection, or the one that it corrects; other rejections are unchanged."""
    scenario.add(E.DEPLOYMENT_STARTED, attempt=9, id="gap")
    [rejection] = scenario.world.rejections.values()
    resolved = Resolved(rejection_id=rejection.id, resolved_at=minute(9), own=False)
    state = advance(State(rejection=rejection, corrected=rejection), Changes(resolved=(resolved,)))
    assert state == State(**dict.fromkeys(("rejection", "corrected"), replace(rejection, resolved_at=minute(9))))  # type: ignore[arg-type]
    other = replace(resolved, rejection_id=UUID(int=1))
    assert advance(State(corrected=rejection), Changes(resolved=(other,))) == State(corrected=rejection)


def test_merged_states_have_the_rows_of_all(scenario: Scenario) -> None:
    """Each keeps what was loaded of its own event."""
    [attempt] = scenario.world.attempts(release_id())
    other = replace(attempt, id=UUID(int=2), attempt=2)
    states = [
        State(deployments=(attempt,), environments=frozenset({"a"}), number_taken=True),
        State(deployments=(attempt, other), environments=frozenset({"b"}), release_version=1),
    ]
    rows = State(deployments=(attempt, other), environments=frozenset({"a", "b"}))
    assert merged(states) == [replace(rows, number_taken=True), replace(rows, release_version=1)]
    assert merged([]) == []


def test_one_query_of_an_environment_loads_the_candidates() -> None:
    """As many as events that change its deployments; roll-backs in each config revision."""
    queries = queries_of(
        [
            message(E.RELEASE_APPROVED),
            message(E.DEPLOYMENT_STARTED),
            message(E.DEPLOYMENT_SUCCEEDED, environment_id="test"),
            message(E.DEPLOYMENT_FAILED, config_revision=2),
            message(E.ACTIVITY_RECORDED, environment_id="prod"),
            message(E.DEPLOYMENT_ROLLED_BACK),
            message(E.DEPLOYMENT_ROLLED_BACK),
        ]
    )
    assert [query.events for query in queries] == [1, 4, 1, 1, 1, 4, 1]


def test_success_loads_the_pointer_of_the_release_to_create() -> None:
    """It is needed where the success has no release block: other queries stay as they are."""
    created, requested = message(E.RELEASE_CREATED), message(E.DEPLOYMENT_REQUESTED)
    succeeded, own = (
        message(E.DEPLOYMENT_SUCCEEDED),
        message(E.DEPLOYMENT_SUCCEEDED, block=fields(deployment_track_id="x")),
    )
    queries = queries_of([created, requested, succeeded, own])
    block = query_of(created)
    assert [(query.component_id, query.deployment_track_id) for query in queries] == [
        (block.component_id, "main"),
        (None, None),
        (block.component_id, "main"),
        (block.component_id, "x"),
    ]
    assert queries_of([succeeded]) == [query_of(succeeded)]


def test_success_is_loaded_again_for_another_row_of_the_environment(scenario: Scenario) -> None:
    """Only where an earlier event of the chain created the release."""
    release = state_of(scenario)
    own = query_of(message(E.DEPLOYMENT_SUCCEEDED, block=fields()))
    other = query_of(message(E.DEPLOYMENT_SUCCEEDED, block=fields(deployment_track_id="x")))
    failed = query_of(message(E.DEPLOYMENT_FAILED))
    assert needs_load(other, loaded=State(), state=release)
    assert not needs_load(own, loaded=State(), state=release)
    assert not needs_load(failed, loaded=State(), state=release)
    assert not needs_load(other, loaded=release, state=release)
    assert not needs_load(other, loaded=State(), state=State())
