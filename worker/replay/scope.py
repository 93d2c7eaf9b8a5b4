"""Which records a replay reads: topics, times or offsets, and filters on their events.

A scope is what an operator writes. `pinned` turns it into ranges of offsets, which no longer change: these are in the
plan, and executed.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from schemas.event import Event
from schemas.incoming import ActivityRecorded, DeploymentChange
from schemas.types import EventType, full_type, short_type
from worker.ports import Partition
from worker.rules.errors import ConfigurationError
from worker.rules.message import Message

_OFFSETS = re.compile(
    r"(?P<topic>[A-Za-z0-9._-]{1,249})/(?P<partition>[0-9]{1,9})@(?P<first>[0-9]{1,18})(?:(?P<dash>-)(?P<last>[0-9]{0,18}))?"
)
_AGO = re.compile(r"(?P<number>[0-9]{1,6})(?P<unit>[smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_NOTHING_NAMED = (
    "name what to replay with --topic, --from, --to, --offsets, --release, --environment, --type, --source or "
    "--event-id; to replay everything, use --all"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetRange:
    """The offsets from `first` to `last`, inclusive, of one partition. `last` None: up to the end."""

    partition: Partition
    first: int
    last: int | None

    def __str__(self) -> str:
        last = "" if self.last is None else self.last
        return f"{self.partition.topic}/{self.partition.partition}@{self.first}-{last}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which events of the records are replayed. An empty set: all. A record must match every set that is not empty;
    one that cannot be decoded matches as far as its attributes can be read.
    """

    releases: frozenset[UUID] = frozenset()
    environments: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    event_ids: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return any((self.releases, self.environments, self.types, self.sources, self.event_ids))

    def match(self, message: Message) -> bool:
        content = message.content
        return (
            (not self.releases or message.release_id in self.releases)
            and (not self.types or str(content.type) in self.types)
            and (not self.sources or content.source in self.sources)
            and (not self.event_ids or content.id in self.event_ids)
            and (not self.environments or _environment(message) in self.environments)
        )

    def as_json(self) -> dict[str, list[str]]:
        return {
            "releases": sorted(map(str, self.releases)),
            "environments": sorted(self.environments),
            "types": sorted(self.types),
            "sources": sorted(self.sources),
            "event_ids": sorted(self.event_ids),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Sequence[str]]) -> "Filters":
        return cls(
            releases=frozenset(map(UUID, value["releases"])),
            environments=frozenset(value["environments"]),
            types=frozenset(value["types"]),
            sources=frozenset(value["sources"]),
            event_ids=frozenset(value["event_ids"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What an operator asks for. `topics`: empty means the input topics. Times are of records, in milliseconds since
    1970; `end_ms` is exclusive.
    """

    topics: tuple[str, ...] = ()
    begin_ms: int | None = None
    end_ms: int | None = None
    offsets: tuple[OffsetRange, ...] = ()
    filters: Filters = field(default_factory=Filters)
    everything: bool = False

    def __post_init__(self) -> None:
        """Raises ConfigurationError for a scope that names nothing, or that contradicts itself."""
        named = self.topics or self.offsets or self.filters or self.begin_ms is not None or self.end_ms is not None
        if not named and not self.everything:
            raise ConfigurationError(_NOTHING_NAMED)
        if named and self.everything:
            raise ConfigurationError("--all replays everything; it cannot be combined with other parts of a scope")
        if self.offsets and (self.topics or self.begin_ms is not None or self.end_ms is not None):
            raise ConfigurationError("--offsets cannot be combined with --topic, --from or --to: it names both")
        if self.begin_ms is not None and self.end_ms is not None and self.begin_ms >= self.end_ms:
            raise ConfigurationError("--from is not before --to")
        partitions = [one.partition for one in self.offsets]
        if repeated := {one for one in partitions if partitions.count(one) > 1}:
            topic, partition = min(repeated)
            raise ConfigurationError(f"--offsets names partition {topic}/{partition} twice; name one range of it")

    def topics_to_read(self, input_topics: Sequence[str]) -> tuple[str, ...]:
        named = self.topics or tuple(one.partition.topic for one in self.offsets) or tuple(input_topics)
        return tuple(dict.fromkeys(named))


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The offsets that a scope is pinned with, by partition. `committed`: of the group, for its input topics only;
    `begin_at`, `end_at`: the first offsets at the scope's times, where it has them.
    """

    begins: Mapping[Partition, int]
    ends: Mapping[Partition, int]
    committed: Mapping[Partition, int]
    begin_at: Mapping[Partition, int]
    end_at: Mapping[Partition, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinned:
    """`ranges`: the offsets to read, by partition, none of them empty. `uncommitted`: how many offsets of the scope are
    left out, because the group has not committed them yet: the workers decide those first. `expired`: how many offsets
    that --offsets names are deleted.
    """

    ranges: Mapping[Partition, range]
    uncommitted: int = 0
    expired: int = 0


def pinned(scope: Scope, bounds: Bounds, *, input_topics: Sequence[str]) -> Pinned:
    """The scope as ranges of offsets.

    Of an input topic, only what the group has committed is replayed. Records behind that are decided by the workers,
    in offset order; a replay would decide them before earlier ones.

    Raises:
        ConfigurationError: a topic or a partition does not exist, or there is no record in the scope.
    """
    existing = {partition.topic for partition in bounds.begins}
    for topic in scope.topics_to_read(input_topics):
        if topic not in existing:
            raise ConfigurationError(f"topic {topic} does not exist; correct --topic, --offsets or RUDDER_INPUT_TOPICS")
    wanted = _named(scope, bounds) if scope.offsets else _timed(scope, bounds)
    ranges: dict[Partition, range] = {}
    uncommitted = expired = 0
    for partition, offsets in sorted(wanted.items()):
        begin, end = bounds.begins[partition], bounds.ends[partition]
        last = min(offsets.stop, end)
        stop = min(last, bounds.committed.get(partition, 0)) if partition.topic in input_topics else last
        start = max(offsets.start, begin)
        uncommitted += max(0, last - max(start, stop))
        expired += max(0, min(begin, offsets.stop) - offsets.start)
        if start < stop:
            ranges[partition] = range(start, stop)
    if not ranges:
        raise ConfigurationError(_nothing_there(uncommitted, expired))
    return Pinned(ranges=ranges, uncommitted=uncommitted, expired=expired if scope.offsets else 0)


def _nothing_there(uncommitted: int, expired: int) -> str:
    if uncommitted:
        return (
            f"the group has not committed the {uncommitted:,} records in the scope; let the workers process them, or "
            "check RUDDER_GROUP_ID"
        )
    if expired:
        return "the records in the scope are deleted by retention; nothing can be replayed"
    return "there are no records in the scope; nothing can be replayed"


def _named(scope: Scope, bounds: Bounds) -> dict[Partition, range]:
    for one in scope.offsets:
        if one.partition not in bounds.begins:
            topic, partition = one.partition
            raise ConfigurationError(f"topic {topic} has no partition {partition}; correct --offsets")
    return {
        one.partition: range(one.first, bounds.ends[one.partition] if one.last is None else one.last + 1)
        for one in scope.offsets
    }


def _timed(scope: Scope, bounds: Bounds) -> dict[Partition, range]:
    return {
        partition: range(
            begin if scope.begin_ms is None else bounds.begin_at[partition],
            bounds.ends[partition] if scope.end_ms is None else bounds.end_at[partition],
        )
        for partition, begin in bounds.begins.items()
    }


def offsets_from(text: str) -> OffsetRange:
    """`TOPIC/PARTITION@FIRST-LAST`, both inclusive; `@FIRST-` up to the end, `@OFFSET` one record.

    Raises:
        ConfigurationError: the text is none of these.
    """
    found = _OFFSETS.fullmatch(text)
    if found is None:
        raise ConfigurationError(f"--offsets {text}: write TOPIC/PARTITION@FIRST-LAST, for example events/0@120-180")
    first = int(found["first"])
    last = first if found["dash"] is None else int(found["last"]) if found["last"] else None
    if last is not None and last < first:
        raise ConfigurationError(f"--offsets {text}: the last offset is before the first")
    return OffsetRange(partition=Partition(found["topic"], int(found["partition"])), first=first, last=last)


def time_from(text: str, *, option: str, now: datetime) -> int:
    """Milliseconds since 1970 of an ISO 8601 time with a zone, or of a time before `now`: `90s`, `15m`, `2h`, `3d`.

    Raises:
        ConfigurationError: the text is neither, or has no zone.
    """
    if ago := _AGO.fullmatch(text):
        moment = now - timedelta(**{_UNITS[ago["unit"]]: int(ago["number"])})
        return int((moment - _EPOCH) / timedelta(milliseconds=1))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError(
            f"{option} {text}: write a time as in 2026-11-27T14:00:00Z, or how long ago, as in 2h"
        ) from error
    if moment.tzinfo is None:
        raise ConfigurationError(f"{option} {text} has no time zone; append Z for UTC, or an offset such as +01:00")
    return int((moment - _EPOCH) / timedelta(milliseconds=1))


def filters_from(
    *,
    releases: Iterable[str],
    environments: Iterable[str],
    types: Iterable[str],
    sources: Iterable[str],
    event_ids: Iterable[str],
) -> Filters:
    """Raises ConfigurationError for a release that is no UUID, and for a type that no event has."""
    return Filters(
        releases=frozenset(map(_release, releases)),
        environments=frozenset(environments),
        types=frozenset(map(_type, types)),
        sources=frozenset(sources),
        event_ids=frozenset(event_ids),
    )


def _release(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise ConfigurationError(f"--release {text} is no release id; write a UUID") from error


def _type(text: str) -> str:
    found = full_type(text)
    if found not in set(EventType):
        known = ", ".join(short_type(one) for one in EventType)
        raise ConfigurationError(f"--type {text} is no event type; write one of {known}")
    return found


def _environment(message: Message) -> str | None:
    data = message.content.data if isinstance(message.content, Event) else None
    return data.environment_id if isinstance(data, DeploymentChange | ActivityRecorded) else None
