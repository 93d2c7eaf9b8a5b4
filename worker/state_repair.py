"""Publish what the state topic lacks: the states of a new topic, lost ones, and tombstones of deleted releases.

Workers may publish meanwhile: see `worker.pipeline.current_states`.
"""

import json
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from itertools import groupby
from typing import Protocol
from uuid import UUID

from schemas.record import Record
from worker.deployment_states import content_of, states_of
from worker.pipeline.current_states import publish_until_current
from worker.pipeline.outgoing import OutgoingRecords
from worker.ports import OutgoingRecord, Partition, Publisher
from worker.rules.deployment_state import StateEvent
from worker.rules.errors import Unavailable
from worker.stored_rows import ReleaseRows
from worker.verify.history import StateRecord, read_state

_KEYS_MAX = 200
"""States that are published together."""

_TOMBSTONE = b""


class Tables(Protocol):
    """The stored rows. Every method raises Unavailable where the database does not answer."""

    def releases(self) -> AsyncIterator[ReleaseRows]: ...

    async def rows_of(self, release_ids: Sequence[UUID]) -> Sequence[ReleaseRows]: ...


class Topics(Protocol):
    """As `worker.verify.verification.TopicReader`."""

    async def ends(self, topics: Sequence[str]) -> Mapping[Partition, int]: ...

    def records(self, ends: Mapping[Partition, int]) -> AsyncIterator[Record]: ...


class Fault(StrEnum):
    """What is wrong with the last record of a key."""

    MISSING = "missing"
    OUTDATED = "outdated"
    WITHOUT_DEPLOYMENT = "without deployment"


@dataclass(frozen=True, slots=True)
class Difference:
    """A key whose last record is not what the database has. `WITHOUT_DEPLOYMENT`: it needs a tombstone in each of these
    partitions; there are several after partitions were added.
    """

    key: str
    release_id: UUID
    fault: Fault
    partitions: tuple[int, ...] = ()


@dataclass(slots=True)
class Differences:
    """`unreadable`: releases whose rows were edited, and cannot be stated, or that changed during every attempt to read
    them.
    """

    environments: int = 0
    found: list[Difference] = field(default_factory=list)
    unreadable: list[UUID] = field(default_factory=list)

    def count(self, fault: Fault) -> int:
        return sum(one.fault is fault for one in self.found)


async def differences(outgoing: OutgoingRecords, topics: Topics, tables: Tables) -> Differences:
    """What the state topic lacks. The topic is read before the tables: what it states was committed before.

    Raises:
        Unavailable: the broker or the database does not answer.
    """
    found = Differences()
    there = await _read(outgoing, topics)
    async for rows in tables.releases():
        release_id: UUID = rows.release["id"]
        try:
            expected = states_of(rows) if rows.settled else None
        except (ValueError, KeyError, TypeError):
            expected = None
        if expected is None:
            found.unreadable.append(release_id)
            there.drop(release_id)
            continue
        for key, event in expected.items():
            found.environments += 1
            digest = there.take(key)
            if digest != _digest(content_of(event)):
                fault = Fault.MISSING if digest in {None, _TOMBSTONE} else Fault.OUTDATED
                found.found.append(Difference(key, release_id, fault))
    for key, release_id, partitions in there.rest():
        found.found.append(Difference(key, release_id, Fault.WITHOUT_DEPLOYMENT, partitions))
    return found


async def publish(
    wanted: Sequence[Difference], outgoing: OutgoingRecords, publisher: Publisher, tables: Tables
) -> AsyncIterator[int]:
    """Publish the states or tombstones; yields the number of keys that are right after each step.

    Raises:
        Unavailable: the broker or the database does not answer, or a state changed during every attempt.
    """
    for first in range(0, len(wanted), _KEYS_MAX):
        some = wanted[first : first + _KEYS_MAX]
        await _publish(some, outgoing, publisher, tables)
        yield len(some)


async def _publish(
    wanted: Sequence[Difference], outgoing: OutgoingRecords, publisher: Publisher, tables: Tables
) -> None:
    release_ids = sorted({one.release_id for one in wanted})

    async def read() -> Mapping[str, Sequence[OutgoingRecord]]:
        states: dict[str, StateEvent] = {}
        for rows in await tables.rows_of(release_ids):
            states.update(states_of(rows))
        return {
            one.key: [outgoing.state(states[one.key])]
            if one.key in states
            else outgoing.tombstones(one.key, one.partitions)
            for one in wanted
        }

    if await publish_until_current(read, publisher) is None:
        raise Unavailable("a state changed during every attempt to publish it; run the command again")


async def _read(outgoing: OutgoingRecords, topics: Topics) -> "_TopicStates":
    there = _TopicStates()
    ends = await topics.ends([outgoing.state_topic])
    async for record in topics.records(ends):
        found = read_state(record, source=outgoing.source)
        if found is not None:
            there.add(*found)
    return there


class _TopicStates:
    """The last record of each key, in a temporary file: a topic may have a million keys."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect("")
        self._connection.execute("PRAGMA journal_mode = OFF")
        self._connection.execute(
            "CREATE TABLE states (key TEXT, partition INT, version INT, release BLOB, digest BLOB, "
            "PRIMARY KEY (key, partition)) WITHOUT ROWID"
        )

    def add(self, release_id: UUID, state: StateRecord) -> None:
        content = state.content
        version = None if content is None else (content.get("data") or {}).get("release_version")
        digest = _TOMBSTONE if content is None else _digest(content)
        row = (state.key, state.position.partition, version, release_id.bytes, digest)
        self._connection.execute("INSERT OR REPLACE INTO states VALUES (?, ?, ?, ?, ?)", row)

    def take(self, key: str) -> bytes | None:
        """The digest of the key's last record, which is then no longer among the rest. In several partitions, as after
        partitions were added, the one with the highest version.
        """
        found = self._connection.execute(
            "SELECT digest FROM states WHERE key = ? ORDER BY version DESC LIMIT 1", (key,)
        ).fetchone()
        self._connection.execute("DELETE FROM states WHERE key = ?", (key,))
        return None if found is None else bytes(found[0])

    def drop(self, release_id: UUID) -> None:
        self._connection.execute("DELETE FROM states WHERE key >= ? AND key < ?", (f"{release_id}/", f"{release_id}0"))

    def rest(self) -> Iterator[tuple[str, UUID, tuple[int, ...]]]:
        """The keys that were not taken and have a state, and the partitions that have it."""
        found = self._connection.execute(
            "SELECT key, release, partition FROM states WHERE length(digest) > 0 ORDER BY key"
        )
        for (key, release), rows in groupby(found, key=lambda row: row[:2]):
            yield key, UUID(bytes=release), tuple(partition for *_, partition in rows)


def _digest(content: Mapping[str, object]) -> bytes:
    return blake2b(json.dumps(content, sort_keys=True, default=str).encode(), digest_size=16).digest()
