"""The parts that outlive every worker, in memory: a database, output topics, a consumer group.

The test decides when and how each request is answered. A request takes effect with its answer, also if the worker no
longer waits for it.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from uuid import UUID

from schemas.reasons import Reason
from tests.properties.consumer_ledger import Holding, Logged
from tests.properties.world import World as Rows
from tests.unit.rules.release_scenario import data_of
from worker.ports import OutgoingRecord, Partition, PartitionsLost
from worker.rules.errors import Conflict, Unavailable, Unprocessable
from worker.rules.message import Message
from worker.rules.state import Changes, State


class Bug(Exception):
    """A fault of the worker itself: an error that no port may raise."""


PUBLISHING_FAULTS_MIN = 3
"""The attempts at publishing a record that fails for a reason of its own."""

ANSWERED = (Unavailable, Conflict, Unprocessable, PartitionsLost, Bug)
FAULTS: Mapping[str, tuple[str, ...]] = {
    "transaction": ("down", "answer lost", "conflict", "refused", "bug"),
    "publication": ("down", "answer lost", "half", "bug"),
    "commit": ("down", "answer lost", "rebalanced"),
    "poll": ("down",),
    "ping": ("down",),
}

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Question(Generic[T]):
    """A worker's request without an answer yet. `answer` takes a fault or None, and a number that makes its choices.
    `ready`: whether the test can answer it now.
    """

    kind: str
    answer: Callable[[str | None, int], T]
    future: asyncio.Future[T]
    message: Message | None = None
    ready: Callable[[], bool] = lambda: True

    @property
    def open(self) -> bool:
        return not self.future.done() and self.ready()

    def settle(self, fault: str | None = None, which: int = 0) -> None:
        try:
            result = self.answer(fault, which)
        except ANSWERED as error:
            self.future.set_exception(error)
            self.future.exception()  # retrieved here, since the waiting task may be gone
        else:
            self.future.set_result(result)


@dataclass(slots=True)
class Outside:
    """The database, the output topics and the group."""

    logs: Mapping[Partition, Sequence[Logged]]
    now_seconds: float = 1000.0
    rows: Rows = field(default_factory=Rows)
    causes: dict[str, Logged] = field(default_factory=dict)  # the ids of records to publish, each with its input record
    written: dict[str, None] = field(default_factory=dict)
    acknowledged: set[str] = field(default_factory=set)
    faults: Counter[str] = field(default_factory=Counter)  # of publishing, by the id of the first record of the batch
    at_fault: set[UUID] = field(default_factory=set)  # messages that met another fault than an outage
    committed: dict[Partition, int] = field(default_factory=dict)
    owners: dict[Partition, Holding] = field(default_factory=dict)

    # --- the database

    def write(self, message: Message, state: State, changes: Changes | None, fault: str | None) -> None:
        """`changes`: None if the message changes nothing."""
        if fault == "down":
            raise Unavailable("down")
        own_faults = {"conflict": Conflict("a race"), "refused": Unprocessable("refused"), "bug": Bug("a bug")}
        own = own_faults.get(fault or "")
        if own is None and self.rows.load(message) != state:
            own = Conflict("what was read is no longer so")
        if own is not None:
            self.at_fault.add(message.id)
            raise own
        if changes is not None:
            self._take_effect(message, changes)
        if fault == "answer lost":
            raise Unavailable("written, perhaps")

    def _take_effect(self, message: Message, changes: Changes) -> None:
        """Checks that earlier records of its partition with the same release or identity took effect before it."""
        record = message.record
        log = self.logs[Partition(record.topic, record.partition)]
        (logged,) = (one for one in log if one.record.offset == record.offset)
        for earlier in log[: log.index(logged)]:
            if message.ordering_key == earlier.message.ordering_key or message.id == earlier.message.id:
                assert self.known(earlier.message), f"{record.offset} has its effect before {earlier.record.offset}"
        if changes.rejection is not None and changes.rejection.reason == Reason.PROCESSING_ERROR.value:
            assert message.id in self.at_fault, "given up for an outage"
        self.rows.write_changes(changes)
        for name in (str(message.id), *self.owed(message)):
            self.causes[name] = logged

    def known(self, message: Message) -> bool:
        return (message.id in self.rows.activities) != (message.id in self.rows.rejections)

    def owed(self, message: Message) -> list[str]:
        """The ids of the records that a known event publishes; subscribers deduplicate by them."""
        state = self.rows.load(message)
        if state.activities:
            return [str(activity.id) for activity in state.activities if "change" in data_of(activity)]
        return [] if state.rejection is None else [str(state.rejection.id)]

    def finished(self, message: Message) -> bool:
        return self.known(message) and self.acknowledged.issuperset(self.owed(message))

    # --- the output topics

    def publish(self, outgoing: Sequence[OutgoingRecord], fault: str | None) -> None:
        if fault == "down":
            raise Unavailable("down")
        names = [_name(outgoing_record) for outgoing_record in outgoing]
        if fault == "bug":
            self.faults[str(self.causes[names[0]].message.id)] += 1
            raise Bug("a bug in publishing")
        for outgoing_record in outgoing:
            names += self._replaced(outgoing_record)
        for name in names[: len(names) // 2] if fault == "half" else names:
            if name not in self.written:
                self._appear(name)
        if fault is not None:
            raise Unavailable("not all is acknowledged")
        self.acknowledged.update(names)

    def _replaced(self, outgoing_record: OutgoingRecord) -> list[str]:
        """The ids that are no longer published, since a dead letter takes their place."""
        message = self.causes[_name(outgoing_record)].message
        reasons = [value for name, value in outgoing_record.headers if name == "rudder-reason"]
        if not reasons or message.id not in self.rows.activities:
            return []
        assert reasons[-1] == Reason.PROCESSING_ERROR.value.encode(), "a dead letter of an event that was not rejected"
        assert self.faults[str(message.id)] >= PUBLISHING_FAULTS_MIN, "not published, and not for a fault"
        return self.owed(message)

    def _appear(self, name: str) -> None:
        """The first publication of an id. Subscribers see a release's changes in the order of its records."""
        assert name in self.causes, "published before it is written"
        cause = self.causes[name]
        for earlier in self.logs[Partition(cause.record.topic, cause.record.partition)]:
            if earlier is cause:
                break
            if earlier.message.ordering_key == cause.message.ordering_key:
                assert self.written.keys() >= set(self.owed(earlier.message)), "published out of order"
        self.written[name] = None

    # --- the group

    def commit(self, offsets: Mapping[Partition, tuple[Holding | None, int]], fault: str | None) -> None:
        if fault == "down":
            raise Unavailable("down")
        if fault == "rebalanced" or any(self.owners.get(one) is not holding for one, (holding, _) in offsets.items()):
            raise PartitionsLost("not this member's")
        for partition, (_, offset) in offsets.items():
            early = [
                one for one in self.logs[partition] if one.record.offset < offset and not self.finished(one.message)
            ]
            assert not early, f"{offset} is committed, {early[0].record.offset} of {partition} is not finished"
            if fault is None or offset > self.committed.get(partition, 0):
                self.committed[partition] = offset
        if fault is not None:
            raise Unavailable("committed, perhaps")

    def assign(self, partition: Partition) -> Holding:
        """The member starts at the committed offset."""
        offset = self.committed.get(partition, 0)
        position = sum(logged.record.offset < offset for logged in self.logs[partition])
        self.owners[partition] = Holding(partition, position)
        return self.owners[partition]

    def release(self, holding: Holding) -> None:
        if self.owners.get(holding.partition) is holding:
            del self.owners[holding.partition]


def _name(outgoing_record: OutgoingRecord) -> str:
    """The id by which subscribers deduplicate. A dead letter has the headers of its record before its own."""
    names = [text for key, text in outgoing_record.headers if key in {"ce_id", "rudder-id"}]
    return (names[-1] or b"").decode()
