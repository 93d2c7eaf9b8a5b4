"""Plans of harm: what is done to a system at work, to which part of it, when and for how long, all from one seed.

A plan is replayed by its seed. What the machine makes of it differs from run to run, as processes and disks are never
twice equally quick; that is why many plans are run, and each is judged by what is there in the end.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

WORKERS: Final = 3
HARM_SECONDS: Final = 6.0
"""Within so long a time all harm begins."""
SESSION_TIMEOUT_SECONDS: Final = 2.0


class Kind(StrEnum):
    """In what follows a link is the way between one worker and the database, or between it and the broker."""

    WORKER_KILLED = "worker killed"
    WORKER_STALLED = "worker stalled"
    GROUP_STORMED = "group stormed"
    BROKER_KILLED = "broker killed"
    DATABASE_KILLED = "database killed"
    DISK_FULL = "disk full"
    TOPIC_GROWN = "topic grown"
    LINK_CUT = "link cut"
    LINK_REFUSING = "link refusing"
    LINK_SLOW = "link slow"
    LINK_SILENT = "link silent"
    LINK_FORGOTTEN = "link forgotten"
    LINK_HALF_CLOSED = "link half-closed"
    REQUESTS_LOST = "requests lost"
    ANSWERS_LOST = "answers lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """`worker`: which of them, or whose link. `at_seconds`: after the first event was sent. `seconds`: until it is made
    good, where it is. `times`: how often, where it can be done again at once. `link`: its other end.
    """

    kind: Kind
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
    """`releases`: how many the stream of events tells of. `latency_seconds`: of every link, up to, as long as harm is
    done: with some, and with little `concurrency`, the workers are busy all the while. `commit_interval_seconds`: the
    shorter, the sooner a commit that comes too early does harm; the longer, the more comes again.
    """

    seed: int
    releases: int
    sent_within_seconds: float
    latency_seconds: float
    concurrency: int
    commit_interval_seconds: float
    harms: tuple[Harm, ...]


def plan_of(seed: int, *, kinds: tuple[Kind, ...] = tuple(Kind)) -> Plan:
    """As many plans in a row as there are kinds have each of them at least once."""
    dice = random.Random(f"plan {seed}")
    return _plan(seed, [kinds[seed % len(kinds)], *dice.choices(kinds, k=dice.randrange(2, 7))], dice)


def sample(number: int, *, of: int, kinds: tuple[Kind, ...] = tuple(Kind)) -> Plan:
    """One of a few plans that have each kind once between them."""
    return _plan(number, kinds[number::of], random.Random(f"sample {number} of {of}"))


def _plan(seed: int, kinds: Iterable[Kind], dice: random.Random) -> Plan:
    harms = [_harm(kind, dice) for kind in kinds]
    return Plan(
        seed=seed,
        releases=dice.randrange(20, 60),
        sent_within_seconds=dice.choice((0.0, HARM_SECONDS / 2, HARM_SECONDS)),
        latency_seconds=dice.choice((0.0, 0.02, 0.05)),
        concurrency=dice.choice((4, 16)),
        commit_interval_seconds=dice.choice((0.02, 0.2, 1.0)),
        harms=tuple(sorted(harms, key=lambda harm: harm.at_seconds)),
    )


def _harm(kind: Kind, dice: random.Random) -> Harm:
    # What lasts longest outlasts a session: a stalled worker comes back when its partitions are somebody else's.
    seconds = dice.choice((dice.uniform(0.05, 0.6), dice.uniform(0.6, 2 * SESSION_TIMEOUT_SECONDS + 0.5)))
    return Harm(
        kind=kind,
        at_seconds=dice.uniform(0.0, HARM_SECONDS),
        worker=dice.randrange(WORKERS),
        seconds=seconds,
        times=dice.randrange(1, 6),
        link=dice.choice(("database", "broker")),
    )
