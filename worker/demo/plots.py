"""What happens to a release on an ordinary day: reviews, promotions, retries, late news, rollbacks.

None of this is refused; what is refused stands in `mishaps`.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

from worker.demo.story import Stage, Story


def review(story: Story) -> None:
    """Take a release from its creation to its approval, sometimes by detours."""
    story.tell("release.created.v1", story.fields)
    story.pause(30, 600)
    submitted = story.tell("release.submitted.v1")
    story.pause(60, 1_500)
    match story.dice.randrange(10):
        case 0:  # sent back, reworked from draft
            story.tell("release.rejected.v1")
            story.pause(300, 1_200)
            story.tell("release.reopened.v1")
            story.pause(60, 900)
            story.tell("release.submitted.v1")
            story.pause(60, 600)
        case 1:  # sent back, handed in again as it is
            story.tell("release.rejected.v1")
            story.pause(60, 600)
            story.tell("release.submitted.v1")
            story.tell("release.submitted.v1")  # a double click: another event, the same status
            story.pause(60, 600)
        case 2:  # withdrawn by its author
            story.tell("release.reopened.v1")
            story.pause(60, 600)
            story.tell("release.submitted.v1")
            story.repeat(submitted)
            story.pause(60, 600)
        case _:
            pass
    approved = story.tell("release.approved.v1")
    if story.dice.random() < 0.1:
        story.repeat(approved)
    if story.dice.random() < 0.1:
        story.tell("release.approved.v1")
    story.pause(20, 300)


def smooth(story: Story, stage: Stage) -> bool:
    story.deploy("requested", stage)
    story.pause(2, 40)
    story.deploy("started", stage)
    story.pause(20, 400)
    story.deploy("succeeded", stage)
    return True


def retried(story: Story, stage: Stage) -> bool:
    """Fail, once or twice, and be requested again."""
    for _ in range(story.dice.randrange(1, 3)):
        story.deploy("requested", stage)
        story.pause(2, 40)
        story.deploy("started", stage)
        story.pause(20, 300)
        story.deploy("failed", stage)
        story.pause(60, 400)
    return smooth(story, stage)


def superseded(story: Story, stage: Stage) -> bool:
    """Request again while the first attempt still runs; its late answer must not count."""
    story.deploy("requested", stage)
    story.pause(2, 30)
    story.deploy("started", stage)
    story.pause(10, 60)
    story.deploy("requested", stage)
    story.pause(5, 20)
    if story.dice.random() < 0.5:
        story.deploy("cancelled", stage, at=story.now - timedelta(seconds=30))
    story.deploy("started", stage)
    story.pause(10, 60)
    story.deploy("succeeded", stage)
    return True


def numbered(story: Story, stage: Stage) -> bool:
    """Name every attempt, and hear from the superseded one after all."""
    story.deploy("requested", stage, attempt=1)
    story.pause(3, 30)
    story.deploy("started", stage, attempt=1)
    story.pause(30, 200)
    if story.dice.random() < 0.5:
        story.deploy("failed", stage, attempt=1)
        story.pause(30, 90)
        story.deploy("requested", stage, attempt=2)
    else:
        story.deploy("started", stage, attempt=2)
        story.pause(3, 30)
        story.deploy("succeeded", stage, attempt=1)
    story.pause(3, 30)
    story.deploy("succeeded", stage, attempt=2)
    return True


def late(story: Story, stage: Stage) -> bool:
    """Hear that it started after hearing that it was done, twice over."""
    story.deploy("requested", stage)
    story.pause(20, 60)
    then = story.now
    story.pause(60, 300)
    story.deploy("succeeded", stage)
    story.pause(5, 600)
    story.deploy("started", stage, at=then)
    story.deploy("requested", stage, attempt=1, at=then - timedelta(seconds=3))
    return True


def cancelled(story: Story, stage: Stage) -> bool:
    story.deploy("requested", stage)
    story.pause(5, 100)
    if story.dice.random() < 0.5:
        story.deploy("started", stage)
        story.deploy("started", stage)  # two runners, one deployment
        story.pause(5, 100)
    story.deploy("cancelled", stage)
    return False


def rolled_back(story: Story, stage: Stage) -> bool:
    """Succeed, alarm, roll back; at times by the attempt's number."""
    smooth(story, stage)
    story.pause(120, 1_800)
    if story.dice.random() < 0.3:
        story.deploy("rolled_back", stage, attempt=1)
    else:
        story.deploy("rolled_back", stage)
    return False


def failed(story: Story, stage: Stage) -> bool:
    story.deploy("requested", stage)
    story.pause(2, 30)
    story.deploy("failed", stage)
    return False


def abrupt(story: Story, stage: Stage) -> bool:
    """Say only how it ended, as pipelines do that have one notification step."""
    story.deploy("succeeded", stage)
    return True


COURSES: Final[dict[Callable[[Story, Stage], bool], int]] = {
    smooth: 46,
    retried: 12,
    superseded: 9,
    numbered: 9,
    late: 7,
    cancelled: 4,
    rolled_back: 6,
    failed: 3,
    abrupt: 4,
}


def promote(story: Story, environment: str) -> bool:
    """Deploy to one environment and say whether the release may go further."""
    stage = story.stage(environment)
    (course,) = story.dice.choices(list(COURSES), weights=list(COURSES.values()))
    further = course(story, stage)
    if story.dice.random() < 0.06:
        story.repeat(story.records[-1])
    if story.dice.random() < 0.3:
        story.pause(5, 120)
        remark(story, stage)
    story.pause(60, 1_500)
    return further


def remark(story: Story, stage: Stage) -> None:
    """Record something the worker has no opinion on."""
    dice = story.dice
    kind, data = dice.choice(
        (
            ("SMOKE_TESTS_PASSED", {"tests": dice.randrange(20, 400), "dauer_sekunden": dice.randrange(9, 90)}),
            ("CHANGE_TICKET_LINKED", {"ticket": f"CHG-{dice.randrange(10_000)}", "title": "Ünïcode überall ✓"}),
            ("SECURITY_SCAN_DONE", {"critical": 0, "high": dice.randrange(3), "tool": {"name": "scan", "v": [1, 4]}}),
        )
    )
    where = {"environment_id": stage.environment_id} if dice.random() < 0.7 else {}
    story.tell("activity.recorded.v1", {"activity_type": kind, "activity_data": data, **where})
