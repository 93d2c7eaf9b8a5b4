"""What runs where.

In a cell (environment, component, deployment track) runs the attempt that succeeded last and was not rolled back. A
failed or a running attempt changes nothing about it. If a later success was rolled back, the attempt runs again since
that roll back.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from schemas.statuses import DeploymentStatus
from schemas.times import format_time
from worker.stored_status import Attempt, Cell, CellAttempt

_NO_TIME = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentStatus:
    """`running`: None where nothing succeeded, or all was rolled back. `since`: of `running`. `latest`: the attempt of
    the latest event, cancelled ones left out.
    """

    cell: Cell
    organization_id: str
    running: Attempt | None
    since: datetime | None
    latest: Attempt

    def as_json(self) -> dict[str, Any]:
        running = None
        if self.running is not None:
            running = {
                **_as_json(self.running),
                "since": _text(self.since),
                "deployed_at": _text(self.running.deployed_at),
                "deployed_by": self.running.deployed_by,
                "commit_hash": self.running.commit_hash,
                "image_tag": self.running.image_tag,
            }
        latest = {
            **_as_json(self.latest),
            "status": self.latest.status,
            "updated_at": _text(self.latest.updated_at),
        }
        return {
            "environment_id": self.cell.environment_id,
            "component_id": str(self.cell.component_id),
            "deployment_track_id": self.cell.deployment_track_id,
            "organization_id": self.organization_id,
            "running": running,
            "latest": latest,
        }


def environment_statuses(found: Iterable[CellAttempt]) -> tuple[EnvironmentStatus, ...]:
    """One for each cell, in the order in which the cells come. Further attempts in `found` make no difference."""
    cells: dict[Cell, list[CellAttempt]] = defaultdict(list)
    for one in found:
        cells[one.cell].append(one)
    return tuple(_status(cell, attempts) for cell, attempts in cells.items())


def _status(cell: Cell, found: list[CellAttempt]) -> EnvironmentStatus:
    attempts = [one.attempt for one in found]
    succeeded = [attempt for attempt in attempts if attempt.status == DeploymentStatus.SUCCESS and attempt.deployed_at]
    running = max(succeeded, key=_success, default=None)
    return EnvironmentStatus(
        cell=cell,
        organization_id=found[0].organization_id,
        running=running,
        since=None if running is None else _since(running, attempts),
        latest=max(attempts, key=_event),
    )


def _since(running: Attempt, attempts: Iterable[Attempt]) -> datetime | None:
    begins = [running.deployed_at or _NO_TIME]
    for attempt in attempts:
        rolled_back = attempt.status == DeploymentStatus.ROLLED_BACK and attempt.updated_at is not None
        if rolled_back and (attempt.deployed_at or _NO_TIME) > begins[0]:
            begins.append(attempt.updated_at or _NO_TIME)
    return max(begins)


def _success(attempt: Attempt) -> tuple[datetime, str, int, int]:
    """Ties as in the pointers of docs/contract.md#decision-10: by the release's id."""
    return (
        attempt.deployed_at or _NO_TIME,
        attempt.release_id.hex,
        attempt.config_revision,
        attempt.attempt,
    )


def _event(attempt: Attempt) -> tuple[datetime, str, int, int]:
    return attempt.updated_at or _NO_TIME, attempt.release_id.hex, attempt.config_revision, attempt.attempt


def _as_json(attempt: Attempt) -> dict[str, Any]:
    return {
        "release_id": str(attempt.release_id),
        "release": attempt.release_name,
        "deployment_id": str(attempt.deployment_id),
        "deployment": attempt.name,
        "config_revision": attempt.config_revision,
        "attempt": attempt.attempt,
    }


def _text(time: datetime | None) -> str | None:
    return None if time is None else format_time(time)
