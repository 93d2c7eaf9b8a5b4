"""Rules 4 to 7: which attempt an event means, as tables of every status and every event."""

from datetime import datetime

import pytest

from schemas.reasons import Reason
from schemas.statuses import DeploymentStatus as D
from tests.unit.rules.release_scenario import minute, release_id
from worker.rules.attempts import Ignore, Move, Open, Refuse, Step, choose
from worker.rules.identity import deployment_id
from worker.rules.rows import Deployment

WANTED = (D.PENDING, D.IN_PROGRESS, D.SUCCESS, D.FAILED, D.CANCELLED, D.ROLLED_BACK)
# The latest attempt is in the row's status; no event says which attempt it means (rule 6). The event is later.
UNNAMED = """
            requested started succeeded failed cancelled rolled_back
PENDING     open      move    move      move   move      refuse
IN_PROGRESS open      stale   move      move   move      move
SUCCESS     open      open    open      open   open      move
FAILED      open      open    open      open   open      move
CANCELLED   open      open    open      open   open      refuse
ROLLED_BACK open      open    open      open   open      refuse
"""
# The same at the time of the latest attempt's last event.
UNNAMED_AT_ONCE = """
            requested started succeeded failed cancelled rolled_back
PENDING     stale     move    move      move   move      refuse
IN_PROGRESS stale     stale   move      move   move      move
SUCCESS     stale     stale   stale     stale  stale     move
FAILED      stale     stale   stale     stale  stale     move
CANCELLED   stale     stale   stale     stale  stale     refuse
ROLLED_BACK stale     stale   stale     stale  stale     stale
"""
# The event names the latest attempt (rule 4), and is later than its last event.
NAMED = """
            requested started succeeded failed cancelled rolled_back
PENDING     stale     move    move      move   move      refuse
IN_PROGRESS refuse    stale   move      move   move      move
SUCCESS     refuse    refuse  stale     refuse refuse    move
FAILED      refuse    refuse  refuse    stale  refuse    move
CANCELLED   refuse    refuse  refuse    refuse stale     refuse
ROLLED_BACK refuse    refuse  refuse    refuse refuse    stale
"""
# The same at the time of its last event.
NAMED_AT_ONCE = """
            requested started succeeded failed cancelled rolled_back
PENDING     stale     move    move      move   move      refuse
IN_PROGRESS stale     stale   move      move   move      move
SUCCESS     stale     stale   stale     stale  stale     move
FAILED      stale     stale   stale     stale  stale     move
CANCELLED   stale     stale   stale     stale  stale     refuse
ROLLED_BACK stale     stale   stale     stale  stale     stale
"""


def cells(table: str, *, at: float) -> list[tuple[float, D, D, str]]:
    """Each cell, with the time of the event in minutes."""
    _, *lines = table.strip().splitlines()
    rows = [line.split() for line in lines]
    return [(at, D(status), wanted, cell) for status, *row in rows for wanted, cell in zip(WANTED, row, strict=True)]


def deployment(attempt: int, status: D, *, at: float = 0, created_at: float | None = None) -> Deployment:
    return Deployment(
        id=deployment_id(release_id=release_id(), environment_id="prod", config_revision=1, attempt=attempt),
        environment_id="prod",
        config_revision=1,
        attempt=attempt,
        status=status,
        created_at=minute(at if created_at is None else created_at),
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


@pytest.mark.parametrize(("at", "status", "wanted", "expected"), [*cells(UNNAMED, at=1), *cells(UNNAMED_AT_ONCE, at=0)])
def test_event_without_an_attempt_depends_on_the_latest(at: float, status: D, wanted: D, expected: str) -> None:
    """Rule 6."""
    first, latest = deployment(1, D.CANCELLED, at=-9), deployment(2, status)
    step = choose([latest, first], wanted=wanted, attempt=None, event_time=minute(at))
    assert kind(step) == expected
    assert (
        step
        == {
            "open": Open(3),
            "move": Move(latest),
            "stale": Ignore(latest),
            "refuse": Refuse(Reason.INVALID_TRANSITION, "the environment has no attempt that can become ROLLED_BACK"),
        }[expected]
    )


@pytest.mark.parametrize("wanted", WANTED)
def test_first_event_without_an_attempt_opens_the_first(wanted: D) -> None:
    """Rule 6; only a roll-back has nothing to roll back."""
    step = choose([], wanted=wanted, attempt=None, event_time=NOW)
    assert kind(step) == ("refuse" if wanted is D.ROLLED_BACK else "open")
    assert step == Open(1) or wanted is D.ROLLED_BACK


@pytest.mark.parametrize("status", list(D))
@pytest.mark.parametrize("wanted", WANTED)
def test_late_event_without_an_attempt_is_stale(status: D, wanted: D) -> None:
    """Rule 6: before all else, for every type."""
    first, latest = deployment(1, D.SUCCESS, at=-9), deployment(2, status)
    assert choose([first, latest], wanted=wanted, attempt=None, event_time=minute(-1)) == Ignore(latest)


def test_rollback_finds_the_latest_attempt_that_allows_it() -> None:
    """Rule 6: over the attempts that do not; and not to an earlier one that would."""
    attempts = [
        deployment(1, D.SUCCESS),
        deployment(2, D.FAILED),
        deployment(3, D.ROLLED_BACK),
        deployment(4, D.CANCELLED),
    ]
    assert choose(attempts, wanted=D.ROLLED_BACK, attempt=None, event_time=NOW) == Move(attempts[1])


NAMED_CELLS = [*cells(NAMED, at=1), *cells(NAMED_AT_ONCE, at=0)]


@pytest.mark.parametrize(("at", "status", "wanted", "expected"), NAMED_CELLS)
def test_named_latest_attempt_changes_as_its_status_allows(at: float, status: D, wanted: D, expected: str) -> None:
    """Rule 4."""
    target = deployment(2, status)
    step = choose([deployment(1, D.FAILED, at=-1), target], wanted=wanted, attempt=2, event_time=minute(at))
    assert kind(step) == expected
    if isinstance(step, Move | Ignore):
        assert step.target is target
    if isinstance(step, Refuse):
        assert step.reason is Reason.INVALID_TRANSITION


@pytest.mark.parametrize(("at", "status", "wanted", "expected"), NAMED_CELLS)
def test_named_earlier_attempt_changes_unless_superseded(at: float, status: D, wanted: D, expected: str) -> None:
    """Rule 4: CANCELLED with a later attempt is stale for every event."""
    target = deployment(1, status)
    step = choose([target, deployment(2, D.PENDING)], wanted=wanted, attempt=1, event_time=minute(at))
    assert kind(step) == ("stale" if status is D.CANCELLED else expected)
    if isinstance(step, Move | Ignore):
        assert step.target is target


@pytest.mark.parametrize("status", list(D))
@pytest.mark.parametrize("wanted", WANTED)
def test_late_event_of_a_named_attempt_is_stale(status: D, wanted: D) -> None:
    """Rule 4: also where the transition is not allowed, which is asked later."""
    target = deployment(1, status)
    assert choose([target], wanted=wanted, attempt=1, event_time=minute(-1)) == Ignore(target)


SECOND = 1 / 60


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("status", [D.PENDING, D.IN_PROGRESS])
@pytest.mark.parametrize("wanted", [D.SUCCESS, D.FAILED, D.CANCELLED])
@pytest.mark.parametrize(
    ("at", "late"), [(3, False), (-10 * SECOND, False), (-10.001 * SECOND, True), (-11 * SECOND, True)]
)
def test_end_of_an_active_attempt_may_be_ten_seconds_early(
    named: bool, status: D, wanted: D, at: float, late: bool
) -> None:
    """Ten seconds before the attempt's first event, however much later its last event was."""
    target = deployment(1, status, at=5, created_at=0)
    step = choose([target], wanted=wanted, attempt=1 if named else None, event_time=minute(at))
    assert step == (Ignore(target) if late else Move(target))


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(("at", "late"), [(-2 * SECOND, False), (-3 * SECOND, True), (-4 * SECOND, True)])
def test_end_that_repeats_the_previous_attempt_is_stale(named: bool, at: float, late: bool) -> None:
    """A notification of the attempt before, sent once more, does not end this one."""
    before, target = deployment(1, D.SUCCESS, at=-3 * SECOND), deployment(2, D.IN_PROGRESS, at=5, created_at=0)
    step = choose([before, target], wanted=D.SUCCESS, attempt=2 if named else None, event_time=minute(at))
    assert step == (Ignore(target) if late else Move(target))


@pytest.mark.parametrize("at", [-2 * SECOND, 0])
def test_start_and_request_have_no_leeway(at: float) -> None:
    """Only ends are stamped by other clocks; a finished attempt takes no end either."""
    running, finished = deployment(1, D.IN_PROGRESS), deployment(1, D.FAILED)
    for target, wanted in [(running, D.PENDING), (running, D.IN_PROGRESS), (finished, D.SUCCESS)]:
        assert choose([target], wanted=wanted, attempt=None, event_time=minute(at)) == Ignore(target)


@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize("at", [-1, 0, 1])
def test_named_next_attempt_opens(wanted: D, at: float) -> None:
    """Rule 5: with the event's status, whatever it is, and whenever it happened."""
    assert choose([], wanted=wanted, attempt=1, event_time=minute(at)) == Open(1)
    attempts = [deployment(1, D.CANCELLED), deployment(2, D.PENDING)]
    assert choose(attempts, wanted=wanted, attempt=3, event_time=minute(at)) == Open(3)


@pytest.mark.parametrize("wanted", WANTED)
@pytest.mark.parametrize(("known", "attempt"), [(0, 2), (1, 3), (2, 9), (0, 2**63 - 1)])
def test_attempt_beyond_the_next_is_a_gap(wanted: D, known: int, attempt: int) -> None:
    """Rule 5: also where it is older than everything."""
    attempts = [deployment(number, D.FAILED) for number in range(1, known + 1)]
    step = choose(attempts, wanted=wanted, attempt=attempt, event_time=minute(-1))
    assert isinstance(step, Refuse)
    assert step.reason is Reason.ATTEMPT_GAP
    assert f"attempt {attempt} " in step.detail
