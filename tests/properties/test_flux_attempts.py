"""Flux attempts one revision again and again, and reports health at each interval: the attempts that come of it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import permutations
from uuid import uuid5

import pytest

from schemas.adapters import flux
from schemas.adapters.foreign import ForeignEvent, ForeignRecord
from schemas.derived_ids import NAMESPACE
from schemas.statuses import DeploymentStatus
from tests.unit.schemas.adapters.vendor_payloads import body_of, changed
from worker.rules.attempts import Ignore, Move, Open, Refuse, choose, choose_of_run
from worker.rules.decide import WANTED_DEPLOYMENT_STATUS
from worker.rules.rows import Deployment
from worker.rules.transitions import ACTIVE

STARTED, DONE, UNHEALTHY = ("Progressing", "info"), ("ReconciliationSucceeded", "info"), ("HealthCheckFailed", "error")


def attempts(events: Sequence[ForeignEvent]) -> list[str]:
    """The status of each attempt after the events, delivered in this order; a known id changes nothing."""
    rows: list[Deployment] = []
    runs: dict[str, int] = {}
    known = set[str]()
    for event in events:
        if event.id not in known:
            known.add(event.id)
            deliver(event, rows, runs)
    return [str(row.status) for row in rows]


def deliver(event: ForeignEvent, rows: list[Deployment], runs: dict[str, int]) -> None:
    wanted, time = WANTED_DEPLOYMENT_STATUS[event.type], event.time
    assert time is not None
    if event.run is None:
        step = choose(rows, wanted=wanted, attempt=None, event_time=time)
    else:
        known, attempt = event.run in runs, runs.get(event.run)
        step = choose_of_run(rows, wanted=wanted, known=known, attempt=attempt, event_time=time)
    match step:
        case Open(attempt):
            for number, row in enumerate(rows):
                rows[number] = replace(row, status=DeploymentStatus.CANCELLED) if row.status in ACTIVE else row
            rows.append(opened(attempt, wanted, time))
            if event.run is not None:
                runs[event.run] = attempt
        case Move(target):
            rows[target.attempt - 1] = replace(target, status=wanted, updated_at=time)
        case Ignore():
            pass
        case Refuse(_, detail):
            pytest.fail(detail)


def opened(attempt: int, status: DeploymentStatus, time: datetime) -> Deployment:
    return Deployment(
        id=uuid5(NAMESPACE, str(attempt)),
        environment_id="production",
        config_revision=1,
        attempt=attempt,
        status=status,
        created_at=time,
        updated_at=time,
    )


def events_of(*states: tuple[str, str]) -> list[ForeignEvent]:
    """One a minute, all of one revision."""
    found = []
    for minute, (reason, severity) in enumerate(states):
        change = {"reason": reason, "severity": severity, "timestamp": f"2026-03-01T09:{minute:02}:00Z"}
        event = flux.adapt(ForeignRecord(headers={}, body=changed(body_of("flux", "event-v1beta3.json"), change)))
        assert isinstance(event, ForeignEvent)
        found.append(event)
    return found


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([STARTED, DONE], ["SUCCESS"]),
        ([STARTED, DONE, DONE, DONE], ["SUCCESS"]),
        ([DONE], ["SUCCESS"]),
        ([STARTED, UNHEALTHY], ["FAILED"]),
        ([STARTED, UNHEALTHY, UNHEALTHY, DONE], ["FAILED", "SUCCESS"]),
        ([STARTED, DONE, UNHEALTHY, DONE], ["SUCCESS"]),
        ([STARTED, UNHEALTHY, DONE, UNHEALTHY, DONE], ["FAILED", "SUCCESS"]),
        ([("BuildFailed", "error"), DONE], ["FAILED", "SUCCESS"]),
        # A limit on the page: this revision changed nothing, so no attempt was started that the failure belongs to.
        ([DONE, UNHEALTHY, DONE], ["SUCCESS", "FAILED"]),
    ],
)
def test_attempts_of_one_revision(states: list[tuple[str, str]], expected: list[str]) -> None:
    assert attempts(events_of(*states)) == expected


def test_success_stands_in_every_order() -> None:
    for order in permutations(events_of(STARTED, DONE, DONE)):
        assert attempts(order) == ["SUCCESS"]
