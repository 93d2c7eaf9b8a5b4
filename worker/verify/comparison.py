"""One record: the rules' outcome, compared with what the activity log and the rejections hold."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from uuid import UUID

from schemas.json_text import compact
from schemas.reasons import Reason
from worker.release_simulation import ReleaseSimulation
from worker.rules.decide import decide, reject
from worker.rules.effects import DEPLOYMENT_RUN
from worker.rules.identity import ACTIVITIES_MAX, activity_id, activity_ids
from worker.rules.message import RecordPosition
from worker.rules.rows import Activity
from worker.rules.state import Applied, Duplicate, Outcome, Rejected, Stale, State
from worker.verify.findings import Finding, Kind
from worker.verify.history import Extents, History, InputRecord, cause_of, position_of

LOG, REJECTIONS = "release_activity_logs", "release_event_rejections"

_UNFORESEEABLE = (Reason.PROCESSING_ERROR, Reason.SOURCE_NOT_ALLOWED, Reason.UNMAPPED)
"""Reasons that do not follow from the records: an error, the list of sources, and the mapping of that time."""

_ADDED_FIELDS = ("release_version", "release", "traceparent", "tracestate")
"""What earlier program versions did not write into the activity of a change."""

_ACTIVITY_COLUMNS = (
    "created_at",
    "release_id",
    "deployment_id",
    "environment_id",
    "activity_type",
    "activity_data",
    "status",
)


class Result(IntEnum):
    """The lower, the better."""

    MATCHES = 0
    MISSING = 1
    DIFFERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """`outcome`: what the record does to the expected rows; None: nothing. `diverged`: the worker's decision differs
    from the rules', so that what follows cannot be decided.
    """

    result: Result
    outcome: Outcome | None = None
    findings: tuple[Finding, ...] = ()
    diverged: bool = False


class Recorded:
    """A history's activities and rejections, by event."""

    def __init__(self, history: History, extents: Extents) -> None:
        self.history = history
        self.activities = {activity.id: activity for activity in history.activities}
        self.effects: dict[UUID, RecordPosition] = {}
        """The record by which each event took effect."""
        for activity in history.activities:
            if (cause := cause_of(activity)) is not None:
                source, event_id, position = cause
                self.effects.setdefault(activity_id(source=source, event_id=event_id), position)
        self._events = {one.position: one.id for one in history.inputs}
        self._redrives = {one.position for one in history.inputs if one.message.redrive}
        self.initial_rejections = {
            event: replace(rejection, resolved_at=None)
            for event, rejection in history.rejections.items()
            if event in history.earlier_rejections or not extents.readable(position_of(rejection))
        } | dict(history.rejected_before)
        """Of records that cannot be read, as they were before a redrive that can be."""
        self._reasons = {(one.rejection_id, one.original): one.reason for one in history.dead_letters}

    def is_record_of(self, event: UUID, position: RecordPosition) -> bool:
        return self._events.get(position) == event

    def is_redrive(self, position: RecordPosition) -> bool:
        return position in self._redrives

    def with_correction(self, one: InputRecord, state: State) -> State:
        """The state with the rejection resolved, if an event of another release had corrected it by then. Records of
        two partitions have no order: there the rejection's own row decides.
        """
        rejection, found = state.rejection, self.history.rejections.get(one.id)
        if rejection is None or rejection.resolved_at is not None or found is None or not one.message.redrive:
            return state
        at = position_of(rejection)
        for correction in self.history.corrections.get(one.id, ()):
            position = correction.position
            if position.same_partition(one.position):
                behind = not position.same_partition(at) or position.offset > at.offset
                before = correction.effective and behind and position.offset < one.position.offset
            else:
                before = one.id not in self.effects and found.resolved_at == correction.resolved_at
            if before:
                return replace(state, rejection=replace(rejection, resolved_at=correction.resolved_at))
        return state

    def reason_at(self, one: InputRecord) -> str | None:
        """Why this record, or an earlier one of its event, was rejected. None: it was not."""
        rejection = self.history.rejections.get(one.id)
        if rejection is None:
            return None
        if position_of(rejection) == one.position:
            return rejection.reason
        return self._reasons.get((one.id, one.position))


def compare_record(one: InputRecord, expected_rows: ReleaseSimulation, recorded: Recorded) -> Comparison:
    """Decide a record on the rows that the records before it result in, and compare."""
    history, event = recorded.history, one.id
    if event in history.elsewhere:
        return _repeat_of_another_release(one, history.elsewhere[event], history)
    effect = recorded.effects.get(event)
    if one.in_flight and effect != one.position:
        return Comparison(result=Result.MATCHES)  # not handled yet; or rejected, which changes no state
    reason = recorded.reason_at(one)
    taken = reason == Reason.RELEASE_CONFLICT and event in history.numbers_taken
    state = recorded.with_correction(one, expected_rows.state(one.message, number_taken=taken))
    if history.rows is not None and state.release is None:  # the next free one depends on other releases
        state = replace(state, next_number=history.rows.release["release_number"])
    outcome = decide(state, one.message)
    unforeseeable = next((each for each in _UNFORESEEABLE if each == reason), None)
    if unforeseeable and effect != one.position and not isinstance(outcome, Duplicate):
        outcome = reject(state, one.message, unforeseeable, "")
        if unforeseeable is Reason.UNMAPPED:  # without a mapping the event had no release
            outcome = replace(outcome, rejection=replace(outcome.rejection, release_id=None))
    match outcome:
        case Applied(changes=changes) | Stale(changes=changes):
            activities = changes.activities
            if not expected_rows.versioned:
                activities = tuple(_in_earlier_form(one, recorded.activities.get(one.id)) for one in activities)
                outcome = replace(outcome, changes=replace(changes, activities=activities))
            return _compare_applied(one, outcome, activities, recorded)
        case Rejected():
            return _compare_rejected(one, outcome, recorded)
        case Duplicate():
            return Comparison(result=Result.DIFFERS if effect == one.position else Result.MATCHES, outcome=outcome)


def _in_earlier_form(expected: Activity, found: Activity | None) -> Activity:
    """`expected` as an earlier program version wrote it, where `found` is that; else unchanged."""
    fields = expected.payload
    if found is None or fields is None or found.activity_data == expected.activity_data:
        return expected
    earlier = compact({name: value for name, value in fields.items() if name not in _ADDED_FIELDS})
    return replace(expected, activity_data=earlier, payload=None) if found.activity_data == earlier else expected


def _repeat_of_another_release(one: InputRecord, effect: RecordPosition, history: History) -> Comparison:
    if one.id in history.rejections or one.id in history.earlier_activities:
        return Comparison(result=Result.MATCHES)
    if not effect.same_partition(one.position) or effect.offset <= one.position.offset:
        return Comparison(result=Result.MATCHES)
    expected, found = "the event's first record to take effect", f"its repeat at {effect} took effect"
    finding = _finding(Kind.OUT_OF_ORDER, one, expected=expected, found=found)
    return Comparison(result=Result.MATCHES, findings=(finding,))


def _compare_applied(
    one: InputRecord, outcome: Outcome, activities: Sequence[Activity], recorded: Recorded
) -> Comparison:
    event, effect = one.id, recorded.effects.get(one.id)
    if effect == one.position or (
        effect is None and any(activity.id in recorded.activities for activity in activities)
    ):
        findings = tuple(_differences(one, activities, recorded))
        lost = all(finding.kind is Kind.LOST for finding in findings)
        result = Result.DIFFERS if not lost else Result.MISSING if findings else Result.MATCHES
        return Comparison(result=result, outcome=outcome, findings=findings)
    expected = _summary(activities)
    rejection, reason = recorded.history.rejections.get(event), recorded.reason_at(one)
    if reason is not None:
        finding = _finding(Kind.CONTRADICTORY, one, REJECTIONS, event, expected, f"rejected as {reason}")
        return Comparison(result=Result.DIFFERS, findings=(finding,), diverged=True)
    handled = effect or (position_of(rejection) if rejection else None)
    if handled is None:
        finding = _finding(Kind.LOST, one, LOG, activities[0].id, expected, "neither an activity nor a rejection")
        return Comparison(result=Result.MISSING, outcome=outcome, findings=(finding,))
    if not recorded.is_record_of(event, handled):
        found = f"{handled}, which is not a record of this event"
        finding = _finding(Kind.CONTRADICTORY, one, LOG, event, f"{one.position} as the event's record", found)
        return Comparison(result=Result.DIFFERS, outcome=outcome, findings=(finding,))
    if not handled.same_partition(one.position):
        return Comparison(result=Result.DIFFERS)  # the other partition's record came first; this one is its repeat
    expected, found = "the event's first record to take effect", f"its repeat at {handled} took effect"
    finding = _finding(Kind.OUT_OF_ORDER, one, LOG, event, expected, found)
    return Comparison(result=Result.DIFFERS, outcome=outcome, findings=(finding,))


def _compare_rejected(one: InputRecord, outcome: Rejected, recorded: Recorded) -> Comparison:
    event, effect = one.id, recorded.effects.get(one.id)
    expected = f"rejected as {outcome.rejection.reason}"
    if effect == one.position:
        found = _summary([activity for activity in recorded.activities.values() if activity.id == event])
        finding = _finding(Kind.CONTRADICTORY, one, LOG, event, expected, found or "activities")
        return Comparison(result=Result.DIFFERS, findings=(finding,), diverged=True)
    rejection = recorded.history.rejections.get(event)
    handled = effect if rejection is None else position_of(rejection)
    if (
        handled
        and recorded.is_record_of(event, handled)
        and not handled.same_partition(one.position)
        and not recorded.is_redrive(handled)
    ):
        return Comparison(result=Result.DIFFERS)  # a repeat, as above
    if rejection is None:
        finding = _finding(Kind.LOST, one, REJECTIONS, event, expected, "neither an activity nor a rejection")
        return Comparison(result=Result.MISSING, outcome=outcome, findings=(finding,))
    reason = recorded.reason_at(one)
    if reason is not None and reason != outcome.rejection.reason:
        finding = _finding(Kind.CONTRADICTORY, one, REJECTIONS, event, expected, f"rejected as {reason}")
        return Comparison(result=Result.DIFFERS, outcome=outcome, findings=(finding,))
    return Comparison(result=Result.MATCHES, outcome=outcome)


def _differences(one: InputRecord, activities: Sequence[Activity], recorded: Recorded) -> list[Finding]:
    findings = []
    for activity in activities:
        there = recorded.activities.get(activity.id)
        if there is None:
            findings.append(_finding(Kind.LOST, one, LOG, activity.id, _summary([activity]), "no such row"))
        elif there != activity:
            names = [name for name in _ACTIVITY_COLUMNS if getattr(activity, name) != getattr(there, name)]
            expected, found = ("; ".join(f"{name} {getattr(of, name)}" for name in names) for of in (activity, there))
            findings.append(_finding(Kind.CONTRADICTORY, one, LOG, activity.id, expected, found))
    content = one.message.content
    own = [activity for activity in activities if activity.activity_type != DEPLOYMENT_RUN]
    if content.source is not None and content.id is not None and len(own) < ACTIVITIES_MAX:
        for further in activity_ids(source=content.source, event_id=content.id)[len(own) :]:
            if further in recorded.activities:
                expected = f"at most {len(own)} activities of the event"
                found = _summary([recorded.activities[further]])
                findings.append(_finding(Kind.INVENTED, one, LOG, further, expected, found))
    return findings


def _summary(activities: Sequence[Activity]) -> str:
    return ", ".join(f"{activity.activity_type} {activity.status}" for activity in activities)


def _finding(
    kind: Kind, one: InputRecord, table: str | None = None, row: UUID | None = None, expected: str = "", found: str = ""
) -> Finding:
    return Finding(
        kind=kind,
        position=one.position,
        table=table,
        row=row,
        release=one.message.release_id,
        expected=expected,
        found=found,
    )
