"""What one worker was given and what it does with it, written down from outside, and held against the promises.

What is seen to be broken inside the worker's own tasks is collected rather than raised: the worker would take an
assertion for a fault of a message, and try again.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal
from uuid import UUID

from schemas.record import Record
from worker.pipeline.breaker import Breaker
from worker.pipeline.consumer import Bounds
from worker.ports import Partition
from worker.rules.message import Message
from worker.service.no_tracing import NoSpan

Step = Literal["transaction", "publication", "pause"]


@dataclass(frozen=True, slots=True)
class Logged:
    """A record of a topic, and what it says."""

    record: Record
    message: Message


@dataclass(slots=True, eq=False)
class Delivered:
    """A record that a poll brought. `state`: queued, then begun, then done or, if it was abandoned, left."""

    message: Message
    holding: "Holding"
    state: Literal["queued", "begun", "done", "left"] = "queued"
    step: Step | None = None
    cut_off: bool = False

    @property
    def ended(self) -> bool:
        """Whether nothing of it may be begun any more."""
        return self.cut_off or self.holding.ending

    @property
    def place(self) -> str:
        record = self.message.record
        return f"{record.topic}/{record.partition}@{record.offset}"


@dataclass(slots=True, eq=False)
class Holding:
    """One member's time with one partition. `position`: which record of the log comes next."""

    partition: Partition
    position: int
    delivered: list[Delivered] = field(default_factory=list)
    ending: bool = False
    attempted: int | None = None
    """The offset that was last tried to be committed."""

    def restart(self) -> None:
        """The log goes on from an earlier offset: what came before is of another log."""
        for delivered in self.delivered:
            delivered.cut_off = True
        self.delivered = []
        self.attempted = None

    @property
    def finished_until(self) -> int | None:
        """What may be committed: the offset above the last record before which, itself included, all is done."""
        until = None
        for delivered in self.delivered:
            if delivered.state != "done":
                break
            until = delivered.message.record.offset + 1
        return until

    @property
    def commit_lag(self) -> int:
        """How many records there are from the first that is not done."""
        done = next((n for n, delivered in enumerate(self.delivered) if delivered.state != "done"), None)
        return 0 if done is None else len(self.delivered) - done


class Ledger:
    """One member's. `broken` is what was promised and not kept, in words."""

    def __init__(self, bounds: Bounds, broken: list[str], breaker: Breaker) -> None:
        self._bounds = bounds
        self._breaker = breaker
        self._broken = broken
        self._by_record: dict[int, Delivered] = {}
        self._lanes: dict[UUID, list[Delivered]] = defaultdict(list)  # what is not finished, in the order it came
        self._identities: dict[UUID, list[Delivered]] = defaultdict(list)  # likewise
        self._tasks: dict[asyncio.Task[object] | None, Delivered] = {}
        self._records: list[Record] = []  # kept, so that no other gets the `id()` of one

    def expect(self, holds: bool, what: str) -> None:
        if not holds:
            self._broken.append(what)

    # --- what the worker is given

    def deliver(self, holding: Holding, logged: Logged) -> Record:
        """A copy, to know this delivery from others of the same record."""
        if holding.delivered and logged.record.offset <= holding.delivered[-1].message.record.offset:
            holding.restart()
        record = replace(logged.record)
        self._records.append(record)
        delivered = Delivered(replace(logged.message, record=record), holding)
        self._by_record[id(record)] = delivered
        self._lanes[delivered.message.ordering_key].append(delivered)
        self._identities[delivered.message.id].append(delivered)
        holding.delivered.append(delivered)
        return record

    def check_poll(self, records_max: int, holdings: Iterable[Holding]) -> None:
        """What is asked for has room, and in none of these partitions a record holds back too many."""
        bounds, in_flight = self._bounds, self.in_flight
        if records_max <= 0:
            return
        self.expect(records_max + len(in_flight) <= bounds.in_flight_records_max, "fetches more than it has room for")
        bytes_in_flight = sum(_size(delivered.message.record) for delivered in in_flight)
        self.expect(bytes_in_flight < bounds.in_flight_bytes_max, "fetches with no room for another byte")
        for holding in holdings:
            self.expect(
                holding.commit_lag < bounds.commit_lag_records_max, f"fetches with a commit lag of {holding.commit_lag}"
            )

    @property
    def in_flight(self) -> list[Delivered]:
        """What is neither done nor left, but for what waits to be left."""
        return [
            delivered
            for ordering_key in self._lanes.values()
            for delivered in ordering_key
            if delivered.state == "begun" or not delivered.ended
        ]

    # --- what it does

    @contextmanager
    def span(self, message: Message) -> Iterator[NoSpan]:
        """`worker.ports.Tracer`: a message's life, from its first try to its last acknowledgement."""
        delivered, task = self.of(message), asyncio.current_task()
        ordering_key, repeats = self._lanes[message.ordering_key], self._identities[message.id]
        self.expect(
            ordering_key[0] is delivered,
            f"{delivered.place} begins while {ordering_key[0].place} of its release is not done",
        )
        self.expect(repeats[0] is delivered, f"{delivered.place} begins before {repeats[0].place}, which it repeats")
        delivered.state = "begun"
        self._tasks[task] = delivered
        try:
            yield NoSpan()
        except BaseException:
            delivered.state = "left"
            raise
        else:
            delivered.state = "done"
        finally:
            del self._tasks[task]
            ordering_key.remove(delivered)
            repeats.remove(delivered)

    @contextmanager
    def active(self, step: Step) -> Iterator[None]:
        """The present task's delivery is at it; a task that has none is not looked at."""
        delivered = self._tasks.get(asyncio.current_task())
        if delivered is None:
            yield
            return
        self.expect(delivered.step is None, f"{delivered.place}: {step} during {delivered.step}")
        if step == "transaction":
            self.expect(not delivered.ended, f"{delivered.place} is tried after its partition was given up")
            self.expect(not self._breaker.is_open, f"{delivered.place} is tried while the breaker is open")
            self.expect(self.at("transaction") < self._bounds.concurrency, "more at once than may be")
        delivered.step = step
        try:
            yield
        finally:
            delivered.step = None

    def message_at_hand(self) -> Message:
        """The one that the present task delivers."""
        return self._tasks[asyncio.current_task()].message

    def of(self, message: Message) -> Delivered:
        return self._by_record[id(message.record)]

    def at(self, *steps: Step) -> int:
        """How many deliveries are at one of these."""
        return sum(delivered.step in steps for delivered in self._tasks.values())

    # --- what holds whenever the worker has nothing to do but wait

    def check_at_rest(self, holdings: Iterable[Holding]) -> None:
        bounds, in_flight = self._bounds, self.in_flight
        self.expect(len(in_flight) <= bounds.in_flight_records_max, f"{len(in_flight)} records in flight")
        commit_lag_max = bounds.commit_lag_records_max - 1 + bounds.in_flight_records_max
        for holding in holdings:
            self.expect(holding.commit_lag <= commit_lag_max, f"a commit lag of {holding.commit_lag} records")
        if self.at("transaction", "publication") < bounds.concurrency:
            for delivered in filter(self._could_be_worked_on, in_flight):
                self.expect(False, f"{delivered.place} waits for no reason")

    def _could_be_worked_on(self, delivered: Delivered) -> bool:
        message = delivered.message
        first = self._lanes[message.ordering_key][0] is delivered and self._identities[message.id][0] is delivered
        return first and delivered.step is None and not delivered.ended

    def check_commit(self, partition: Partition, offset: int, holding: Holding | None) -> None:
        """It commits what it has, and just what is done."""
        if holding is None:
            self.expect(False, f"commits {partition}, which it does not have")
            return
        done, holding.attempted = holding.finished_until, offset
        self.expect(offset == done, f"commits {partition} at {offset}, done is {done}")

    def check_given_up(self, holding: Holding) -> None:
        """When a partition was given up in time: nothing of it is under way, and what is done is committed."""
        for delivered in holding.delivered:
            under_way = delivered.step in {"transaction", "publication"}
            self.expect(not under_way, f"{delivered.place} is under way in a partition that was given up")
        done = holding.finished_until
        self.expect(done == holding.attempted, f"gives up {holding.partition} at {holding.attempted}, done is {done}")


def _size(record: Record) -> int:
    headers = sum(len(name) + len(value or b"") for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers
