"""One history, checked: the whole of what verifying means, on nothing but values.

The records are judged from nothing, in the order that the log tells, by the same `decide` as the worker's; what they
come to is compared with the rows, the log, the rejections, the status topics and the dead letters.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from worker.pipeline.outgoing import Topics
from worker.rules.identity import activity_id, entry_ids
from worker.rules.rows import Activity
from worker.rules.state import Applied, Duplicate, Rejected
from worker.verify.deciding import LOG, Fit, Recorded, Verdict, decider
from worker.verify.findings import Finding, Kind
from worker.verify.history import Extents, History, Input, cause_of, place_of
from worker.verify.ledger import Ledger
from worker.verify.ordering import in_order
from worker.verify.outputs import Due, Refused, due_of, letter_findings, status_findings
from worker.verify.pointers import Pointed
from worker.verify.tables import rejection_findings, release_findings, unexplained_entries

_SWAPS_MAX = 16
"""How far a record that came too late is looked for."""


@dataclass(slots=True)
class Checked:
    """`unverifiable`: what is there or missed, and proves nothing, since a part of what it follows from is gone.

    `pending`: records in flight that nothing tells of so far. `pointed`: what the records had `app_environments` point
    at, in order; `pointed_all`: it is all there is, since the history was judged to its end, in an order that is sure.
    """

    findings: list[Finding] = field(default_factory=list)
    unverifiable: int = 0
    pending: int = 0
    pointed: list[Pointed] = field(default_factory=list)
    pointed_all: bool = False


def check(history: History, extents: Extents, topics: Topics) -> Checked:
    """What is wrong with one history."""
    recorded = Recorded(history, extents)
    checked = Checked(pending=sum(_is_pending(one, recorded) for one in history.inputs))
    unreadable = [activity for activity in history.activities if not _readable(activity, history, extents)]
    if unreadable or (history.rows and not history.rows.settled):
        checked.unverifiable += len(unreadable) or 1
        _Replay(history, recorded, extents, topics, inputs=None).finish(checked)
        return checked
    inputs = in_order(recorded)
    first = _replayed(history, recorded, extents, topics, inputs, frozenset())
    lost = frozenset(finding.place for finding in first.findings if finding.kind is Kind.LOST and finding.table == LOG)
    if len(first.findings) > len(lost) > 0:
        # A row of the log may be gone, or its event may never have had its effect: whichever explains more.
        second = _replayed(history, recorded, extents, topics, inputs, lost)
        first = min(first, second, key=lambda one: len(one.findings))
    return replace(first, pending=checked.pending)


def _replayed(
    history: History,
    recorded: Recorded,
    extents: Extents,
    topics: Topics,
    inputs: Sequence[Input],
    without: frozenset[object],
) -> Checked:
    checked = Checked()
    replay = _Replay(history, recorded, extents, topics, inputs=inputs, without=without)
    replay.finish(checked)
    return checked


def _is_pending(one: Input, recorded: Recorded) -> bool:
    if not one.in_flight or recorded.effects.get(one.id) == one.place:
        return False
    rejection = recorded.history.rejections.get(one.id)
    return rejection is None or place_of(rejection) != one.place


def _readable(activity: Activity, history: History, extents: Extents) -> bool:
    cause = cause_of(activity)
    if cause is None:
        return True
    source, event_id, place = cause
    return extents.readable(place) and activity_id(source=source, event_id=event_id) not in history.earlier_entries


class _Replay:
    """The history of one release once through. Without `inputs`, where they cannot all be read, its records are only
    accounted for. `without`: records that are taken to have had no effect.
    """

    def __init__(
        self,
        history: History,
        recorded: Recorded,
        extents: Extents,
        topics: Topics,
        *,
        inputs: Sequence[Input] | None,
        without: frozenset[object] = frozenset(),
    ) -> None:
        self._history, self._recorded, self._extents, self._topics = history, recorded, extents, topics
        self._without = without
        self._ledger = Ledger(recorded.remembered)
        self._refused: list[Refused] = []
        self._judged: set[object] = set()
        self._pointed: list[Pointed] = []
        self._findings: list[Finding] = []
        self._whole = inputs is not None
        # An order that explains log and rows may still be another one than that in which the pointers moved.
        self._order_is_sure = len({one.place[:2] for one in history.inputs}) <= 1
        self._judge_all(list(inputs or ()))

    def _judge_all(self, inputs: list[Input]) -> None:
        position = 0
        while position < len(inputs):
            verdict = decider(inputs[position], self._ledger, self._recorded)
            if verdict.fit is Fit.MISFIT:
                ahead = self._ahead(inputs, position)
                if ahead is not None:
                    inputs.insert(position, inputs.pop(ahead))
                    verdict = decider(inputs[position], self._ledger, self._recorded)
            self._take(inputs[position], verdict)
            if verdict.diverged:
                self._whole = False
                return
            position += 1

    def _ahead(self, inputs: Sequence[Input], position: int) -> int | None:
        """The place of a later record of the partition that had its effect first, if that explains what is there."""
        late = inputs[position]
        for other in range(position + 1, min(position + 1 + _SWAPS_MAX, len(inputs))):
            if not late.place.same_partition(inputs[other].place):
                continue
            ledger = self._ledger.copy()
            early = decider(inputs[other], ledger, self._recorded)
            if early.fit is not Fit.MATCH or early.outcome is None or isinstance(early.outcome, Duplicate):
                continue
            ledger.write(early.outcome, inputs[other].id)
            if decider(late, ledger, self._recorded).fit is Fit.MATCH:
                self._findings.append(
                    Finding(
                        kind=Kind.OUT_OF_ORDER,
                        place=inputs[other].place,
                        table=LOG,
                        row=inputs[other].id,
                        release=self._history.release_id,
                        expected=f"to take effect after {late.place}",
                        found="took effect before it",
                    )
                )
                return other
        return None

    def _take(self, one: Input, verdict: Verdict) -> None:
        self._judged.add(one.place)
        self._findings += verdict.findings
        outcome = verdict.outcome
        if outcome is not None and one.place not in self._without:
            self._ledger.write(outcome, one.id)
        match outcome:
            case Applied(changes=changes) if changes.pointer_move is not None and one.place not in self._without:
                known = self._recorded.effects.get(one.id) == one.place
                self._pointed.append(
                    Pointed(
                        move=changes.pointer_move,
                        at=one.message.at,
                        place=one.place,
                        number=len(self._pointed),
                        certain=known and not one.in_flight and self._order_is_sure,
                    )
                )
            case Rejected(rejection=rejection):
                recorded = one.id in self._history.rejections  # else the rejection itself is what is lost
                self._refused.append(
                    Refused(
                        place=one.place,
                        rejection_id=one.id,
                        reason=rejection.reason,
                        due=recorded and not one.in_flight,
                    )
                )
            case Duplicate(rejection=rejection) if rejection is not None:
                self._refused.append(Refused(place=one.place, rejection_id=one.id, reason=rejection.reason, due=False))
            case None:
                self._judged.discard(one.place)
            case _:
                pass

    def finish(self, checked: Checked) -> None:
        """Compare everything with what the records came to."""
        checked.pointed, checked.pointed_all = self._pointed, self._whole and self._order_is_sure
        for found in chain(self._findings, self._tables(), self._outputs()):
            if found is None:
                checked.unverifiable += 1
            else:
                checked.findings.append(found)

    def _tables(self) -> Iterator[Finding]:
        if not self._whole:
            yield from self._unaccounted()
            return
        if self._history.release_id is not None:
            yield from release_findings(self._history, self._ledger)
        yield from rejection_findings(self._history, self._ledger)
        yield from unexplained_entries(self._history, self._ledger)

    def _unaccounted(self) -> Iterator[Finding]:
        """Records that were not judged, and are in neither the log nor the rejections."""
        history = self._history
        for one in history.inputs:
            known = one.id in self._recorded.effects or one.id in history.rejections or one.id in history.elsewhere
            if not known and not one.in_flight and one.place not in self._judged:
                yield Finding(
                    kind=Kind.LOST,
                    place=one.place,
                    table=LOG,
                    row=one.id,
                    release=history.release_id,
                    expected="in the log or the rejections",
                    found="in neither",
                )

    def _outputs(self) -> Iterator[Finding | None]:
        history, topics = self._history, self._topics
        yield from status_findings(history, self._due(), self._extents)
        unsure = frozenset(one.place for one in history.inputs if one.place not in self._judged)
        refused = [*self._refused, *(() if self._whole else self._refused_by_row())]
        yield from letter_findings(history, refused, unsure, trimmed=topics.dead_letters in self._extents.trimmed)

    def _due(self) -> list[Due]:
        in_flight = frozenset(one.place for one in self._history.inputs if one.in_flight)
        if self._whole:
            activities: Sequence[Activity] = list(chain.from_iterable(self._ledger.activities.values()))
        else:
            activities = sorted(self._history.activities, key=_by_record)
        return due_of(activities, self._topics, self._extents, in_flight, self._history.earlier_entries)

    def _refused_by_row(self) -> Iterator[Refused]:
        in_flight = {one.place for one in self._history.inputs if one.in_flight}
        places = {one.place for one in self._history.inputs} - in_flight
        for rejection in self._history.rejections.values():
            place = place_of(rejection)
            if rejection.id in self._history.earlier_rejections:
                continue
            if place in places and place not in self._judged:
                yield Refused(place=place, rejection_id=rejection.id, reason=rejection.reason, due=True)


def _by_record(activity: Activity) -> tuple[object, ...]:
    cause = cause_of(activity)
    if cause is None:
        return ("", 0, 0, 0)
    source, event_id, place = cause
    return (*place, _position(activity, source, event_id))


def _position(activity: Activity, source: str, event_id: str) -> int:
    ids = entry_ids(source=source, event_id=event_id)
    return ids.index(activity.id) if activity.id in ids else len(ids)
