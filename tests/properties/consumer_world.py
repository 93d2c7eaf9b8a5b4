"""Workers, a broker and a database, and a test that says what happens next, and to whom.

After every step all promises are looked at: those about one worker in its ledger, those about rows, topics and
offsets where they change.
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

TICKS_SECONDS = (0.0, 0.4, 1.5, 9.0)  # 0: to the next timer, however far
_TURNS_MAX = 800


@dataclass(frozen=True, slots=True)
class Step:
    """What happens, and a number that says to which of those that it could happen to."""

    what: str
    which: int = 0


class World:
    """A context: what it leaves running is ended."""

    def __init__(self, logs: Mapping[Partition, Sequence[Logged]], bounds: Bounds, *, members: int = 2) -> None:
        self.outside = Outside(logs)
        self._bounds = bounds
        self._broken: list[str] = []
        self.denials = 0
        """How often a transaction was refused to the lane that fails for ever."""
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

    # --- one thing after the other

    def play(self, plan: Sequence[Step]) -> None:
        """From a group in which everybody is there and all partitions are somebody's."""
        for step in (Step("mend"), Step("mend"), *plan):
            self.take(step)

    def take(self, step: Step) -> None:
        """What cannot happen now does not."""
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
            case "stall":  # for so long that others get what it has
                member.frozen = True
                member.fence()
                for taker in self._alive:
                    for partition in self._free if taker.edges.joined else ():
                        taker.give(partition)
            case "thaw":
                member.thaw()
            case "stop":
                member.stop()
            case "crash":
                member.crash()
                self._members[self._members.index(member)] = None
            case _:
                raise ValueError(what)

    def _questions(self, fault: str | None = None) -> list[Question[Any]]:
        """What can be answered now, and in this way."""
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
        """A partition that nobody has. Its first records may come before the worker is told that it has it."""
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
        """Time passes from timer to timer; without a length, to the next one."""
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
        """Nothing fails any more but the transactions of one lane, if one is named."""
        for _ in range(_TURNS_MAX):
            self._mend()
            self._turn()
            if until():
                return
            self._go_on(failing)
        raise AssertionError("it does not come to an end")

    def stop(self) -> None:
        """Everybody ends in order, with everything committed."""
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
        """Everybody is there and knows what it has, and all partitions are somebody's."""
        for slot in range(len(self._members)):
            self._start(slot)
        for member in self._alive:
            member.thaw()
        takers = [member for member in self._alive if member.edges.joined]
        for n, partition in enumerate(self._free if takers else ()):
            takers[n % len(takers)].give(partition)
        for member in self._alive:
            if member.can("tell"):
                member.tell()
