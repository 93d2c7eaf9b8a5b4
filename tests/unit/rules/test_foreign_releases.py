"""The release of a foreign event: found before the event is decided, or created with the next free number."""

from typing import Any

import pytest

from schemas.adapters.foreign import Artifact
from schemas.reasons import Reason
from schemas.text import INT_MAX
from tests.unit.foreign_messages import ForeignMessages, commit
from worker.rules.advance import merged
from worker.rules.decide import decide
from worker.rules.message import Message
from worker.rules.numbers import next_number
from worker.rules.state import Applied, Rejected, State

ARTIFACT = Artifact(commit=commit(1))
OTHER_RELEASE = ForeignMessages().component_id


def started() -> Message:
    return ForeignMessages().event("deployment.started", ARTIFACT)


def activity() -> Message:
    return ForeignMessages().event("activity.recorded", ARTIFACT, activity_type="GITHUB_DEPLOYMENT_INACTIVE")


@pytest.mark.parametrize(
    ("highest", "number"),
    [
        ([], 1),
        ([("main", 4)], 5),
        ([("main", 4), ("MAIN", 9)], 10),
        ([("hotfix", 9), ("main", 4)], 5),
        ([("hotfix", 9)], 1),
    ],
)
def test_next_number_follows_the_tracks_that_collide(highest: list[tuple[str, int]], number: int) -> None:
    assert next_number(highest, "main") == number


@pytest.mark.parametrize("message", [started(), activity()], ids=["deployment", "activity"])
@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (State(next_number=INT_MAX + 1), Reason.RELEASE_CONFLICT),
        (State(next_number=1, number_taken=True), Reason.RELEASE_CONFLICT),
    ],
    ids=["no number left", "number taken"],
)
def test_release_without_a_free_number_is_not_created(message: Message, state: State, reason: Reason) -> None:
    assert isinstance(decide(State(next_number=1), message), Applied)
    outcome = decide(state, message)
    assert isinstance(outcome, Rejected)
    assert outcome.rejection.reason == reason


@pytest.mark.parametrize("message", [started(), activity()], ids=["deployment", "activity"])
def test_release_that_was_found_and_deleted_is_not_created(message: Message) -> None:
    """Its id is another application's; the one that the event would create has another."""
    outcome = decide(State(next_number=1), message.resolved(OTHER_RELEASE))
    assert isinstance(outcome, Rejected)
    assert outcome.rejection.reason == Reason.RELEASE_NOT_FOUND


def test_resolved_message_has_the_release_that_was_found() -> None:
    message = started()
    found = message.resolved(OTHER_RELEASE)
    assert (found.release_id, found.id) == (OTHER_RELEASE, message.id)
    assert found.resolved(OTHER_RELEASE) is found


def test_merged_states_have_the_runs_of_all() -> None:
    first, second = (ForeignMessages().component_id for _ in range(2))
    runs: list[Any] = [{first: 1}, {}, {second: None}]
    states = merged([State(runs=known) for known in runs])
    assert [state.runs for state in states] == [{first: 1, second: None}] * 3
