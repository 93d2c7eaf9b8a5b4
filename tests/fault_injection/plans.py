"""Fault plans: which faults are injected into a running system, where, when and for how long, all from one seed.

The same seed gives the same plan. Its timing differs from run to run, since no process or disk is equally fast twice.
That is why many plans are run, and each is checked by what is left at its end.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

WORKERS: Final = 3
FAULT_SECONDS: Final = 6.0
"""All faults begin within this time."""
SESSION_TIMEOUT_SECONDS: Final = 2.0
CRASHES: Final = 3
"""Of the database, in a plan with crashes in the middle of batches."""


class FaultKind(StrEnum):
    """A link is the connection between one worker and the database, or between it and the broker."""

    WORKER_KILLED = "worker killed"
    WORKER_STALLED = "worker stalled"
    GROUP_STORMED = "group stormed"
    BROKER_KILLED = "broker killed"
    DATABASE_KILLED = "database killed"
    DISK_FULL = "disk full"
    TOPIC_GROWN = "topic grown"
    BREAKER_OPENED = "breaker opened"
    LINK_CUT = "link cut"
    LINK_REFUSING = "link refusing"
    LINK_SLOW = "link slow"
    LINK_SILENT = "link silent"
    LINK_FORGOTTEN = "link forgotten"
    LINK_HALF_CLOSED = "link half-closed"
    REQUESTS_LOST = "requests lost"
    ANSWERS_LOST = "answers lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`worker`: its number, or that of its link. `at_seconds`: after the first event was sent. `seconds`: the
    duration of a fault that ends. `times`: for a fault that can be repeated at once. `link`: its other end.
    """

    kind: FaultKind
    at_seconds: float
    worker: int
    seconds: float
    times: int
    link: str

    def __str__(self) -> str:
        of = f" of worker {self.worker}" if self.kind.startswith(("worker", "link", "requests", "answers")) else ""
        way = f" to the {self.link}" if self.kind.startswith(("link", "requests", "answers")) else ""
        return f"{self.at_seconds:.2f} s: {self.kind}{of}{way}, {self.seconds:.2f} s, {self.times} times"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`releases`: how many the event stream has. `latency_seconds`: the most that any link adds while faults last; with
    some latency and little `concurrency` the workers are busy all the time. Every third plan crashes the database
    several times while large batches and chains are written: `concurrency` is high, and few releases have all events.
    `commit_interval_seconds`: a short one shows a commit that is too early, a long one causes many redeliveries.
    `replays`: whether all committed records are replayed and published again meanwhile. `redrives`: whether dead
    letters are redriven meanwhile.
    """

    seed: int
    releases: int
    sent_within_seconds: float
    latency_seconds: float
    concurrency: int
    commit_interval_seconds: float
    faults: tuple[Fault, ...]
    replays: bool
    redrives: bool


def plan_of(seed: int, *, kinds: tuple[FaultKind, ...] = tuple(FaultKind)) -> Plan:
    """As many consecutive plans as there are kinds contain each kind at least once."""
    dice = random.Random(f"plan {seed}")
    return _plan(seed, [kinds[seed % len(kinds)], *dice.choices(kinds, k=dice.randrange(2, 7))], dice)


def sample(number: int, *, of: int, kinds: tuple[FaultKind, ...] = tuple(FaultKind)) -> Plan:
    """One of `of` plans that together contain each kind once."""
    return _plan(number, kinds[number::of], random.Random(f"sample {number} of {of}"))


def crashes_in_batches(seed: int) -> bool:
    """Whether the plan crashes the database in the middle of batches."""
    return seed % 3 == 0


def _plan(seed: int, kinds: Iterable[FaultKind], dice: random.Random) -> Plan:
    faults = [_fault(kind, dice) for kind in kinds]
    plan = Plan(
        seed=seed,
        releases=dice.randrange(20, 60),
        sent_within_seconds=dice.choice((0.0, FAULT_SECONDS / 2, FAULT_SECONDS)),
        latency_seconds=dice.choice((0.0, 0.02, 0.05)),
        concurrency=dice.choice((4, 16)),
        commit_interval_seconds=dice.choice((0.02, 0.2, 1.0)),
        faults=tuple(sorted(faults, key=lambda fault: fault.at_seconds)),
        replays=seed % 2 == 1,
        redrives=seed % 4 in {0, 3},
    )
    return _with_crashes(plan, dice) if crashes_in_batches(seed) else plan


def _with_crashes(plan: Plan, dice: random.Random) -> Plan:
    crashes = [
        replace(_fault(FaultKind.DATABASE_KILLED, dice), at_seconds=dice.uniform(0.1, FAULT_SECONDS), seconds=0.0)
        for _ in range(CRASHES)
    ]
    return replace(
        plan,
        releases=dice.randrange(8, 24),
        sent_within_seconds=dice.choice((0.0, FAULT_SECONDS)),
        latency_seconds=dice.choice((0.0, 0.05)),
        concurrency=64,
        faults=tuple(sorted([*plan.faults, *crashes], key=lambda fault: fault.at_seconds)),
    )


def _fault(kind: FaultKind, dice: random.Random) -> Fault:
    # The longest faults outlast a session: a stalled worker resumes when its partitions are another worker's.
    seconds = dice.choice((dice.uniform(0.05, 0.6), dice.uniform(0.6, 2 * SESSION_TIMEOUT_SECONDS + 0.5)))
    return Fault(
        kind=kind,
        at_seconds=dice.uniform(0.0, FAULT_SECONDS),
        worker=dice.randrange(WORKERS),
        seconds=seconds,
        times=dice.randrange(1, 6),
        link=dice.choice(("database", "broker")),
    )
