"""Workers, a broker and a database; the test decides which step comes next, and for which worker.

All promises are checked after every step: those of one worker in its ledger, those of rows, topics and offsets where
they change.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from tests.properties.consumer_edges import BATCHES
from tests.properties.consumer_ledger import Logged
from tests.properties.consumer_member import Member
from tests.properties.consumer_outside import FAULTS, Outside, Question
from worker.pipeline.consumer import Bounds
from worker.ports import Partition

TICKS_SECONDS = (0.0, 0.4, 1.5, 9.0)  # 0: until the next timer, however late
_TURNS_MAX = 800


@dataclass(frozen=True, slots=True)
class Step:
    """A step, and a number that selects one of the workers or requests to which it applies."""

    what: str
    which: int = 0


class World:
    """A context manager, which ends the members that still run."""

    def __init__(self, logs: Mapping[Partition, Sequence[Logged]], bounds: Bounds, *, members: int = 2) -> None:
        self.outside = Outside(logs)
        self._bounds = bounds
        self._broken: list[str] = []
        self.denials = 0
        """The number of refused transactions of the release that always fails."""
        self._members: list[Member | None] = [None] * members

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for member in self._alive:
            member.end()

    @property
    def _alive(self) -> list[Member]:
        return [member for member in self._members if member is not None]

    def _start(self, slot: int) -> None:
        if self._members[slot] is None:
            self._members[slot] = Member(self.outside, self._bounds, self._broken)

    def _turn(self) -> None:
        for slot, member in enumerate(self._members):
            if member is not None and not member.frozen and not member.turn():
                self._members[slot] = None
        assert not self._broken, self._broken

    # --- the steps of a plan

    def play(self, plan: Sequence[Step]) -> None:
        """Takes the steps of the plan, after all members have joined and every partition has an owner."""
        for step in (Step("mend"), Step("mend"), *plan):
            self.take(step)

    def take(self, step: Step) -> None:
        """Takes the step; a step that is not possible now has no effect."""
        which = step.which
        match step.what:
            case "answer":
                self._answer(self._questions(), None, which)
            case "fetch":
                polls = [question for question in self._questions() if question.kind == "poll"]
                self._answer(polls, None, which)
            case "answer all":
                for question in self._questions():
                    question.settle(None, which)
            case fault if any(fault in faults for faults in FAULTS.values()):
                self._answer(self._questions(fault), fault, which)
            case "tick":
                self._tick(TICKS_SECONDS[which % len(TICKS_SECONDS)])
            case "give":
                self._give(which)
            case "mend":
                self._mend()
            case what:
                able = [member for member in self._alive if member.can(what)]
                if able:
                    self._befall(what, able[which % len(able)], which // len(able))
        self._turn()

    def _befall(self, what: str, member: Member, which: int) -> None:
        match what:
            case "take":
                member.take(which)
            case "fence":
                member.fence()
            case "tell":
                member.tell()
            case "rewind":
                member.rewind(which)
            case "freeze":
                member.frozen = True
            case "stall":  # until other members have its partitions
                member.frozen = True
                member.fence()
                for taker in self._alive:
                    for partition in self._free if taker.edges.joined else ():
                        taker.give(partition)
            case "thaw":
                member.thaw()
            case "open":
                member.open()
            case "close":
                member.close()
            case "stop":
                member.stop()
            case "crash":
                member.crash()
                self._members[self._members.index(member)] = None
            case _:
                raise ValueError(what)

    def _questions(self, fault: str | None = None) -> list[Question[Any]]:
        """The requests that can be answered now, with this fault if one is given."""
        return [
            question
            for member in self._alive
            for question in member.edges.questions
            if question.open and (fault is None or fault in FAULTS[question.kind])
        ]

    def _answer(self, questions: Sequence[Question[Any]], fault: str | None, which: int) -> None:
        if questions:
            questions[which % len(questions)].settle(fault, which // len(questions))

    def _give(self, which: int) -> None:
        """Assigns a partition without an owner. Its first records may arrive before the assignment callback."""
        free, takers = self._free, [member for member in self._alive if member.edges.joined]
        if free and takers:
            which, n = divmod(which, len(free))
            partition = free[n]
            which, n = divmod(which, len(takers))
            takers[n].give(partition)
            if which % 2 == 0 and takers[n].can("tell"):
                takers[n].tell()

    @property
    def _free(self) -> list[Partition]:
        return [partition for partition in self.outside.logs if partition not in self.outside.owners]

    def _tick(self, seconds: float) -> None:
        """Time passes from timer to timer; `seconds` 0: until the next one."""
        until_seconds = self.outside.now_seconds + seconds
        while (due_seconds := self._due_seconds) is not None:
            if seconds and due_seconds > until_seconds:
                break
            self.outside.now_seconds = due_seconds
            self._turn()
            if not seconds:
                return
        self.outside.now_seconds = until_seconds

    @property
    def _due_seconds(self) -> float | None:
        dues_seconds = [member.loop.timer_due_seconds for member in self._alive if not member.frozen]
        return min((due_seconds for due_seconds in dues_seconds if due_seconds is not None), default=None)

    # --- the end of all failures

    def finish(self, *, until: Callable[[], bool], failing: UUID | None = None) -> None:
        """Runs without failures, but for the transactions of the release `failing`, until the condition holds."""
        for _ in range(_TURNS_MAX):
            self._mend()
            self._turn()
            if until():
                return
            self._go_on(failing)
        raise AssertionError("it does not come to an end")

    def stop(self) -> None:
        """Every member stops in order, with everything committed."""
        for member in self._alive:
            member.stop()
        for _ in range(_TURNS_MAX):
            self._turn()
            if not self._alive:
                return
            self._go_on(None)
        raise AssertionError("somebody does not stop")

    def _go_on(self, failing: UUID | None) -> None:
        questions = self._questions()
        if not questions:
            self._tick(0)
            return
        message = questions[0].message
        fails = message is not None and message.ordering_key == failing
        self.denials += fails
        questions[0].settle("down" if fails else None, len(BATCHES) - 1)

    def _mend(self) -> None:
        """Every member runs and has its callbacks, and every partition has an owner."""
        for slot in range(len(self._members)):
            self._start(slot)
        for member in self._alive:
            member.thaw()
            member.close()
        takers = [member for member in self._alive if member.edges.joined]
        for n, partition in enumerate(self._free if takers else ()):
            takers[n % len(takers)].give(partition)
        for member in self._alive:
            if member.can("tell"):
                member.tell()
