"""Rule 10: the columns that a success sets, and when it moves the pointer in `app_environments`."""

import pytest

from schemas.types import EventType as E
from tests.unit.rules.release_scenario import COMPONENT, TRACK, Scenario, applied, fields, message, minute, release_id
from worker.rules.decide import decide
from worker.rules.rows import EnvironmentPointer, EnvironmentPointerMove
from worker.rules.state import State


@pytest.fixture
def scenario() -> Scenario:
    return Scenario.of_approved_release()


def test_success_sets_deployed_at_and_deployed_by(scenario: Scenario) -> None:
    """The event's time and its actor."""
    scenario.add(E.DEPLOYMENT_STARTED, at=1, actor="starter")
    scenario.add(E.DEPLOYMENT_SUCCEEDED, at=2, actor="maria")
    assert (scenario.attempt(1).deployed_at, scenario.attempt(1).deployed_by) == (minute(2), "maria")


def test_attempt_opened_as_success_sets_deployed_at(scenario: Scenario) -> None:
    """A pipeline may report only the end of a deployment."""
    scenario.add(E.DEPLOYMENT_SUCCEEDED, at=2, actor="maria")
    assert (scenario.attempt(1).deployed_at, scenario.attempt(1).deployed_by) == (minute(2), "maria")


@pytest.mark.parametrize(
    "kind", [E.DEPLOYMENT_REQUESTED, E.DEPLOYMENT_STARTED, E.DEPLOYMENT_FAILED, E.DEPLOYMENT_CANCELLED]
)
def test_other_statuses_set_no_deployed_at(scenario: Scenario, kind: E) -> None:
    """Neither in the row nor in `app_environments`."""
    changes = applied(scenario.add(kind, actor="maria"))
    assert (scenario.attempt(1).deployed_at, scenario.attempt(1).deployed_by) == (None, None)
    assert changes.pointer_move is None


def test_rollback_keeps_deployed_at_and_deployed_by(scenario: Scenario) -> None:
    """The attempt was deployed, so it keeps both columns; the pointer stays, since no other success is known."""
    scenario.add(E.DEPLOYMENT_SUCCEEDED, at=1, actor="maria")
    changes = applied(scenario.add(E.DEPLOYMENT_ROLLED_BACK, at=2, actor="jo"))
    assert (scenario.attempt(1).deployed_at, scenario.attempt(1).deployed_by) == (minute(1), "maria")
    assert changes.pointer_move is None


def test_success_moves_the_pointer_of_its_environment(scenario: Scenario) -> None:
    """The name is `YYYYMMDD-<number>.<attempt>`; the guard is the row's previous pointer."""
    scenario.add(E.DEPLOYMENT_FAILED)
    changes = applied(scenario.add(E.DEPLOYMENT_SUCCEEDED))
    assert changes.pointer_move == EnvironmentPointerMove(
        environment_id="prod",
        component_id=COMPONENT,
        deployment_track_id=TRACK,
        previous=None,
        release_id=release_id(),
        deployment_id=scenario.attempt(2).id,
        deployment_name="20260301-1.2",
    )


def test_success_with_a_release_block_moves_the_pointer() -> None:
    """The component and track are the block's."""
    changes = applied(Scenario().add(E.DEPLOYMENT_SUCCEEDED, block=fields(7)))
    assert changes.pointer_move is not None
    assert changes.pointer_move.deployment_name == "20260301-7.1"


def test_environment_without_a_row_gets_none(scenario: Scenario) -> None:
    """The worker never inserts into `app_environments`."""
    assert applied(scenario.add(E.DEPLOYMENT_SUCCEEDED, environment_id="test")).pointer_move is None


def test_next_success_moves_the_pointer_again(scenario: Scenario) -> None:
    """The guard is the pointer that was read."""
    scenario.add(E.DEPLOYMENT_SUCCEEDED, at=1)
    changes = applied(scenario.add(E.DEPLOYMENT_SUCCEEDED, at=2))
    assert changes.pointer_move is not None
    assert changes.pointer_move.previous == str(scenario.attempt(1).id)
    assert changes.pointer_move.deployment_id == scenario.attempt(2).id


def test_success_that_is_not_latest_moves_no_pointer(scenario: Scenario) -> None:
    """A success moves the pointer only for the environment's attempt of the latest event."""
    scenario.add(E.DEPLOYMENT_FAILED, at=5)
    changes = applied(scenario.add(E.DEPLOYMENT_SUCCEEDED, attempt=2, at=4))
    assert scenario.attempt(2).deployed_at == minute(4)
    assert changes.pointer_move is None


def test_cancelled_attempt_does_not_keep_the_pointer(scenario: Scenario) -> None:
    """Cancelled attempts are left out, as in rule 8."""
    scenario.add(E.DEPLOYMENT_CANCELLED, at=5)
    assert applied(scenario.add(E.DEPLOYMENT_SUCCEEDED, attempt=2, at=4)).pointer_move is not None


def test_active_attempt_of_a_later_revision_keeps_the_pointer(scenario: Scenario) -> None:
    """An environment counts with one attempt, over all config revisions."""
    scenario.add(E.DEPLOYMENT_STARTED, at=1)
    scenario.add(E.DEPLOYMENT_STARTED, at=9, config_revision=2)
    assert applied(scenario.add(E.DEPLOYMENT_SUCCEEDED, at=8)).pointer_move is None


def test_later_success_of_another_release_keeps_the_pointer(scenario: Scenario) -> None:
    """Releases are handled in no fixed order; the pointer must be that of the later event."""
    scenario.add(E.DEPLOYMENT_SUCCEEDED, at=9, release=2, block=fields(2))
    assert applied(scenario.add(E.DEPLOYMENT_SUCCEEDED, at=8)).pointer_move is None
    assert applied(scenario.add(E.DEPLOYMENT_SUCCEEDED, at=10)).pointer_move is not None


def test_equal_times_of_two_releases_have_a_fixed_order() -> None:
    """The tie-break is always the same."""
    shown = set()
    for order in ((1, 2), (2, 1)):
        scenario = Scenario()
        for number in order:
            scenario.add(E.DEPLOYMENT_SUCCEEDED, id=f"e{number}", at=1, release=number, block=fields(number))
        pointer = scenario.pointer()
        assert pointer is not None
        shown.add(pointer.deployment_id)
    assert len(shown) == 1


def test_equal_times_of_two_attempts_point_at_the_later(scenario: Scenario) -> None:
    """Rule 10 points at the environment's attempt of the latest event; at equal times that is the higher attempt."""
    for attempt in range(1, 9):
        scenario.add(E.DEPLOYMENT_SUCCEEDED, at=1, attempt=attempt)
        pointer = scenario.pointer()
        assert pointer is not None
        assert pointer.deployment_id == scenario.attempt(attempt).id


def test_equal_times_of_two_revisions_point_at_the_higher(scenario: Scenario) -> None:
    """Rule 10, by rule 8's first tie-break."""
    for config_revision in range(1, 9):
        scenario.add(E.DEPLOYMENT_SUCCEEDED, at=1, config_revision=config_revision)
        pointer = scenario.pointer()
        assert pointer is not None
        assert pointer.deployment_id == scenario.attempt(1, config_revision=config_revision).id


def test_foreign_pointer_is_overwritten(scenario: Scenario) -> None:
    """Another system's pointer has no event time to compare; the guard still names it."""
    sent = message(E.DEPLOYMENT_SUCCEEDED, id="x")
    state = State(
        release=scenario.release().release,
        pointer=EnvironmentPointer(environment_id="prod", deployment_id="manual", deployed_at=None),
    )
    move = applied(decide(state, sent)).pointer_move
    assert move is not None
    assert move.previous == "manual"
