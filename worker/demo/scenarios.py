"""What happens to a release on an ordinary day: reviews, deployments, retries, late events, rollbacks.

A scenario is a line of steps. A number is the longest pause, in seconds, before the next step. `#2` names the attempt.
`@60` dates the event 60 seconds back, so that it comes late. `repeat` delivers the last record again. None of these
events is rejected; those that are stand in `publisher_faults`.
"""

import random
from typing import Final

from worker.demo.release_publisher import ReleasePublisher

REVIEWS: Final[dict[str, int]] = {
    "created 600 submitted 1500 approved": 6,
    "created 600 submitted 1500 approved approved repeat": 1,
    "created 600 submitted 1500 rejected 1200 reopened 900 submitted 600 approved": 1,
    "created 600 submitted 1500 rejected 600 submitted submitted 600 approved": 1,
    "created 600 submitted 1500 reopened 600 submitted repeat 600 approved": 1,
}
"""Each with its weight."""

DEPLOYMENTS: Final[dict[str, int]] = {
    "requested 40 started 400 succeeded": 46,
    "requested 40 started 300 failed 400 requested 40 started 400 succeeded": 8,
    "requested 40 started 300 failed 400 started 300 failed 400 requested 40 started 400 succeeded": 4,
    "requested 30 started 60 requested 20 cancelled@40 started 60 succeeded": 5,
    "requested 30 started 60 requested 20 started 60 succeeded": 4,
    "requested#1 30 started#1 200 failed#1 90 requested#2 30 succeeded#2": 5,
    "requested#1 30 started#1 200 started#2 30 succeeded#1 30 succeeded#2": 4,
    "requested 300 succeeded 600 started@650 requested#1@700": 7,
    "requested 100 cancelled": 2,
    "requested 100 started started 100 cancelled": 2,
    "requested 40 started 400 succeeded 1800 rolled_back": 4,
    "requested 40 started 400 succeeded 1800 rolled_back#1": 2,
    "requested 30 failed": 3,
    "succeeded": 4,
}


def review(publisher: ReleasePublisher) -> None:
    """Take a release from its creation to its approval."""
    for word in _chosen(REVIEWS, publisher.dice):
        if word == "created":
            publisher.publish("release.created", publisher.fields)
        elif not _pause_or_repeat(publisher, word):
            publisher.publish(f"release.{word}")
    publisher.pause(300)


def deployment(publisher: ReleasePublisher, environment: str) -> bool:
    """Deploy to one environment; whether the deployment succeeded in the end."""
    steps = _chosen(DEPLOYMENTS, publisher.dice)
    for text in steps:
        if not _pause_or_repeat(publisher, text):
            step, _, seconds_ago = text.partition("@")
            step, _, attempt = step.partition("#")
            publisher.deploy(
                step, environment, attempt=int(attempt) if attempt else None, seconds_ago=float(seconds_ago or 0)
            )
    if publisher.dice.random() < 0.06:
        publisher.repeat(publisher.records[-1])
    if publisher.dice.random() < 0.3:
        publisher.pause(120)
        custom_activity(publisher, environment)
    publisher.pause(1_500)
    return any(text.startswith("succeeded") for text in steps) and not steps[-1].startswith("rolled_back")


def custom_activity(publisher: ReleasePublisher, environment: str) -> None:
    """An activity of the publisher's own type."""
    dice = publisher.dice
    kind, data = dice.choice(
        (
            ("SMOKE_TESTS_PASSED", {"tests": dice.randrange(20, 400), "dauer_sekunden": dice.randrange(9, 90)}),
            ("CHANGE_TICKET_LINKED", {"ticket": f"CHG-{dice.randrange(10_000)}", "title": "Ünïcode überall ✓"}),
            ("SECURITY_SCAN_DONE", {"critical": 0, "high": dice.randrange(3), "tool": {"name": "scan", "v": [1, 4]}}),
        )
    )
    where = {"environment_id": environment} if dice.random() < 0.7 else {}
    publisher.publish("activity.recorded", {"activity_type": kind, "activity_data": data, **where})


def _chosen(scenarios: dict[str, int], dice: random.Random) -> list[str]:
    [line] = dice.choices(list(scenarios), weights=list(scenarios.values()))
    return line.split()


def _pause_or_repeat(publisher: ReleasePublisher, word: str) -> bool:
    if word.isdigit():
        publisher.pause(float(word))
    elif word == "repeat":
        publisher.repeat(publisher.records[-1])
    else:
        return False
    return True
