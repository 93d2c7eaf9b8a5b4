"""Would the comparison notice? Each mutant breaks one rule of the worker's, and the search finds a story that shows it.

The seed is fixed, so that the answer is the same on every run.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from schemas.statuses import DeploymentStatus, ReleaseStatus
from tests.properties import world
from tests.properties.two_opinions import STORIES, Step, compare
from worker.domain import attempts, decide, effects
from worker.domain.rows import Deployment
from worker.domain.state import Applied, Outcome
from worker.handling import publications

Break = Callable[[pytest.MonkeyPatch], None]
EXAMPLES_MAX = 600


def no_guard_of_transitions(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "release_may_become", lambda **_: True)


def no_guard_of_attempts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(attempts, "deployment_may_become", lambda **_: True)


def the_attempt_is_not_counted_up(patch: pytest.MonkeyPatch) -> None:
    honest = attempts.choose

    def choose(*args: Any, **named: Any) -> Any:
        step = honest(*args, **named)
        return replace(step, attempt=1) if isinstance(step, attempts.Open) else step

    patch.setattr(decide, "choose", choose)


def a_repeat_is_not_known(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "duplicate", lambda *_: None)


def nothing_supersedes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(effects.Effects, "supersede", lambda *_: None)


def superseding_fails_the_older(patch: pytest.MonkeyPatch) -> None:
    def supersede(self: Any, release: Any, active: Deployment) -> None:
        self._move(release, active, DeploymentStatus.FAILED, particulars=effects._NOTHING_SAID)

    patch.setattr(effects.Effects, "supersede", supersede)


def _chooses_at_another_time(patch: pytest.MonkeyPatch, **changed: int) -> None:
    honest = attempts.choose

    def choose(siblings: Any, **named: Any) -> Any:
        named["event_time"] = named["event_time"].replace(**changed)
        return honest(siblings, **named)

    patch.setattr(decide, "choose", choose)


def a_late_event_is_applied(patch: pytest.MonkeyPatch) -> None:
    _chooses_at_another_time(patch, year=2999)


def an_event_of_the_same_moment_is_late(patch: pytest.MonkeyPatch) -> None:
    _chooses_at_another_time(patch, microsecond=0)


def the_last_entry_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    honest = decide.decide

    def forgetful(*args: Any) -> Outcome:
        outcome = honest(*args)
        if isinstance(outcome, Applied) and len(outcome.changes.entries) > 1:
            return Applied(changes=replace(outcome.changes, entries=outcome.changes.entries[:-1]))
        return outcome

    patch.setattr("tests.properties.world.decide", forgetful)


def releases_are_not_announced(patch: pytest.MonkeyPatch) -> None:
    honest = publications.status_events
    patch.setattr(
        publications, "status_events", lambda entries: [e for e in honest(entries) if ".release." not in e.type]
    )


def cancelled_attempts_count(patch: pytest.MonkeyPatch) -> None:
    def counting(deployments: Any) -> dict[str, Deployment]:
        in_order = sorted(deployments, key=attempts._recency)
        return {deployment.environment_id: deployment for deployment in in_order}

    patch.setattr(decide, "counting", counting)


def a_failure_is_outweighed_by_a_success(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        attempts,
        "_BY_PRECEDENCE",
        (
            (DeploymentStatus.SUCCESS, ReleaseStatus.DEPLOYED),
            (DeploymentStatus.FAILED, ReleaseStatus.FAILED),
            (DeploymentStatus.ROLLED_BACK, ReleaseStatus.ROLLED_BACK),
        ),
    )


def every_organization_may(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "_foreign", lambda *_: None)


def alike_is_not_asked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "_lookalike", lambda *_: None)


def the_earlier_of_two_releases_is_shown(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "_newer", lambda *_: True)


MUTANTS: list[Break] = [
    no_guard_of_transitions,
    no_guard_of_attempts,
    the_attempt_is_not_counted_up,
    a_repeat_is_not_known,
    nothing_supersedes,
    superseding_fails_the_older,
    a_late_event_is_applied,
    an_event_of_the_same_moment_is_late,
    the_last_entry_is_forgotten,
    releases_are_not_announced,
    cancelled_attempts_count,
    a_failure_is_outweighed_by_a_success,
    every_organization_may,
    alike_is_not_asked,
    the_earlier_of_two_releases_is_shown,
]


class Noticed(Exception):
    """The two differ: there is nothing more to look for."""


def search() -> None:
    @given(steps=STORIES)
    @settings(
        max_examples=EXAMPLES_MAX,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    def tell(steps: list[Step]) -> None:
        try:
            compare(steps)
        except AssertionError as difference:
            raise Noticed from difference

    tell()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_rule_is_noticed(mutant: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    # The world would refuse some of it by itself: here only the model may object.
    monkeypatch.setattr(world, "guard", lambda *_: None)
    mutant(monkeypatch)
    with pytest.raises(Noticed):
        search()
