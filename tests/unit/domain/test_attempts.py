"""Rules 4 to 7: which attempt an event means, as tables of every status and every event."""

from datetime import datetime

import pytest

from schemas.reasons import Reason
from schemas.statuses import DeploymentStatus as D
from tests.unit.domain.story import minute, release_id
from worker.domain.attempts import Ignore, Move, Open, Refuse, Step, choose
from worker.domain.identity import deployment_id
from worker.domain.rows import Deployment

WANTED = (D.PENDING, D.IN_PROGRESS, D.SUCCESS, D.FAILED, D.CANCELLED, D.ROLLED_BACK)
# The latest attempt is in the row's status; no event says which attempt it means (rule 6).
UNNAMED = """
            requested started succeeded failed cancelled rolled_back
PENDING     open      move    move      move   move      refuse
IN_PROGRESS open      stale   move      move   move      move
SUCCESS     open      open    open      open   open      move
FAILED      open      open    open      open   open      move
CANCELLED   open      open    open      open   open      refuse
ROLLED_BACK open      open    open      open   open      refuse
"""
# The event names the latest attempt (rule 4).
NAMED = """
            requested started succeeded failed cancelled rolled_back
PENDING     stale     move    move      move   move      refuse
IN_PROGRESS refuse    stale   move      move   move      move
SUCCESS     refuse    refuse  stale     refuse refuse    move
FAILED      refuse    refuse  refuse    stale  refuse    move
CANCELLED   refuse    refuse  refuse    refuse stale     refuse
ROLLED_BACK refuse    refuse  refuse    refuse refuse    stale
"""


def cells(table: str) -> list[tuple[D, D, str]]:
    _, *lines = table.strip().splitlines()
    rows = [line.split() for line in lines]
    return [(D(status), wanted, cell) for status, *row in rows for wanted, cell in zip(WANTED, row, strict=True)]


def deployment(attempt: int, status: D, *, at: float = 0) -> Deployment:
    return Deployment(
        id=deployment_id(release_id=release_id(), environment_id="prod", config_revision=1, attempt=attempt),
        environment_id="prod",
        config_revision=1,
        attempt=attempt,
        status=status,
        updated_at=minute(at),
    )


def kind(step: Step) -> str:
    match step:
        case Open():
            return "open"
        case Move():
            return "move"
        case Ignore():
            return "stale"
        case Refuse():
            return "refuse"


NOW: datetime = minute(0)


@pytest.mark.parametrize(("status", "wanted", "expected"), cells(UNNAMED))
def test_without_an_attempt_the_latest_decides(status: D, wanted: D, expected: str) -> None:
    """Rule 6, at the time of the latest attempt's last event: equal is not older."""
    first, latest = deployment(1, D.CANCELLED, at=-9), deployment(2, status)
    step = choose([latest, first], wanted=wanted, attempt=None, event_time=NOW)
    assert kind(step) == expected
    assert (
        step
        == {
            "open": Open(3),
            "move": Move(latest),
            "stale": Ignore(latest),
            "refuse": Refuse(Reason.INVALID_TRANSITION, "no attempt may become ROLLED_BACK"),
        }[expected]
    )


@pytest.mark.parametrize("wanted", WANTED)
def test_without_an_attempt_the_first_event_opens_the_first(wanted: D) -> None:
    """Rule 6; only a roll-back has nothing to roll back."""
    step = choose([], wanted=wanted, attempt=None, event_time=NOW)
    assert kind(step) == ("refuse" if wanted is D.ROLLED_BACK else "open")
    assert step == Open(1) or wanted is D.ROLLED_BACK


@pytest.mark.parametrize("status", list(D))
@pytest.mark.parametrize("wanted", WANTED)
def test_without_an_attempt_an_event_older_than_the_latest_is_stale(status: D, wanted: D) -> None:
    """Rule 6: the first thing asked, for every type."""
    first, latest = deployment(1, D.SUCCESS, at=-9), deployment(2, status)
    assert choose([first, latest], wanted=wanted, attempt=None, event_time=minute(-1)) == Ignore(latest)


def test_a_rollback_goes_to_the_latest_attempt_that_allows_it() -> None:
    """Rule 6: over the attempts that do not; and not to an earlier one that would."""
    attempts = [
        deployment(1, D.SUCCESS),
        deployment(2, D.FAILED),
        deployment(3, D.ROLLED_BACK),
        deployment(4, D.CANCELLED),
    ]
    assert choose(attempts, wanted=D.ROLLED_BACK, attempt=None, event_time=NOW) == Move(attempts[1])


@pytest.mark.parametrize(("status", "wanted", "expected"), cells(NAMED))
def test_a_named_latest_attempt_moves_where_its_status_allows(status: D, wanted: D, expected: str) -> None:
    """Rule 4, at the time of the attempt's last event."""
    target = deployment(2, status)
    step = choose([deployment(1, D.FAILED), target], wanted=wanted, attempt=2, event_time=NOW)
    assert kind(step) == expected
    if isinstance(step, Move | Ignore):
        assert step.target is target
    if isinstance(step, Refuse):
        assert step.reason is Reason.INVALID_TRANSITION


@pytest.mark.parametrize(("status", "wanted", "expected"), cells(NAMED))
def test_a_named_earlier_attempt_moves_too_unless_it_is_superseded(status: D, wanted: D, expected: str) -> None:
    """Rule 4: CANCELLED with a later attempt is stale for every event."""
    target = deployment(1, status)
    step = choose([target, deployment(2, D.PENDING)], wanted=wanted, attempt=1, event_time=NOW)
    assert kind(step) == ("stale" if status is D.CANCELLED else expected)
    if isinstance(step, Move | Ignore):
        assert step.target is target


@pytest.mark.parametrize("status", list(D))
@pytest.mark.parametrize("wanted", WANTED)
def test_an_event_older_than_its_attempt_is_stale(status: D, wanted: D) -> None:
    """Rule 4: also where the transition is not allowed, which is asked later."""
    target = deployment(1, status)
    assert choose([target], wanted=wanted, attempt=1, event_time=minute(-1)) == Ignore(target)


@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize("at", [-1, 0, 1])
def test_a_named_next_attempt_opens(wanted: D, at: float) -> None:
    """Rule 5: with the event's status, whatever it is, and whenever it happened."""
    assert choose([], wanted=wanted, attempt=1, event_time=minute(at)) == Open(1)
    attempts = [deployment(1, D.CANCELLED), deployment(2, D.PENDING)]
    assert choose(attempts, wanted=wanted, attempt=3, event_time=minute(at)) == Open(3)


@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize(("known", "attempt"), [(0, 2), (1, 3), (2, 9), (0, 2**63 - 1)])
def test_an_attempt_beyond_the_next_is_a_gap(wanted: D, known: int, attempt: int) -> None:
    """Rule 5: also where it is older than everything."""
    attempts = [deployment(number, D.FAILED) for number in range(1, known + 1)]
    step = choose(attempts, wanted=wanted, attempt=attempt, event_time=minute(-1))
    assert isinstance(step, Refuse)
    assert step.reason is Reason.ATTEMPT_GAP
    assert f"attempt {attempt} " in step.detail
