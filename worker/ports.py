"""What the core asks of the edges, as Protocols: the database, the broker, time.

An implementation raises only the errors of `worker.rules.errors`; everything else is a fault of its own.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from schemas.record import Headers, Record
from worker.rules.message import Message
from worker.rules.state import Outcome, State


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingRecord:
    """One record to produce. `shorter` makes the record that is produced instead where the broker refuses this one as
    too large; None: there is none, and the refusal is an error.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    shorter: Callable[[], "OutgoingRecord"] | None = field(default=None, compare=False, repr=False)


Decider = Callable[[State, Message], Outcome]
"""What turns what is known into what is to be written: pure, and called at most once per transaction."""


class Store(Protocol):
    async def transact(self, message: Message, decider: Decider) -> Outcome:
        """Load what is known of the message's identity and its release, have it judged, write all that the outcome
        says: in one transaction, and so that no other worker's change to the release comes in between.

        Raises:
            Conflict: it did, and nothing is written.
            Unprocessable: the database refuses the values; nothing is written.
            Unavailable: the database cannot be asked now. Nothing is written, or, where the answer to the commit was
                lost, everything.
        """
        ...

    async def ping(self) -> None:
        """Return if the database answers.

        Raises:
            Unavailable: it does not.
            ConfigurationError: it does, but not to these credentials, or its tables are not those of this version.
        """
        ...


class Publisher(Protocol):
    async def publish(self, outgoing: Sequence[OutgoingRecord]) -> None:
        """Return when every record, or its `shorter` one, is acknowledged by all in-sync replicas, in order within each
        topic.

        Raises:
            Unavailable: at least one is not; any of them may have been written all the same.
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
    """Lines for an operator, each naming a topic and its setting: topics that cannot be read, topics that cannot be
    written, and what should be known of the others.
    """

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[str, ...]:
        return self.inputs + self.outputs


class Topics(Protocol):
    async def check(self) -> TopicFindings:
        """What is wrong with the worker's topics. It creates none.

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
        """Join the group. The callbacks run during a rebalance: `on_revoked` before anybody else gets the partitions,
        `on_assigned` after they are this member's; the first records may come before it.

        Raises:
            Unavailable: no broker answers.
            ConfigurationError: a broker does, but refuses what it is told.
        """
        ...

    async def poll(
        self, *, timeout_seconds: float, records_max: int, paused: AbstractSet[Partition] = frozenset()
    ) -> Sequence[Record]:
        """The next records, at most `records_max`, none of the `paused` partitions; with 0 nothing is fetched, but the
        group sees a sign of life.

        Raises:
            Unavailable: no broker answers, or it refuses the worker a right.
            Broken: this member cannot go on.
            ConfigurationError: nor can it after a restart, until a setting is changed.
        """
        ...

    async def commit(self, offsets: Mapping[Partition, int]) -> None:
        """Commit the next offset to read of each partition.

        Raises:
            Unavailable: the offsets are not committed, and may be tried again.
            PartitionsLost: the group gave the partitions to somebody else.
        """
        ...

    async def stop(self) -> None:
        """Leave the group."""
        ...


class Membership(Protocol):
    """What a member of a consumer group knows of itself."""

    @property
    def dropped(self) -> bool:
        """Whether the group has dropped this member: it sent no heartbeat, or did not poll, for too long. It joins
        again by itself. A rebalance alone drops nobody.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEnd:
    """A partition's offsets: `position`, the next to be fetched; `stable`, the first that an open transaction may still
    hold back; `end`, the one that the next record will have.
    """

    position: int
    stable: int
    end: int


class LogEnds(Protocol):
    """How far the partitions that are assigned to this member reach."""

    async def log_ends(self) -> Mapping[Partition, LogEnd]:
        """Of each assigned partition whose position is known, whether or not records of it are fetched.

        Raises:
            Unavailable: no broker answers.
        """
        ...


class PartitionsLost(Exception):
    """The group took partitions away before they could be given up in order."""


class Tracer(Protocol):
    """Tells a tracing system how long a message took and what it came to."""

    def span(self, message: Message) -> AbstractContextManager[Callable[[Outcome], None]]:
        """A span around a message's life; what it gives takes the outcome once that is known."""
        ...


class Clock(Protocol):
    """Time and chance, so that tests can have their own."""

    def monotonic_seconds(self) -> float: ...

    def unix_seconds(self) -> float: ...

    def chance(self) -> float:
        """Uniform in [0, 1)."""
        ...

    async def wait(self, event: asyncio.Event, *, timeout_seconds: float) -> bool:
        """Wait for the event, at most so long; whether it is set."""
        ...
