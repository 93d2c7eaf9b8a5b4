"""Rule 10: what a success sets, and when `app_environments` follows it."""

import pytest

from schemas.types import EventType as E
from tests.unit.rules.story import COMPONENT, TRACK, Story, applied, fields, message, minute, release_id
from worker.rules.decide import decide
from worker.rules.rows import EnvironmentPointer, EnvironmentPointerMove
from worker.rules.state import State


@pytest.fixture
def story() -> Story:
    return Story.of_approved_release()


def test_success_sets_deployed_at_and_deployed_by(story: Story) -> None:
    """The event's time and its actor."""
    story.tell(E.DEPLOYMENT_STARTED, at=1, actor="starter")
    story.tell(E.DEPLOYMENT_SUCCEEDED, at=2, actor="maria")
    assert (story.attempt(1).deployed_at, story.attempt(1).deployed_by) == (minute(2), "maria")


def test_attempt_opened_as_success_sets_deployed_at(story: Story) -> None:
    """A pipeline may report its end only."""
    story.tell(E.DEPLOYMENT_SUCCEEDED, at=2, actor="maria")
    assert (story.attempt(1).deployed_at, story.attempt(1).deployed_by) == (minute(2), "maria")


@pytest.mark.parametrize(
    "kind", [E.DEPLOYMENT_REQUESTED, E.DEPLOYMENT_STARTED, E.DEPLOYMENT_FAILED, E.DEPLOYMENT_CANCELLED]
)
def test_other_statuses_set_no_deployed_at(story: Story, kind: E) -> None:
    """Neither in the row nor in `app_environments`."""
    changes = applied(story.tell(kind, actor="maria"))
    assert (story.attempt(1).deployed_at, story.attempt(1).deployed_by) == (None, None)
    assert changes.pointer_move is None


def test_rollback_keeps_deployed_at_and_deployed_by(story: Story) -> None:
    """It did stand there; and the pointer stays, since no other success is known."""
    story.tell(E.DEPLOYMENT_SUCCEEDED, at=1, actor="maria")
    changes = applied(story.tell(E.DEPLOYMENT_ROLLED_BACK, at=2, actor="jo"))
    assert (story.attempt(1).deployed_at, story.attempt(1).deployed_by) == (minute(1), "maria")
    assert changes.pointer_move is None


def test_success_moves_the_pointer_of_its_environment(story: Story) -> None:
    """The name is `YYYYMMDD-<number>.<attempt>`; the guard is what the row said before."""
    story.tell(E.DEPLOYMENT_FAILED)
    changes = applied(story.tell(E.DEPLOYMENT_SUCCEEDED))
    assert changes.pointer_move == EnvironmentPointerMove(
        environment_id="prod",
        component_id=COMPONENT,
        deployment_track_id=TRACK,
        previous=None,
        release_id=release_id(),
        deployment_id=story.attempt(2).id,
        deployment_name="20260301-1.2",
    )


def test_success_with_a_release_block_moves_the_pointer() -> None:
    """The component and track are the block's."""
    changes = applied(Story().tell(E.DEPLOYMENT_SUCCEEDED, block=fields(7)))
    assert changes.pointer_move is not None
    assert changes.pointer_move.deployment_name == "20260301-7.1"


def test_environment_without_a_row_gets_none(story: Story) -> None:
    """The worker never inserts into `app_environments`."""
    assert applied(story.tell(E.DEPLOYMENT_SUCCEEDED, environment_id="test")).pointer_move is None


def test_next_success_moves_the_pointer_again(story: Story) -> None:
    """Guarded by what was read."""
    story.tell(E.DEPLOYMENT_SUCCEEDED, at=1)
    changes = applied(story.tell(E.DEPLOYMENT_SUCCEEDED, at=2))
    assert changes.pointer_move is not None
    assert changes.pointer_move.previous == str(story.attempt(1).id)
    assert changes.pointer_move.deployment_id == story.attempt(2).id


def test_success_that_is_not_latest_moves_no_pointer(story: Story) -> None:
    """Where the attempt of the latest event is another, that one stands there."""
    story.tell(E.DEPLOYMENT_FAILED, at=5)
    changes = applied(story.tell(E.DEPLOYMENT_SUCCEEDED, attempt=2, at=4))
    assert story.attempt(2).deployed_at == minute(4)
    assert changes.pointer_move is None


def test_cancelled_attempt_does_not_keep_the_pointer(story: Story) -> None:
    """Cancelled attempts are left out, as in rule 8."""
    story.tell(E.DEPLOYMENT_CANCELLED, at=5)
    assert applied(story.tell(E.DEPLOYMENT_SUCCEEDED, attempt=2, at=4)).pointer_move is not None


def test_active_attempt_of_a_later_revision_keeps_the_pointer(story: Story) -> None:
    """An environment counts with one attempt, over all config revisions."""
    story.tell(E.DEPLOYMENT_STARTED, at=1)
    story.tell(E.DEPLOYMENT_STARTED, at=9, config_revision=2)
    assert applied(story.tell(E.DEPLOYMENT_SUCCEEDED, at=8)).pointer_move is None


def test_later_success_of_another_release_keeps_the_pointer(story: Story) -> None:
    """Releases are handled in no fixed order; the row must come out as the later event says."""
    story.tell(E.DEPLOYMENT_SUCCEEDED, at=9, release=2, block=fields(2))
    assert applied(story.tell(E.DEPLOYMENT_SUCCEEDED, at=8)).pointer_move is None
    assert applied(story.tell(E.DEPLOYMENT_SUCCEEDED, at=10)).pointer_move is not None


def test_equal_times_of_two_releases_have_a_fixed_order() -> None:
    """Some order must win, and always the same one."""
    shown = set()
    for order in ((1, 2), (2, 1)):
        story = Story()
        for number in order:
            story.tell(E.DEPLOYMENT_SUCCEEDED, id=f"e{number}", at=1, release=number, block=fields(number))
        pointer = story.pointer()
        assert pointer is not None
        shown.add(pointer.deployment_id)
    assert len(shown) == 1


def test_equal_times_of_two_attempts_point_at_the_later(story: Story) -> None:
    """Rule 10 points at the environment's attempt of the latest event; at equal times that is the higher attempt."""
    for attempt in range(1, 9):
        story.tell(E.DEPLOYMENT_SUCCEEDED, at=1, attempt=attempt)
        pointer = story.pointer()
        assert pointer is not None
        assert pointer.deployment_id == story.attempt(attempt).id


def test_equal_times_of_two_revisions_point_at_the_higher(story: Story) -> None:
    """Rule 10, by rule 8's first tie-break."""
    for config_revision in range(1, 9):
        story.tell(E.DEPLOYMENT_SUCCEEDED, at=1, config_revision=config_revision)
        pointer = story.pointer()
        assert pointer is not None
        assert pointer.deployment_id == story.attempt(1, config_revision=config_revision).id


def test_foreign_pointer_is_overwritten(story: Story) -> None:
    """Another system's text has no time to be later than; the guard still names it."""
    told = message(E.DEPLOYMENT_SUCCEEDED, id="x")
    state = State(release=story.release().release, pointer=EnvironmentPointer(deployment_id="manual", deployed_at=None))
    move = applied(decide(state, told)).pointer_move
    assert move is not None
    assert move.previous == "manual"
