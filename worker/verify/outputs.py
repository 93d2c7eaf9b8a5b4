"""The status topics and the dead letters, compared with the activity log and the rejections.

Delivery is at least once: a repeat has the same id and the same content. A record that is missing from a trimmed topic
may have been there, and is only counted.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from schemas.times import format_time
from schemas.types import StatusEventType
from worker.pipeline.outgoing import Topics
from worker.rules.identity import activity_id
from worker.rules.message import RecordPosition
from worker.rules.rows import Activity
from worker.rules.status_events import StatusEvent, status_events
from worker.verify.comparison import LOG, REJECTIONS
from worker.verify.findings import Finding, Kind
from worker.verify.history import DeadLetter, Extents, History, StatusRecord, cause_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedStatus:
    """`cause`: the position of the record that it follows from. Not `required`: that record is in flight or cannot be
    read. `earlier`: its activity is of an earlier log of the topic; the status topics may be younger too.
    """

    event: StatusEvent
    topic: str
    cause: RecordPosition
    required: bool = True
    earlier: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedDeadLetter:
    """Of the rejected record at `original`; not `required` where the record repeats one that was rejected before."""

    original: RecordPosition
    rejection_id: UUID
    reason: str | None
    required: bool


def expected_statuses(
    activities: Iterable[Activity],
    topics: Topics,
    extents: Extents,
    in_flight: frozenset[RecordPosition],
    earlier_events: frozenset[UUID] = frozenset(),
) -> list[ExpectedStatus]:
    """The status events of the activities, in their order. An edited activity may have none; it is reported elsewhere.
    `earlier_events`: those whose activities are of an earlier log.
    """
    found = []
    for activity in activities:
        cause = cause_of(activity)
        if cause is None:
            continue
        try:
            events = status_events((activity,))
        except (ValueError, KeyError, TypeError):
            continue
        for event in events:
            deployment = event.type is StatusEventType.DEPLOYMENT_STATUS_CHANGED
            topic = topics.deployment_status if deployment else topics.release_status
            source, event_id, position = cause
            earlier = activity_id(source=source, event_id=event_id) in earlier_events
            required = not earlier and position not in in_flight and position[:2] in extents.begins
            found.append(ExpectedStatus(event=event, topic=topic, cause=position, required=required, earlier=earlier))
    return found


def status_findings(history: History, expected: Sequence[ExpectedStatus], extents: Extents) -> Iterator[Finding | None]:
    """None for each missing event where that proves nothing."""
    known = {str(activity.id) for activity in history.activities}
    indexes = {(one.topic, str(one.event.id)): index for index, one in enumerate(expected)}
    first: dict[int, StatusRecord] = {}
    latest: dict[tuple[str, tuple[str, int], tuple[str, int]], int] = defaultdict(lambda: -1)
    for status in history.statuses:
        index = indexes.get((status.position.topic, status.id))
        if index is None:
            if status.own and status.id not in known:
                text = "an activity with this event's id"
                yield _of_status(Kind.INVENTED, status, history, text, _record_summary(status))
            elif status.own and any(status.id == event_id for _, event_id in indexes):
                text = "this event in the other status topic"
                yield _of_status(Kind.INVENTED, status, history, text, _record_summary(status))
            continue
        one = expected[index]
        if status.content not in tuple(_accepted_contents(one.event)):
            content = _content_of(one.event)
            yield _of_status(Kind.CONTRADICTORY, status, history, *_differences(content, status.content))
        if index in first:
            continue
        first[index] = status
        if one.earlier:
            continue  # the offsets of two logs have no order
        # Events of two input partitions, or in two partitions of a status topic, have no promised order.
        order = (status.position.topic, status.position[:2], one.cause[:2])
        if index < latest[order] and one.topic in extents.trimmed:
            yield None  # the first publication may have been deleted, and this be a repeat
        elif index < latest[order]:
            text = f"a position before {_event_summary(expected[latest[order]].event)}"
            yield _of_status(Kind.OUT_OF_ORDER, status, history, text, _record_summary(status))
        latest[order] = max(latest[order], index)
    for index, one in enumerate(expected):
        if index not in first and one.required:
            if one.topic in extents.trimmed:
                yield None
                continue
            yield Finding(
                kind=Kind.LOST,
                position=one.cause,
                table=LOG,
                row=one.event.id,
                release=history.key,
                expected=f"status event {_event_summary(one.event)}, in {one.topic}",
                found="no such record",
            )


def dead_letter_findings(
    history: History, expected: Iterable[ExpectedDeadLetter], undecided: frozenset[RecordPosition], *, trimmed: bool
) -> Iterator[Finding | None]:
    """None for each missing one where that proves nothing. `undecided`: records that may be rejected or not,
    such as those in flight.
    """
    by_original: dict[RecordPosition, list[DeadLetter]] = defaultdict(list)
    for dead_letter in history.dead_letters:
        by_original[dead_letter.original].append(dead_letter)
    for one in expected:
        dead_letters = by_original.pop(one.original, [])
        if not dead_letters and one.required:
            if trimmed:
                yield None
                continue
            yield Finding(
                kind=Kind.LOST,
                position=one.original,
                table=REJECTIONS,
                row=one.rejection_id,
                release=history.release_id,
                expected=f"a dead letter, {one.reason}",
                found="none",
            )
        for found in dead_letters:
            if one.reason is not None and found.reason != one.reason:
                yield _of_dead_letter(Kind.CONTRADICTORY, found, history, f"rudder-reason {one.reason}", found.reason)
            if not found.matches_record:
                text = f"key, value and headers of {one.original}"
                yield _of_dead_letter(Kind.CONTRADICTORY, found, history, text, "different ones")
    for original, dead_letters in by_original.items():
        for found in dead_letters if original not in undecided else ():
            text = f"no dead letter of {original}, which is not rejected"
            yield _of_dead_letter(Kind.INVENTED, found, history, text, f"one, {found.reason}")


def _content_of(event: StatusEvent) -> Mapping[str, object]:
    """The content of a status record, the same in both content modes."""
    return {
        "id": str(event.id),
        "type": event.type.value,
        "time": format_time(event.time),
        "key": str(event.release_id),
        "trace": event.trace,
        "data": dict(event.data),
    }


def _accepted_contents(event: StatusEvent) -> Iterator[Mapping[str, object]]:
    """The contents that an event's records may have. An earlier program version published neither a release's version
    nor its block; its activities do not have them either.
    """
    content = _content_of(event)
    earlier = event.data["release_version"] is None and event.data["release"] is None
    for form in (content, _without_comment(content)):
        yield form
        data = form["data"]
        if earlier and isinstance(data, Mapping):
            yield {**form, "data": {name: data[name] for name in data if name not in {"release_version", "release"}}}


def _without_comment(content: Mapping[str, object]) -> Mapping[str, object]:
    """The content of an event that the broker refused as too large."""
    data = content["data"]
    if not isinstance(data, Mapping) or data["comment"] is None:
        return content
    return {**content, "data": {**data, "comment": None, "comment_omitted": True}}


def _of_status(kind: Kind, status: StatusRecord, history: History, expected: str, found: str) -> Finding:
    return Finding(kind=kind, position=status.position, release=history.key, expected=expected, found=found)


def _of_dead_letter(kind: Kind, dead_letter: DeadLetter, history: History, expected: str, found: str) -> Finding:
    return Finding(
        kind=kind,
        position=dead_letter.position,
        table=REJECTIONS,
        row=dead_letter.rejection_id,
        release=history.release_id,
        expected=expected,
        found=found,
    )


def _event_summary(event: StatusEvent) -> str:
    return f"{event.id}, {event.data['previous_status']} → {event.data['status']}"


def _record_summary(status: StatusRecord) -> str:
    data = status.content.get("data")
    fields = data if isinstance(data, Mapping) else {}
    return f"{status.id}, {fields.get('previous_status')} → {fields.get('status')}"


def _differences(expected: Mapping[str, object], found: Mapping[str, object]) -> tuple[str, str]:
    """The parts that differ, as expected and as found."""
    wanted, there = _flat(expected), _flat(found)
    names = [name for name in {**wanted, **there} if wanted.get(name) != there.get(name)]
    return tuple("; ".join(f"{name} {of.get(name)}" for name in names) for of in (wanted, there))  # type: ignore[return-value]


def _flat(content: Mapping[str, object]) -> dict[str, object]:
    data = content.get("data")
    return {**content, "data": None, **(data if isinstance(data, Mapping) else {"data": data})}
