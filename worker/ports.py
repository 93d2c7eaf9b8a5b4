"""The interfaces to the edges, as Protocols: the database, the broker, the clock.

An implementation raises only the errors of `worker.rules.errors`; any other exception is a bug.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol
from uuid import UUID

from schemas.event import ReleaseReference
from schemas.record import Headers, Record
from worker.rules.message import Message
from worker.rules.query import Query
from worker.rules.state import Changes, Outcome, State


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingRecord:
    """One record to produce. `shorter`: creates the record to produce instead, if the broker refuses this one as too
    large; None: such a refusal is an error. `partition`: None: by the key.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    shorter: Callable[[], "OutgoingRecord"] | None = field(default=None, compare=False, repr=False)
    partition: int | None = None


Decider = Callable[[State, Message], Outcome]
"""The rules as a pure function."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """What one message writes, and what the decision rests on. `follows`: the id of an event of the same release whose
    transaction is before this one in the same call; None: there is none.
    """

    query: Query
    state: State
    changes: Changes
    follows: UUID | None = None


class Store(Protocol):
    """Nothing is held between a load and a write: a write names the version of the release that it rests on."""

    async def load(self, queries: Sequence[Query]) -> Sequence[State]:
        """For each query, what the database has of the event's identity and of its release, in as few round trips as
        the database allows. Merge the states of one release: each has a part of the rows. What a state has of the event
        itself is durable.

        Raises:
            Unavailable: the database cannot be used now, or no connection is free in time.
        """
        ...

    async def write(self, transactions: Sequence[Transaction], *, patient: bool = True) -> Sequence[Exception | None]:
        """Write each transaction, in order, as a whole or not at all; the error of each that failed. Returns when all
        that were written are durable. `patient`: wait for a lock as long as a statement may take, and not only shortly.

        StaleRead: another worker has changed the release since, or the transaction that this one follows failed.
        Conflict: another row is no longer as it was read. LockTimeout: another transaction keeps a lock. Unprocessable:
        the database refuses the values. Unavailable: the database cannot be used now.

        Raises:
            Unavailable: the database cannot be used now. Each transaction was written, or it was not: the answer was
                lost.
        """
        ...

    async def ping(self) -> None:
        """Return if the database answers.

        Raises:
            Unavailable: it does not.
            ConfigurationError: it does, but not to these credentials, or its tables are not those of this version.
        """
        ...


class ReleaseFinder(Protocol):
    async def find_releases(self, references: Sequence[ReleaseReference]) -> Sequence[UUID | None]:
        """The release of each reference; None: there is none yet.

        Raises:
            Unavailable: the database cannot be used now, or no connection is free in time.
        """
        ...


class Publisher(Protocol):
    async def publish(self, outgoing: Sequence[OutgoingRecord]) -> None:
        """Return when every record, or its `shorter` form, is acknowledged by all in-sync replicas. Each topic's
        records are in order.

        Raises:
            Unavailable: at least one is not acknowledged; any of them may have been written.
        """
        ...

    async def ping(self) -> None:
        """Return if a broker answers.

        Raises:
            Unavailable: none does.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicFindings:
    """Lines for an operator, each with a topic and its setting: unreadable topics, unwritable topics, recommendations
    for the others, and settings of a topic by which events will be lost.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        return self.inputs + self.outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicDescription:
    """A topic at the broker. None: the broker does not describe the setting. `retention_seconds` and `retention_bytes`
    are infinite where nothing is deleted by time or by size; the bytes are those of each partition.
    """

    partitions: int
    cleanup_policy: str | None = None
    retention_seconds: float | None = None
    retention_bytes: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMember:
    """A member of a consumer group, as the coordinator describes it."""

    client_id: str
    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupDescription:
    """A consumer group. `state`: Kafka's, such as Stable, PreparingRebalance or Empty."""

    group_id: str
    state: str
    members: tuple[GroupMember, ...]


class Topics(Protocol):
    async def check(self) -> TopicFindings:
        """Check the worker's topics. Creates none.

        Raises:
            Unavailable: no broker answers.
        """
        ...


class ConsumerClient(Protocol):
    """A member of a consumer group."""

    async def start(
        self,
        *,
        on_assigned: Callable[[Iterable[Partition]], Awaitable[None]],
        on_revoked: Callable[[Iterable[Partition]], Awaitable[None]],
    ) -> None:
        """Join the group. The callbacks run during a rebalance: `on_revoked` before another member gets the partitions,
        `on_assigned` after they are this member's; the first records may arrive before it.

        Raises:
            Unavailable: no broker answers.
            ConfigurationError: a broker answers, and refuses the settings.
        """
        ...

    async def poll(
        self, *, timeout_seconds: float, records_max: int, paused: AbstractSet[Partition] = frozenset()
    ) -> Sequence[Record]:
        """The next records, at most `records_max`, none of `paused` partitions. 0: fetch nothing, keep the membership.

        Raises:
            Unavailable: no broker answers, or it refuses a privilege.
            FatalClientError: the client cannot recover.
            ConfigurationError: a setting must be changed first.
        """
        ...

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Fetch these partitions again, which a poll was called with as paused. That poll may return their records."""
        ...

    def seek(self, offsets: Mapping[Partition, int]) -> None:
        """Continue at these offsets. Partitions that are not assigned are left out. No later poll returns a record of
        these partitions that was fetched before.
        """
        ...

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Commit the next offset to read of each partition.

        Raises:
            Unavailable: the offsets are not committed; the commit may be repeated.
            PartitionsLost: the group assigned the partitions to another member.
        """
        ...

    async def stop(self) -> None:
        """Leave the group."""
        ...


class Membership(Protocol):
    """The membership of a consumer group."""

    @property
    def dropped(self) -> bool:
        """Whether the group has removed this member, because it sent no heartbeat or did not poll for too long. It
        joins again automatically. A rebalance alone removes no member.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEnd:
    """A partition's offsets. `position`: the next to fetch. `stable`: the last stable offset. `end`: the log end."""

    position: int
    stable: int
    end: int


class LogEnds(Protocol):
    """The log ends of the assigned partitions."""

    async def log_ends(self) -> Mapping[Partition, LogEnd]:
        """The log end of each assigned partition with a known position, paused ones included.

        Raises:
            Unavailable: no broker answers.
        """
        ...


class PartitionsLost(Exception):
    """The group revoked partitions before they could be released in order."""


class MessageSpan(Protocol):
    """The span of one message."""

    def set_outcome(self, outcome: Outcome) -> None: ...

    def headers(self) -> Headers:
        """The headers of a record that is produced for the message; none where nothing is traced."""
        ...


class Tracer(Protocol):
    """Exports the duration and the outcome of messages to a tracing system."""

    def span(self, message: Message) -> AbstractContextManager[MessageSpan]:
        """A span around the processing of a message."""
        ...


class Clock(Protocol):
    """Time and randomness, replaced in tests."""

    def monotonic_seconds(self) -> float: ...

    def unix_seconds(self) -> float: ...

    def chance(self) -> float:
        """Uniform in [0, 1)."""
        ...

    async def wait(self, event: asyncio.Event, *, timeout_seconds: float) -> bool:
        """Wait for the event, or for the timeout; whether it is set."""
        ...
