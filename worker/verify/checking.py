"""Check one history. Values in, findings out; no IO.

The records are decided from an empty state, in the order that the activity log gives, by the worker's own `decide`. The
result is compared with the rows, the activities, the rejections, the status topics and the dead letters.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from worker.pipeline.outgoing import Topics
from worker.release_simulation import ReleaseSimulation
from worker.rules.identity import activity_id, activity_ids
from worker.rules.message import RecordPosition
from worker.rules.rows import Activity
from worker.rules.state import Applied, Duplicate, Rejected
from worker.verify.comparison import LOG, Comparison, Recorded, Result, compare_record
from worker.verify.findings import Finding, Kind
from worker.verify.history import Extents, History, InputRecord, cause_of, position_of
from worker.verify.ordering import in_order
from worker.verify.outputs import ExpectedDeadLetter, dead_letter_findings, expected_statuses, status_findings
from worker.verify.pointers import ExpectedPointer
from worker.verify.states import state_findings
from worker.verify.tables import rejection_findings, release_findings, unexplained_activities, version_findings

_SWAPS_MAX = 16
"""How many records ahead a record is searched that took effect too early."""


@dataclass(slots=True)
class Checked:
    """`unverifiable`: present or missing rows and records that prove nothing, since a part of their causes is deleted.

    `pending`: records in flight without an effect so far. `pointers`: the environment pointers that the records set, in
    order; `pointers_complete`: whether these are all, since the whole history was decided in a certain order.
    """

    findings: list[Finding] = field(default_factory=list)
    unverifiable: int = 0
    pending: int = 0
    pointers: list[ExpectedPointer] = field(default_factory=list)
    pointers_complete: bool = False


def check(history: History, extents: Extents, topics: Topics) -> Checked:
    """The findings of one history."""
    recorded = Recorded(history, extents)
    checked = Checked(pending=sum(_is_pending(one, recorded) for one in history.inputs))
    unreadable = [activity for activity in history.activities if not _readable(activity, history, extents)]
    if unreadable or (history.rows and not history.rows.settled):
        checked.unverifiable += len(unreadable) or 1
        _Replay(history, recorded, extents, topics, inputs=None).finish(checked)
        return checked
    inputs = in_order(recorded)
    first = _replayed(history, recorded, extents, topics, inputs)
    lost = frozenset(
        finding.position for finding in first.findings if finding.kind is Kind.LOST and finding.table == LOG
    )
    if len(first.findings) > len(lost) > 0:
        # The activities may have been deleted, or their events may never have taken effect: fewer findings decide.
        second = _replayed(history, recorded, extents, topics, inputs, without=lost)
        first = min(first, second, key=lambda one: len(one.findings))
    return replace(first, pending=checked.pending)


def _replayed(
    history: History,
    recorded: Recorded,
    extents: Extents,
    topics: Topics,
    inputs: Sequence[InputRecord],
    without: frozenset[RecordPosition | None] = frozenset(),
) -> Checked:
    checked = Checked()
    _Replay(history, recorded, extents, topics, inputs=inputs, without=without).finish(checked)
    return checked


def _is_pending(one: InputRecord, recorded: Recorded) -> bool:
    if not one.in_flight or recorded.effects.get(one.id) == one.position:
        return False
    rejection = recorded.history.rejections.get(one.id)
    return rejection is None or position_of(rejection) != one.position


def _readable(activity: Activity, history: History, extents: Extents) -> bool:
    cause = cause_of(activity)
    if cause is None:
        return True
    source, event_id, position = cause
    return (
        extents.readable(position) and activity_id(source=source, event_id=event_id) not in history.earlier_activities
    )


class _Replay:
    """Decide a history's records once. Without `inputs`, where they cannot all be read, the records are only looked up
    in the activities and the rejections. `without`: records that are taken to have had no effect.
    """

    def __init__(
        self,
        history: History,
        recorded: Recorded,
        extents: Extents,
        topics: Topics,
        *,
        inputs: Sequence[InputRecord] | None,
        without: frozenset[RecordPosition | None] = frozenset(),
    ) -> None:
        self._history, self._recorded, self._extents, self._topics = history, recorded, extents, topics
        self._without = without
        self._expected_rows = ReleaseSimulation(recorded.initial_rejections)
        self._dead_letters: list[ExpectedDeadLetter] = []
        self._decided: set[RecordPosition] = set()
        self._pointers: list[ExpectedPointer] = []
        self._findings: list[Finding] = []
        self._whole = inputs is not None
        # An order that explains activities and rows may still differ from that in which the pointers were set.
        self._order_is_certain = len({one.position[:2] for one in history.inputs}) <= 1
        self._decide_all(list(inputs or ()))

    def _decide_all(self, inputs: list[InputRecord]) -> None:
        for index in range(len(inputs)):
            comparison = compare_record(inputs[index], self._expected_rows, self._recorded)
            if comparison.result is Result.DIFFERS and (ahead := self._ahead(inputs, index)) is not None:
                inputs.insert(index, inputs.pop(ahead))
                comparison = compare_record(inputs[index], self._expected_rows, self._recorded)
            self._take(inputs[index], comparison)
            if comparison.diverged:
                self._whole = False
                return

    def _ahead(self, inputs: Sequence[InputRecord], index: int) -> int | None:
        """The index of a later record of the partition that took effect first, if that explains what is there."""
        late = inputs[index]
        for other in range(index + 1, min(index + 1 + _SWAPS_MAX, len(inputs))):
            if not late.position.same_partition(inputs[other].position):
                continue
            expected_rows = self._expected_rows.copy()
            early = compare_record(inputs[other], expected_rows, self._recorded)
            if early.result is not Result.MATCHES or early.outcome is None or isinstance(early.outcome, Duplicate):
                continue
            expected_rows.write(early.outcome, inputs[other].id)
            if compare_record(late, expected_rows, self._recorded).result is Result.MATCHES:
                self._findings.append(
                    Finding(
                        kind=Kind.OUT_OF_ORDER,
                        position=inputs[other].position,
                        table=LOG,
                        row=inputs[other].id,
                        release=self._history.release_id,
                        expected=f"an effect after that of {late.position}",
                        found="an effect before it",
                    )
                )
                return other
        return None

    def _take(self, one: InputRecord, comparison: Comparison) -> None:
        self._decided.add(one.position)
        self._findings += comparison.findings
        outcome = comparison.outcome
        if outcome is not None and one.position not in self._without:
            self._expected_rows.write(outcome, one.id)
        match outcome:
            case Applied(changes=changes) if changes.pointer_move is not None and one.position not in self._without:
                known = self._recorded.effects.get(one.id) == one.position
                self._pointers.append(
                    ExpectedPointer(
                        move=changes.pointer_move,
                        at=one.message.at,
                        position=one.position,
                        number=len(self._pointers),
                        certain=known and not one.in_flight and self._order_is_certain,
                    )
                )
            case Rejected(rejection=rejection):
                recorded = one.id in self._history.rejections  # else the rejection itself is lost
                self._expect_dead_letter(one, rejection.reason, required=recorded and not one.in_flight)
            case Duplicate(rejection=rejection) if rejection is not None:
                self._expect_dead_letter(one, rejection.reason, required=False)
            case None:
                self._decided.discard(one.position)
            case _:
                pass

    def _expect_dead_letter(self, one: InputRecord, reason: str, *, required: bool) -> None:
        self._dead_letters.append(
            ExpectedDeadLetter(original=one.position, rejection_id=one.id, reason=reason, required=required)
        )

    def finish(self, checked: Checked) -> None:
        """Compare everything with what the records result in."""
        checked.pointers, checked.pointers_complete = self._pointers, self._whole and self._order_is_certain
        for found in chain(self._findings, self._tables(), self._outputs()):
            if found is None:
                checked.unverifiable += 1
            else:
                checked.findings.append(found)

    def _tables(self) -> Iterator[Finding]:
        if not self._whole:
            yield from self._unhandled()
            yield from version_findings(self._history, sorted(self._history.activities, key=_by_record))
            return
        if self._history.release_id is not None:
            yield from release_findings(self._history, self._expected_rows)
        yield from rejection_findings(self._history, self._expected_rows)
        yield from unexplained_activities(self._history, self._expected_rows)

    def _unhandled(self) -> Iterator[Finding]:
        """Undecided records without an activity or a rejection."""
        history = self._history
        for one in history.inputs:
            known = one.id in self._recorded.effects or one.id in history.rejections or one.id in history.elsewhere
            if not known and not one.in_flight and one.position not in self._decided:
                yield Finding(
                    kind=Kind.LOST,
                    position=one.position,
                    table=LOG,
                    row=one.id,
                    release=history.release_id,
                    expected="an activity or a rejection",
                    found="neither",
                )

    def _outputs(self) -> Iterator[Finding | None]:
        history, topics = self._history, self._topics
        in_flight = frozenset(one.position for one in history.inputs if one.in_flight)
        if self._whole:
            activities: Sequence[Activity] = list(chain.from_iterable(self._expected_rows.activities.values()))
        else:
            activities = sorted(history.activities, key=_by_record)
        expected = expected_statuses(activities, topics, self._extents, in_flight, history.earlier_activities)
        yield from status_findings(history, expected, self._extents)
        if topics.deployment_state is not None:
            yield from state_findings(history, topics.deployment_state, self._extents, in_flight)
        undecided = frozenset(one.position for one in history.inputs if one.position not in self._decided)
        dead_letters = [*self._dead_letters, *(() if self._whole else self._dead_letters_of_rows(in_flight))]
        trimmed = topics.dead_letters in self._extents.trimmed
        yield from dead_letter_findings(history, dead_letters, undecided, trimmed=trimmed)

    def _dead_letters_of_rows(self, in_flight: frozenset[RecordPosition]) -> Iterator[ExpectedDeadLetter]:
        committed = {one.position for one in self._history.inputs} - in_flight
        for rejection in self._history.rejections.values():
            position = position_of(rejection)
            if rejection.id in self._history.earlier_rejections:
                continue
            if position in committed and position not in self._decided:
                yield ExpectedDeadLetter(
                    original=position, rejection_id=rejection.id, reason=rejection.reason, required=True
                )


def _by_record(activity: Activity) -> tuple[object, ...]:
    cause = cause_of(activity)
    if cause is None:
        return ("", 0, 0, 0)
    source, event_id, position = cause
    ids = activity_ids(source=source, event_id=event_id)
    return (*position, ids.index(activity.id) if activity.id in ids else len(ids))
