"""A believable day of CI/CD, as raw Kafka records in the order in which they arrive.

The demo needs input that nobody tuned to the worker: hundreds of releases at once, in every voice publishers have,
with everything that goes wrong on a real day. The same seed gives the same bytes.
"""

import heapq
import random
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from worker.demo.company import DAY, ENVIRONMENTS, Component, a_company
from worker.demo.mishaps import MISHAPS, approval_of_a_draft, impatience, taken_number, too_early
from worker.demo.plots import promote, review
from worker.demo.record import RawRecord
from worker.demo.story import VOICES, Story

RELEASES: Final = 200
MISHAP_EVERY: Final = 2
FIRST_HOUR: Final = 6
LAST_HOUR: Final = 17
MORNING_HOUR: Final = 8


def a_day(*, seed: int, releases: int = RELEASES) -> Iterator[RawRecord]:
    """Yield the day's records by arrival; records of one release are always in its story's order."""
    dice = random.Random(f"day {seed}")
    company = a_company(seed=seed)
    numbers: Counter[tuple[str, str]] = Counter()
    stories = []
    for index in range(releases):
        component = dice.choice(company)
        place = (str(component.component_id), component.deployment_track_id)
        numbers[place] += 1
        stories.append(_records(index, seed=seed, component=component, number=numbers[place], company=company))
    yield from heapq.merge(*stories, key=lambda record: record.timestamp_ms)


def _records(
    index: int, *, seed: int, component: Component, number: int, company: tuple[Component, ...]
) -> list[RawRecord]:
    dice = random.Random(f"story {seed} {index}")
    taken = index % 40 == 7
    last_hour = MORNING_HOUR if taken else LAST_HOUR
    begins = DAY + timedelta(hours=FIRST_HOUR, seconds=dice.uniform(0, (last_hour - FIRST_HOUR) * 3_600))
    voice = VOICES[company.index(component) % len(VOICES)]
    without_review = index % 7 == 3
    story = Story(dice=dice, component=component, number=number, begins=begins, voice=voice, block=without_review)
    _open(story, index=index, reviewed=not without_review)
    for environment in ENVIRONMENTS:
        if not promote(story, environment):
            break
    if taken:
        taken_number(story)
    return story.records


def _open(story: Story, *, index: int, reviewed: bool) -> None:
    """Bring a release to where it can be deployed, with the mishap that is its turn."""
    if not reviewed:
        return
    match index % 20:
        case 5:
            _sometimes_repeat(story, impatience(story))
            _approve(story)
        case 11:
            _sometimes_repeat(story, approval_of_a_draft(story))
            _approve(story)
        case 16:
            too_early(story)
        case _:
            review(story)
            if index % MISHAP_EVERY == 0:
                mishap = MISHAPS[index // MISHAP_EVERY % len(MISHAPS)]
                _sometimes_repeat(story, mishap(story))
                story.pause(10, 120)


def _approve(story: Story) -> None:
    story.pause(30, 300)
    story.tell("release.submitted.v1")
    story.pause(30, 300)
    story.tell("release.approved.v1")
    story.pause(10, 60)


def _sometimes_repeat(story: Story, record: RawRecord) -> None:
    if story.dice.random() < 0.35:
        story.repeat(record)
