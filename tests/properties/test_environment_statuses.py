"""What runs where, against the definition, by attempts that the database may or may not leave out."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

from hypothesis import given
from hypothesis import strategies as st

from schemas.statuses import DeploymentStatus
from worker.status.environments import EnvironmentStatus, environment_statuses
from worker.stored_status import Attempt, Cell, CellAttempt

NAMESPACE = UUID("00000000-0000-0000-0000-0000000ce11a")
EPOCH = datetime(2026, 3, 1, tzinfo=UTC)
CELLS = [
    Cell(environment_id=name, component_id=NAMESPACE, deployment_track_id="main") for name in ("production", "staging")
]
COUNTING = [status for status in DeploymentStatus if status is not DeploymentStatus.CANCELLED]


@st.composite
def attempts(draw: st.DrawFn) -> list[CellAttempt]:
    found = []
    for number in range(draw(st.integers(1, 10))):
        status = draw(st.sampled_from(COUNTING))
        succeeded = status is DeploymentStatus.SUCCESS or (
            status is DeploymentStatus.ROLLED_BACK and draw(st.booleans())
        )
        deployed_at = EPOCH + timedelta(minutes=draw(st.integers(0, 8))) if succeeded else None
        updated_at = (deployed_at or EPOCH) + timedelta(minutes=draw(st.integers(0, 8)))
        attempt = Attempt(
            deployment_id=uuid5(NAMESPACE, f"deployment {number}"),
            release_id=uuid5(NAMESPACE, f"release {number}"),
            release_name=f"20260301-{number + 1}",
            config_revision=1,
            attempt=1,
            status=status,
            created_at=EPOCH,
            updated_at=updated_at,
            deployed_at=deployed_at,
            deployed_by="ci",
            commit_hash=None,
            image_tag=None,
        )
        found.append(CellAttempt(cell=draw(st.sampled_from(CELLS)), organization_id="org", attempt=attempt))
    return found


@given(attempts())
def test_latest_success_that_stands_is_running(found: list[CellAttempt]) -> None:
    for status in environment_statuses(found):
        of_cell = [one.attempt for one in found if one.cell == status.cell]
        standing = [one for one in of_cell if one.status == DeploymentStatus.SUCCESS]
        assert (status.running is None) == (not standing)
        assert status.latest.updated_at == max(one.updated_at for one in of_cell if one.updated_at)
        if status.running is None:
            assert status.since is None
            continue
        deployed_at = moment(status.running.deployed_at)
        assert deployed_at == max(moment(one.deployed_at) for one in standing)
        rolled_back = [
            moment(one.updated_at)
            for one in of_cell
            if one.status == DeploymentStatus.ROLLED_BACK and one.deployed_at and one.deployed_at > deployed_at
        ]
        assert status.since == max([deployed_at, *rolled_back])


@given(attempts(), st.randoms(use_true_random=False))
def test_left_out_attempts_change_no_status(found: list[CellAttempt], random: object) -> None:
    """Those that a database need not send, and in any order."""
    shuffled = [one for one in found if is_needed(one, found)]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert by_cell(environment_statuses(shuffled)) == by_cell(environment_statuses(found))


def is_needed(one: CellAttempt, found: Sequence[CellAttempt]) -> bool:
    """What `StatusTables.environments` promises to send."""
    of_cell = [other.attempt for other in found if other.cell == one.cell]
    success = max((moment(o.deployed_at) for o in of_cell if o.status == DeploymentStatus.SUCCESS), default=None)
    attempt = one.attempt
    if attempt.updated_at == max(moment(other.updated_at) for other in of_cell):
        return True
    if success is None or attempt.deployed_at is None:
        return False
    if attempt.status == DeploymentStatus.SUCCESS:
        return attempt.deployed_at == success
    return attempt.status == DeploymentStatus.ROLLED_BACK and attempt.deployed_at > success


def by_cell(statuses: Sequence[EnvironmentStatus]) -> dict[Cell, EnvironmentStatus]:
    return {status.cell: status for status in statuses}


def moment(time: datetime | None) -> datetime:
    assert time is not None
    return time
