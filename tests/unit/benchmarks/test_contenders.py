"""The line-up's own promises, and the rules of the contenders with an ORM where the stream does not reach."""

import json
from datetime import datetime
from uuid import UUID

import pytest
from pydantic import ValidationError

from benchmarks.contenders.contender import ROOT
from benchmarks.contenders.lineup import CONCURRENCY, baseline, broker_alone, faststream, plain_loop, this_worker
from benchmarks.contenders.orm_events import DeploymentEvent
from benchmarks.contenders.orm_handler import roll_up
from benchmarks.contenders.orm_models import Deployment
from worker.settings import Settings

EVENT = {
    "specversion": "1.0",
    "id": "1",
    "source": "/ci",
    "type": "dev.rudder.deployment.requested.v1",
    "time": "2026-03-02T10:00:00.000001+02:00",
    "data": {
        "release_id": "f81d4fae-7dec-41d0-a765-00a0c91e6bf6",
        "organization_id": "acme",
        "environment_id": "staging",
    },
}


def test_contender_names_are_unique() -> None:
    """Tallies are kept by name."""
    contenders = [
        *(this_worker(concurrency=lanes, processes=processes) for lanes in (1, 16) for processes in (1, 2)),
        plain_loop(),
        faststream(workers=1),
        faststream(workers=16),
        faststream(workers=16, batches=True),
        *baseline(ROOT),
        broker_alone("aiokafka"),
        broker_alone("confluent"),
    ]
    assert len({contender.name for contender in contenders}) == len(contenders)


def test_worker_concurrency_defaults_to_the_users_default() -> None:
    """Where a measurement names no concurrency, it is the one that users get."""
    assert Settings.model_fields["concurrency"].default == CONCURRENCY
    assert this_worker().variables() == {"RUDDER_CONCURRENCY": str(CONCURRENCY)}


def test_contender_times_are_utc_without_a_zone() -> None:
    event = DeploymentEvent.model_validate_json(json.dumps(EVENT))
    assert event.time == datetime(2026, 3, 2, 8, 0, 0, 1)  # noqa: DTZ001 - as the columns hold it


@pytest.mark.parametrize("changed", [{"specversion": "0.3"}, {"type": "x"}, {"time": "2026-03-02T10:00:00"}])
def test_contenders_validate_what_they_read(changed: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        DeploymentEvent.model_validate({**EVENT, **changed})


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ("PENDING SUCCESS FAILED", "DEPLOYING"),
        ("FAILED SUCCESS ROLLED_BACK", "FAILED"),
        ("SUCCESS ROLLED_BACK CANCELLED", "DEPLOYED"),
        ("ROLLED_BACK CANCELLED", "ROLLED_BACK"),
        ("CANCELLED", "APPROVED"),
        ("", "APPROVED"),
    ],
)
def test_release_status_follows_its_environments(statuses: str, expected: str) -> None:
    """Rule 8 of the contract, one attempt in each environment."""
    rows = [_attempt(status, environment=f"environment-{n}", at=n) for n, status in enumerate(statuses.split())]
    assert roll_up(rows) == expected


def test_environment_counts_with_its_latest_event() -> None:
    """Not with its highest attempt: an older one may have been taken back since."""
    rows = [_attempt("ROLLED_BACK", at=9, attempt=1), _attempt("SUCCESS", at=5, attempt=2)]
    assert roll_up(rows) == "ROLLED_BACK"


def _attempt(status: str, *, environment: str = "staging", at: int = 0, attempt: int = 1) -> Deployment:
    return Deployment(
        id=UUID(int=at),
        environment_id=environment,
        config_revision=1,
        attempt=attempt,
        status=status,
        updated_at=datetime(2026, 3, 2, 8, 0, at),  # noqa: DTZ001 - as the columns hold it
    )
