"""What the state topic lacks is found from the stored rows, and published in an order that no worker can break."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

import pytest

from schemas.record import Record
from schemas.types import EventType as E
from tests.unit.rules.release_scenario import release_id
from tests.unit.verify.handled_events import STATES, WITH_STATES, HandledEvents
from worker.ports import OutgoingRecord, Partition
from worker.rules.errors import Unavailable
from worker.state_repair import Difference, Fault, differences, publish
from worker.stored_rows import ReleaseRows

KEY = f"{release_id()}/prod"


@dataclass(slots=True)
class System:
    """The rows of `events`, and a topic of states. `meanwhile`: what a worker handles before each later read."""

    events: HandledEvents
    topic: list[OutgoingRecord] = field(default_factory=list)
    meanwhile: list[E] = field(default_factory=list)
    partitions: int = 1

    async def ends(self, topics: Sequence[str]) -> Mapping[Partition, int]:
        return {Partition(topics[0], number): len(self.topic) for number in range(self.partitions)}

    async def records(self, ends: Mapping[Partition, int]) -> AsyncIterator[Record]:
        [topic, *_] = {at.topic for at in ends}
        for offset, one in enumerate(self.topic):
            yield Record(
                topic=topic,
                partition=(one.partition or 0),
                offset=offset,
                timestamp_ms=0,
                key=one.key,
                value=one.value,
                headers=one.headers,
            )

    async def releases(self) -> AsyncIterator[ReleaseRows]:
        for rows in await self.rows_of([release_id(number) for number in range(1, 4)]):
            yield rows

    async def rows_of(self, release_ids: Sequence[UUID]) -> Sequence[ReleaseRows]:
        return [rows for id_ in release_ids if (rows := self.events.rows(id_)) is not None]

    async def publish(self, outgoing: Sequence[OutgoingRecord]) -> None:
        if self.meanwhile:  # a worker commits and publishes before this does
            self.handle(self.meanwhile.pop(0))
        self.topic += outgoing

    async def ping(self) -> None:
        raise NotImplementedError

    def handle(self, kind: E) -> None:
        before = len(self.events.published)
        self.events.add(kind)
        self.topic += [
            OutgoingRecord(topic=STATES, key=one.key, value=one.value, headers=one.headers)
            for one in self.events.published[before:]
            if one.topic == STATES
        ]

    async def differences(self) -> list[tuple[str, Fault]]:
        return [(one.key, one.fault) for one in (await differences(WITH_STATES, self, self)).found]

    async def repair(self) -> int:
        found = await differences(WITH_STATES, self, self)
        return sum([count async for count in publish(found.found, WITH_STATES, self, self)])


def deployed() -> System:
    system = System(HandledEvents.of_approved_release(WITH_STATES))
    for kind in (E.DEPLOYMENT_SUCCEEDED, E.DEPLOYMENT_STARTED, E.DEPLOYMENT_CANCELLED):
        system.handle(kind)
    return system


async def test_topic_of_a_correct_worker_lacks_nothing() -> None:
    system = deployed()
    assert await system.differences() == []
    assert await system.repair() == 0


async def test_lost_state_is_published_as_the_worker_did() -> None:
    """Byte for byte, also where the environment counts with another attempt than the last changed one."""
    system = deployed()
    good = system.topic[-1]
    system.topic.clear()
    assert await system.differences() == [(KEY, Fault.MISSING)]
    assert await system.repair() == 1
    assert system.topic == [good]


async def test_earlier_state_at_the_end_is_outdated() -> None:
    system = deployed()
    system.topic.append(system.topic[1])
    assert await system.differences() == [(KEY, Fault.OUTDATED)]
    assert await system.repair() == 1
    assert await system.differences() == []


async def test_key_without_a_deployment_gets_a_tombstone() -> None:
    """Once: a tombstone is what it needs."""
    system = deployed()
    other = f"{release_id(3)}/prod"
    system.topic.append(replace(system.topic[-1], key=other.encode()))
    assert await system.differences() == [(other, Fault.WITHOUT_DEPLOYMENT)]
    system.topic.append(replace(system.topic[-1], partition=3))
    assert await system.repair() == 1
    tombstones = [(one.key, one.value, one.partition) for one in system.topic[-2:]]
    assert tombstones == [(other.encode(), None, 0), (other.encode(), None, 3)]
    assert await system.differences() == []


async def test_state_that_changes_meanwhile_is_published_again() -> None:
    """The worker's record comes first and this command's after it: without a second look the older would stay."""
    system = deployed()
    system.topic.clear()
    system.meanwhile = [E.DEPLOYMENT_STARTED, E.DEPLOYMENT_SUCCEEDED]
    assert await system.repair() == 1
    assert await system.differences() == []
    assert not system.meanwhile


async def test_state_that_never_settles_ends_the_command() -> None:
    system = deployed()
    system.topic.clear()
    system.meanwhile = [E.DEPLOYMENT_REQUESTED] * 100
    with pytest.raises(Unavailable, match="run the command again"):
        await system.repair()


async def test_record_in_another_partition_counts_by_its_version() -> None:
    """After partitions were added, a key is in two of them."""
    system = deployed()
    system.partitions = 2
    system.topic = [replace(system.topic[0], partition=1), system.topic[-1], replace(system.topic[1], partition=1)]
    assert await system.differences() == []


async def test_edited_rows_are_left_alone() -> None:
    """Also their keys: no tombstone for a release that exists."""
    system = deployed()
    rows = (await system.rows_of([release_id()]))[0]
    broken = replace(rows, deployments=tuple({**row, "status": "GONE"} for row in rows.deployments))

    class Broken(System):
        async def rows_of(self, release_ids: Sequence[UUID]) -> Sequence[ReleaseRows]:
            del release_ids
            return [broken]

    found = await differences(WITH_STATES, system, Broken(system.events))
    assert (found.found, found.unreadable) == ([], [release_id()])


async def test_records_of_other_systems_are_ignored() -> None:
    system = deployed()
    foreign = replace(system.topic[-1], headers=(("ce_source", b"/other"),))
    system.topic += [replace(foreign, key=b"hello"), replace(foreign, key=f"{release_id(3)}/prod".encode())]
    assert await system.differences() == []


def test_difference_names_the_key() -> None:
    assert Difference(KEY, release_id(), Fault.MISSING).fault == "missing"


def test_states_topic_is_named() -> None:
    assert WITH_STATES.state_topic == STATES
    with pytest.raises(ValueError, match="no topic"):
        _ = replace(WITH_STATES, topics=replace(WITH_STATES.topics, deployment_state=None)).state_topic
