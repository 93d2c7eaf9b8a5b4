"""One record: what the rules make of it, beside what the log and the rejections say it came to."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from uuid import UUID

from schemas.reasons import Reason
from worker.rules.decide import decide, reject
from worker.rules.identity import ENTRIES_MAX, activity_id, entry_ids
from worker.rules.rows import Activity
from worker.rules.state import Applied, Duplicate, Outcome, Rejected, Stale
from worker.verify.findings import Finding, Kind, Place
from worker.verify.history import Extents, History, Input, cause_of, place_of
from worker.verify.ledger import Ledger

LOG, REJECTIONS = "release_activity_logs", "release_event_rejections"

_BELIEVED = (Reason.PROCESSING_ERROR, Reason.SOURCE_NOT_ALLOWED)
"""Reasons that no rule foresees: what went wrong then, and the list of sources that there was then."""


class Fit(IntEnum):
    """How well an outcome and what is recorded go together; the lower, the better."""

    MATCH = 0
    GAP = 1  # nothing is recorded
    MISFIT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`outcome`: what the record does to the rows; None: nothing. `diverged`: something else happened than the rules
    say, so that nobody can tell what had to follow.
    """

    fit: Fit
    outcome: Outcome | None = None
    findings: tuple[Finding, ...] = ()
    diverged: bool = False


class Recorded:
    """What a history's log and rejections say, by the event that they say it of."""

    def __init__(self, history: History, extents: Extents) -> None:
        self.history = history
        self.activities = {activity.id: activity for activity in history.activities}
        self.effects: dict[UUID, Place] = {}
        """The record that each event had its effect by."""
        for activity in history.activities:
            if (cause := cause_of(activity)) is not None:
                source, event_id, place = cause
                self.effects.setdefault(activity_id(source=source, event_id=event_id), place)
        self._events = {one.place: one.id for one in history.inputs}
        self._redrives = {one.place for one in history.inputs if one.message.redrive}
        self.remembered = {
            event: replace(rejection, resolved_at=None)
            for event, rejection in history.rejections.items()
            if event in history.earlier_rejections or not extents.readable(place_of(rejection))
        } | dict(history.rejected_before)
        """As they were before a redrive that can be read."""
        self._reasons = {(letter.rejection_id, letter.of): letter.reason for letter in history.letters}

    def by(self, event: UUID, place: Place) -> bool:
        """Whether the record at `place` is one of the event."""
        return self._events.get(place) == event

    def is_redrive(self, place: Place) -> bool:
        return place in self._redrives

    def reason_at(self, one: Input) -> str | None:
        """Why this very record was rejected, or its event before it; None: it was not."""
        rejection = self.history.rejections.get(one.id)
        if rejection is None:
            return None
        if place_of(rejection) == one.place:
            return rejection.reason
        return self._reasons.get((one.id, one.place))


def decider(one: Input, ledger: Ledger, recorded: Recorded) -> Verdict:
    """Both sides of one record, given what those before it came to."""
    history, event = recorded.history, one.id
    if event in history.elsewhere:
        return _repeat_of_another_release(one, history.elsewhere[event], history)
    effect = recorded.effects.get(event)
    if one.in_flight and effect != one.place:
        return Verdict(fit=Fit.MATCH)  # it was not handled yet; or rejected, which changes no state
    reason = recorded.reason_at(one)
    taken = reason == Reason.RELEASE_CONFLICT and event in history.numbers_taken
    state = ledger.state(one.message, number_taken=taken)
    outcome = decide(state, one.message)
    believed = next((each for each in _BELIEVED if each == reason), None)
    if believed and effect != one.place and not isinstance(outcome, Duplicate):
        outcome = reject(state, one.message, believed, "")
    match outcome:
        case Applied(changes=changes) | Stale(changes=changes):
            return _applied(one, outcome, changes.activities, recorded)
        case Rejected():
            return _rejected(one, outcome, recorded)
        case Duplicate():
            return Verdict(fit=Fit.MISFIT if effect == one.place else Fit.MATCH, outcome=outcome)


def _repeat_of_another_release(one: Input, effect: Place, history: History) -> Verdict:
    if one.id in history.rejections or one.id in history.earlier_entries:
        return Verdict(fit=Fit.MATCH)
    if not effect.same_partition(one.place) or effect.offset <= one.place.offset:
        return Verdict(fit=Fit.MATCH)
    finding = _finding(
        Kind.OUT_OF_ORDER, one, expected="the effect of the event's first record", found=f"that of its repeat {effect}"
    )
    return Verdict(fit=Fit.MATCH, findings=(finding,))


def _applied(one: Input, outcome: Outcome, activities: Sequence[Activity], recorded: Recorded) -> Verdict:
    event, effect = one.id, recorded.effects.get(one.id)
    if effect == one.place or (effect is None and any(activity.id in recorded.activities for activity in activities)):
        findings = tuple(_differences(one, activities, recorded))
        lost = all(finding.kind is Kind.LOST for finding in findings)
        fit = Fit.MISFIT if not lost else Fit.GAP if findings else Fit.MATCH
        return Verdict(fit=fit, outcome=outcome, findings=findings)
    expected = _told(activities)
    rejection, reason = recorded.history.rejections.get(event), recorded.reason_at(one)
    if reason is not None:
        finding = _finding(Kind.CONTRADICTORY, one, REJECTIONS, event, expected, f"rejected as {reason}")
        return Verdict(fit=Fit.MISFIT, findings=(finding,), diverged=True)
    told = effect or (place_of(rejection) if rejection else None)
    if told is None:
        finding = _finding(Kind.LOST, one, LOG, activities[0].id, expected, "nothing, in the log or the rejections")
        return Verdict(fit=Fit.GAP, outcome=outcome, findings=(finding,))
    if not recorded.by(event, told):
        found = f"{told}, which is no record of this event"
        finding = _finding(Kind.CONTRADICTORY, one, LOG, event, f"{one.place} as the event's record", found)
        return Verdict(fit=Fit.MISFIT, outcome=outcome, findings=(finding,))
    if not told.same_partition(one.place):
        return Verdict(fit=Fit.MISFIT)  # of two partitions, the other's record came first: this one is its repeat
    found = f"that of its later record {told}"
    finding = _finding(Kind.OUT_OF_ORDER, one, LOG, event, "the effect of the event's first record", found)
    return Verdict(fit=Fit.MISFIT, outcome=outcome, findings=(finding,))


def _rejected(one: Input, outcome: Rejected, recorded: Recorded) -> Verdict:
    event, effect = one.id, recorded.effects.get(one.id)
    expected = f"rejected as {outcome.rejection.reason}"
    if effect == one.place:
        found = (
            _told([activity for activity in recorded.activities.values() if activity.id == event])
            or "entries in the log"
        )
        finding = _finding(Kind.CONTRADICTORY, one, LOG, event, expected, found)
        return Verdict(fit=Fit.MISFIT, findings=(finding,), diverged=True)
    rejection = recorded.history.rejections.get(event)
    told = effect if rejection is None else place_of(rejection)
    if told and recorded.by(event, told) and not told.same_partition(one.place) and not recorded.is_redrive(told):
        return Verdict(fit=Fit.MISFIT)  # a repeat, as above
    if rejection is None:
        finding = _finding(Kind.LOST, one, REJECTIONS, event, expected, "nothing, in the log or the rejections")
        return Verdict(fit=Fit.GAP, outcome=outcome, findings=(finding,))
    reason = recorded.reason_at(one)
    if reason is not None and reason != outcome.rejection.reason:
        finding = _finding(Kind.CONTRADICTORY, one, REJECTIONS, event, expected, f"rejected as {reason}")
        return Verdict(fit=Fit.MISFIT, outcome=outcome, findings=(finding,))
    return Verdict(fit=Fit.MATCH, outcome=outcome)


def _differences(one: Input, activities: Sequence[Activity], recorded: Recorded) -> list[Finding]:
    findings = []
    for activity in activities:
        found = recorded.activities.get(activity.id)
        if found is None:
            findings.append(_finding(Kind.LOST, one, LOG, activity.id, _told([activity]), "no such row"))
        elif found != activity:
            names = [name for name in _ENTRY_FIELDS if getattr(activity, name) != getattr(found, name)]
            expected, told = ("; ".join(f"{name} {getattr(of, name)}" for name in names) for of in (activity, found))
            findings.append(_finding(Kind.CONTRADICTORY, one, LOG, activity.id, expected, told))
    content = one.message.content
    if content.source is not None and content.id is not None and len(activities) < ENTRIES_MAX:
        for further in entry_ids(source=content.source, event_id=content.id)[len(activities) :]:
            if further in recorded.activities:
                found_text = _told([recorded.activities[further]])
                expected = f"no more than {len(activities)} of the event"
                findings.append(_finding(Kind.INVENTED, one, LOG, further, expected, found_text))
    return findings


_ENTRY_FIELDS = (
    "created_at",
    "release_id",
    "deployment_id",
    "environment_id",
    "activity_type",
    "activity_data",
    "status",
)


def _told(activities: Sequence[Activity]) -> str:
    return ", ".join(f"{activity.activity_type} {activity.status}" for activity in activities)


def _finding(
    kind: Kind, one: Input, table: str | None = None, row: UUID | None = None, expected: str = "", found: str = ""
) -> Finding:
    message = one.message
    return Finding(
        kind=kind, place=one.place, table=table, row=row, release=message.release_id, expected=expected, found=found
    )
