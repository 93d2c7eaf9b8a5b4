"""What the checks of `doctor` decide on: facts about the broker, the database and files, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """From where on a fact is a warning. `replay_seconds`: how far back a replay must be able to read."""

    replay_seconds: float
    lag_records: int
    clock_seconds: float
    certificate_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicRole:
    """A topic of the settings. `setting`: the one that names it. `is_states`: the topic of states, the only one that is
    compacted.
    """

    name: str
    setting: str
    is_input: bool
    is_dead_letters: bool
    is_states: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockDifference:
    """How far another clock is ahead of this machine's, give or take half of the round trip."""

    seconds: float
    round_trip_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionOffsets:
    """`committed`: None where the group has committed nothing."""

    topic: str
    partition: int
    begin: int
    end: int
    committed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """`holder`: a file or a server."""

    holder: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseFacts:
    """`revision`: None where the database was never migrated. `clock`: None where it has no clock of its own.
    `oldest_open`: the time of the oldest open dead letter, by its input topic; None: not read, since the tables are not
    those of this version.
    """

    product: str
    revision: str | None
    head: str
    known: frozenset[str]
    clock: ClockDifference | None
    advice: tuple[str, ...]
    oldest_open: Mapping[str, datetime] | None
