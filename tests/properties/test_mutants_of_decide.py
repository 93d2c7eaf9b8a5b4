"""Each mutant breaks one rule of the worker's, and the search finds a scenario on which the oracle differs.

The seed is fixed, so that the answer is the same on every run.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from schemas import decode, envelope
from schemas.confusables import collides
from schemas.statuses import DeploymentStatus, ReleaseStatus
from tests.properties import world
from tests.properties.oracle_scenarios import SCENARIOS, Step, compare
from worker.pipeline import outgoing
from worker.rules import attempts, decide, effects, identity, message, status_events
from worker.rules.rows import Deployment
from worker.rules.state import Applied, Outcome
from worker.rules.transitions import RELEASE_TRANSITIONS

Break = Callable[[pytest.MonkeyPatch], None]
EXAMPLES_MAX = 2_000


def no_guard_of_transitions(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "review_may_become", lambda **_: True)


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
        self._move(release, active, DeploymentStatus.FAILED, optional_fields=effects._NO_OPTIONAL_FIELDS)

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


def _lateness(patch: pytest.MonkeyPatch, change: Callable[[Any], Any]) -> None:
    """`change` makes another rule of the honest one."""
    patch.setattr(attempts, "_late", change(attempts._late))


def every_event_of_one_moment_is_applied(patch: pytest.MonkeyPatch) -> None:
    def change(honest: Any) -> Any:
        def late(target: Deployment, *args: Any, event_time: Any, **named: Any) -> Any:
            return event_time != target.updated_at and honest(target, *args, event_time=event_time, **named)

        return late

    _lateness(patch, change)


def an_end_has_no_leeway(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(attempts, "_CLOCK_DIFFERENCE_MAX", timedelta(0))


def an_end_has_leeway_without_bound(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(attempts, "_CLOCK_DIFFERENCE_MAX", timedelta(days=1))


def an_end_is_late_like_any_event(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(attempts, "ENDS", frozenset())


def a_repeated_end_ends_the_next_attempt(patch: pytest.MonkeyPatch) -> None:
    def change(honest: Any) -> Any:
        return lambda target, _, **named: honest(target, {}, **named)

    _lateness(patch, change)


def all_statuses_are_equally_far(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(attempts, "PROGRESS", dict.fromkeys(DeploymentStatus, 0))


def the_last_event_time_goes_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(effects, "max", lambda _before, at: at, raising=False)


def an_approval_of_an_approved_release_is_refused(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "BEYOND_APPROVAL", frozenset())


def a_release_event_moves_what_deployments_made(patch: pytest.MonkeyPatch) -> None:
    machine = {**RELEASE_TRANSITIONS}
    patch.setattr(decide, "BEYOND_APPROVAL", frozenset())
    patch.setattr(decide, "review_may_become", lambda *, current, wanted: wanted in machine[current])


def a_time_far_ahead_is_taken(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decode, "_ahead", lambda *_: [])


def a_position_is_an_identity_without_its_timestamp(patch: pytest.MonkeyPatch) -> None:
    honest = identity.position_id
    patch.setattr(message, "position_id", lambda **named: honest(**{**named, "timestamp_ms": 0}))


def an_emoji_tells_names_apart(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "collides", lambda text, others: collides(text.encode("unicode_escape").decode(), others))


def a_header_given_twice_is_refused(patch: pytest.MonkeyPatch) -> None:
    honest = envelope._sort_headers

    def sort(headers: Any) -> Any:
        names = [name for name, _ in headers]
        found = honest(headers)
        return found._replace(faults=found.faults | {name: "" for name in names if names.count(name) > 1})

    patch.setattr(envelope, "_sort_headers", sort)


def the_last_entry_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    honest = decide.decide

    def forgetful(*args: Any) -> Outcome:
        outcome = honest(*args)
        if isinstance(outcome, Applied) and len(outcome.changes.activities) > 1:
            return Applied(changes=replace(outcome.changes, activities=outcome.changes.activities[:-1]))
        return outcome

    patch.setattr("tests.properties.world.decide", forgetful)


def releases_are_not_announced(patch: pytest.MonkeyPatch) -> None:
    honest = status_events.status_events
    patch.setattr(
        outgoing, "status_events", lambda activities: [e for e in honest(activities) if ".release." not in e.type]
    )


def cancelled_attempts_count(patch: pytest.MonkeyPatch) -> None:
    def counting(deployments: Any) -> dict[str, Deployment]:
        in_order = sorted(deployments, key=lambda one: (one.updated_at, one.config_revision, one.attempt))
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
    patch.setattr(decide, "_organization_mismatch", lambda *_: None)


def alike_is_not_asked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(decide, "_colliding_environment", lambda *_: None)


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
    every_event_of_one_moment_is_applied,
    an_end_has_no_leeway,
    an_end_has_leeway_without_bound,
    an_end_is_late_like_any_event,
    a_repeated_end_ends_the_next_attempt,
    all_statuses_are_equally_far,
    the_last_event_time_goes_back,
    an_approval_of_an_approved_release_is_refused,
    a_release_event_moves_what_deployments_made,
    a_time_far_ahead_is_taken,
    a_position_is_an_identity_without_its_timestamp,
    an_emoji_tells_names_apart,
    a_header_given_twice_is_refused,
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
    @given(steps=SCENARIOS)
    @settings(
        max_examples=EXAMPLES_MAX,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    def search_for_difference(steps: list[Step]) -> None:
        try:
            compare(steps)
        except AssertionError as difference:
            raise Noticed from difference

    search_for_difference()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_mutant_of_decide_is_detected(mutant: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    # The world would refuse some of it by itself: here only the oracle may object.
    monkeypatch.setattr(world, "guard", lambda *_: None)
    mutant(monkeypatch)
    with pytest.raises(Noticed):
        search()
