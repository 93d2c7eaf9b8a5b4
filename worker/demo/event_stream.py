"""A day of CI/CD as Kafka records, in the order in which they arrive: hundreds of releases at once, with faults.

The same seed gives the same bytes.
"""

import heapq
import random
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from worker.demo import publisher_faults, scenarios
from worker.demo.company import DAY, ENVIRONMENTS, components
from worker.demo.release_publisher import ENCODINGS, EventRecord, ReleasePublisher

RELEASES: Final = 200
_FIRST_HOUR: Final = 6
_LAST_HOUR: Final = 17
_TAKEN_NUMBER_LAST_HOUR: Final = 8


def event_stream(*, seed: int, releases: int = RELEASES) -> Iterator[EventRecord]:
    """Yield the day's records by their timestamps; the records of one release are in their order."""
    dice = random.Random(f"day {seed}")
    company = components(seed=seed)
    numbers: Counter[int] = Counter()
    streams = []
    for index in range(releases):
        component = dice.randrange(len(company))
        numbers[component] += 1
        taken = index % 40 == 7
        last_hour = _TAKEN_NUMBER_LAST_HOUR if taken else _LAST_HOUR
        own_dice = random.Random(f"release {seed} {index}")
        publisher = ReleasePublisher(
            dice=own_dice,
            component=company[component],
            number=numbers[component],
            begins=DAY + timedelta(hours=_FIRST_HOUR, seconds=own_dice.uniform(0, (last_hour - _FIRST_HOUR) * 3_600)),
            encoding=ENCODINGS[component % len(ENCODINGS)],
        )
        _begin(publisher, index)
        for environment in ENVIRONMENTS:
            if not scenarios.deployment(publisher, environment):
                break
        if taken:
            publisher_faults.taken_number(publisher)
        streams.append(publisher.records)
    yield from heapq.merge(*streams, key=lambda record: record.timestamp_ms)


def _begin(publisher: ReleasePublisher, index: int) -> None:
    """Bring a release to where it can be deployed; every second one with a fault."""
    if index % 7 == 3:
        publisher.fields_in_every_deployment = True
        return
    match index % 20:
        case 5:
            publisher_faults.deployment_before_approval(publisher)
        case 11:
            publisher_faults.approval_of_a_draft(publisher)
        case 16:
            publisher_faults.deployment_before_creation(publisher)
        case _:
            scenarios.review(publisher)
            if index % 2 == 0:
                publisher_faults.fault(publisher, index // 2)
