"""The status topics and the dead letters, against the log and the rejections.

Delivery is at least once: a repeat says the same under the same id. What is missed in a topic of which a part is gone
was perhaps there, and is only counted.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from schemas.times import format_time
from schemas.types import StatusEventType
from worker.pipeline.outgoing import Topics
from worker.rules.identity import activity_id
from worker.rules.rows import Activity
from worker.rules.status_events import StatusEvent, status_events
from worker.verify.deciding import LOG, REJECTIONS
from worker.verify.findings import Finding, Kind, Place
from worker.verify.history import Extents, History, Letter, Status, cause_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A status event that has to be there; `cause`: the record it follows from. Not `certain`: that is in flight.
    `earlier`: it was in a log before its topic was created again; the status topics may be younger too.
    """

    event: StatusEvent
    topic: str
    cause: Place
    certain: bool = True
    earlier: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A record that was rejected, or that repeats one that was; then its dead letter may be there, not must."""

    place: Place
    rejection_id: UUID
    reason: str | None
    due: bool


def due_of(
    activities: Iterable[Activity],
    topics: Topics,
    extents: Extents,
    in_flight: frozenset[Place],
    earlier_events: frozenset[UUID] = frozenset(),
) -> list[Due]:
    """The status events of `entries`, in their order; entries that were edited into something else have none.
    `earlier_events`: those whose entries are of an earlier log.
    """
    found = []
    for activity in activities:
        cause = cause_of(activity)
        if cause is None:
            continue  # that the entry is not as it was written is found elsewhere; as below
        try:
            events = status_events((activity,))
        except (ValueError, KeyError, TypeError):
            continue
        for event in events:
            deployment = event.type is StatusEventType.DEPLOYMENT_STATUS_CHANGED
            topic = topics.deployment_status if deployment else topics.release_status
            source, event_id, place = cause
            earlier = activity_id(source=source, event_id=event_id) in earlier_events
            certain = not earlier and place not in in_flight and place[:2] in extents.begins
            found.append(Due(event=event, topic=topic, cause=place, certain=certain, earlier=earlier))
    return found


def content_of(event: StatusEvent) -> Mapping[str, object]:
    """What a status record says, whatever the content mode."""
    return {
        "id": str(event.id),
        "type": event.type.value,
        "time": format_time(event.time),
        "key": str(event.release_id),
        "data": dict(event.data),
    }


def _without_comment(content: Mapping[str, object]) -> Mapping[str, object]:
    """The same where the broker refused the event as too large."""
    data = content["data"]
    if not isinstance(data, Mapping) or data["comment"] is None:
        return content
    return {**content, "data": {**data, "comment": None, "comment_omitted": True}}


def status_findings(history: History, due: Sequence[Due], extents: Extents) -> Iterator[Finding | None]:
    """None for each one that is missed where that proves nothing."""
    known = {str(activity.id) for activity in history.activities}
    wanted = {(one.topic, str(one.event.id)): index for index, one in enumerate(due)}
    first: dict[int, Status] = {}
    latest: dict[tuple[str, tuple[str, int], tuple[str, int]], int] = defaultdict(lambda: -1)
    for status in history.statuses:
        index = wanted.get((status.place.topic, status.id))
        if index is None:
            if status.own and status.id not in known:
                yield _of_status(Kind.INVENTED, status, history, "a log entry with its id", _summary(status))
            elif status.own and any(status.id == event_id for _, event_id in wanted):
                yield _of_status(Kind.INVENTED, status, history, "this change in its own topic", _summary(status))
            continue
        one = due[index]
        content = content_of(one.event)
        if status.content not in (content, _without_comment(content)):
            yield _of_status(Kind.CONTRADICTORY, status, history, *_unlike(content, status.content))
        if index in first:
            continue
        first[index] = status
        if one.earlier:
            continue  # the offsets of two logs have no order
        # Of two input partitions, and in two partitions of a status topic, nothing promises an order.
        order = (status.place.topic, status.place[:2], one.cause[:2])
        if index < latest[order] and one.topic in extents.trimmed:
            yield None  # the first of its kind may be gone, and this be a repeat
        elif index < latest[order]:
            before = due[latest[order]].event
            yield _of_status(
                Kind.OUT_OF_ORDER, status, history, f"to come before {before.id}, {_change(before)}", _summary(status)
            )
        latest[order] = max(latest[order], index)
    for index, one in enumerate(due):
        if index not in first and one.certain:
            if one.topic in extents.trimmed:
                yield None
                continue
            expected = f"in {one.topic}: {one.event.id}, {_change(one.event)}"
            yield Finding(
                kind=Kind.LOST,
                place=one.cause,
                table=LOG,
                row=one.event.id,
                release=history.key,
                expected=expected,
                found="no such record",
            )


def letter_findings(
    history: History, refused: Iterable[Refused], unsure: frozenset[Place], *, trimmed: bool
) -> Iterator[Finding | None]:
    """`unsure`: records that nobody judged, in flight for one; their letters are fine."""
    by_place: dict[Place, list[Letter]] = defaultdict(list)
    for letter in history.letters:
        by_place[letter.of].append(letter)
    for one in refused:
        letters = by_place.pop(one.place, [])
        if not letters and one.due:
            if trimmed:
                yield None
                continue
            yield Finding(
                kind=Kind.LOST,
                place=one.place,
                table=REJECTIONS,
                row=one.rejection_id,
                release=history.release_id,
                expected=f"a dead letter, {one.reason}",
                found="none",
            )
        for letter in letters:
            if one.reason is not None and letter.reason != one.reason:
                yield _of_letter(Kind.CONTRADICTORY, letter, history, f"rudder-reason {one.reason}", letter.reason)
            if not letter.same:
                yield _of_letter(
                    Kind.CONTRADICTORY, letter, history, f"key, value and headers of {one.place}", "others"
                )
    for place, letters in by_place.items():
        for letter in letters if place not in unsure else ():
            yield _of_letter(Kind.INVENTED, letter, history, f"{place} to be rejected", f"it is not; {letter.reason}")


def _of_status(kind: Kind, status: Status, history: History, expected: str, found: str) -> Finding:
    return Finding(kind=kind, place=status.place, release=history.key, expected=expected, found=found)


def _of_letter(kind: Kind, letter: Letter, history: History, expected: str, found: str) -> Finding:
    return Finding(
        kind=kind,
        place=letter.place,
        table=REJECTIONS,
        row=letter.rejection_id,
        release=history.release_id,
        expected=expected,
        found=found,
    )


def _change(event: StatusEvent) -> str:
    return f"{event.data['previous_status']} → {event.data['status']}"


def _summary(status: Status) -> str:
    data = status.content.get("data")
    said = data if isinstance(data, Mapping) else {}
    return f"{status.id}, {said.get('previous_status')} → {said.get('status')}"


def _unlike(expected: Mapping[str, object], found: Mapping[str, object]) -> tuple[str, str]:
    """The parts that differ, as they had to be and as they are."""
    wanted, there = _flat(expected), _flat(found)
    names = [name for name in {**wanted, **there} if wanted.get(name) != there.get(name)]
    return tuple("; ".join(f"{name} {of.get(name)}" for name in names) for of in (wanted, there))  # type: ignore[return-value]


def _flat(content: Mapping[str, object]) -> dict[str, object]:
    data = content.get("data")
    return {**content, "data": None, **(data if isinstance(data, Mapping) else {"data": data})}
