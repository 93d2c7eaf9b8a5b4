"""The state topic, compared with the activity log and the deployments.

The topic is compacted: the last record of a key is the environment's state, and no other has to be there. A repeat of
an earlier state is in order, if the environment has that state again.
"""

from collections.abc import Iterator, Mapping, Sequence

from schemas.statuses import DeploymentStatus
from worker.deployment_states import changes_by_key, content_of, states_of
from worker.rules.deployment_state import state_of
from worker.rules.identity import activity_id
from worker.rules.message import RecordPosition
from worker.rules.rows import Activity
from worker.verify.comparison import LOG
from worker.verify.findings import Finding, Kind
from worker.verify.history import Extents, History, StateRecord, cause_of

_REPAIR = "to repair the topic: rudder-worker state publish"


def state_findings(
    history: History, topic: str, extents: Extents, in_flight: frozenset[RecordPosition]
) -> Iterator[Finding | None]:
    """None for each missing state where that proves nothing: its change is in flight, or was made in an earlier log."""
    if history.rows is not None and not history.rows.settled:
        return
    changes = changes_by_key(history.rows) if history.rows else {}
    last = _last(history.states)
    for unknown in (record for key, record in last.items() if key not in changes and record.content is not None):
        text = "a tombstone: the database has no deployment of this environment"
        yield _of_record(Kind.INVENTED, unknown, history, text)
    try:
        expected = {key: content_of(event) for key, event in states_of(history.rows).items()} if history.rows else {}
    except (ValueError, KeyError, TypeError):
        return  # an edited row, which is reported elsewhere
    for key, content in expected.items():
        certain = [activity for activity in changes[key] if _is_certain(activity, history, extents, in_flight)]
        record = last.get(key)
        if record is None or record.content is None:
            if certain:
                yield _missing(certain[-1], topic, key, history, record)
            else:
                yield None
            continue
        if not any(record.content == one for one in _accepted(content, changes[key], certain)):
            states = [_state_of(activity) for activity in changes[key]]
            kind = Kind.OUT_OF_ORDER if record.content in states else Kind.CONTRADICTORY
            yield _of_record(kind, record, history, _summary(content))


def _last(states: Sequence[StateRecord]) -> Mapping[str, StateRecord]:
    """By key. In several partitions, as after partitions were added, the one with the highest version."""
    found: dict[str, StateRecord] = {}
    for record in states:
        if record.key not in found or _version(record) > _version(found[record.key]):
            found[record.key] = record
    return found


def _version(record: StateRecord) -> int:
    version = _field(record.content, "release_version")
    return version if type(version) is int else -1


def _is_certain(activity: Activity, history: History, extents: Extents, in_flight: frozenset[RecordPosition]) -> bool:
    """Whether the state after this change must have been published."""
    cause = cause_of(activity)
    if cause is None:
        return False
    source, event_id, position = cause
    earlier = activity_id(source=source, event_id=event_id) in history.earlier_activities
    return not earlier and position not in in_flight and position[:2] in extents.begins


def _accepted(
    content: Mapping[str, object], changes: Sequence[Activity], certain: Sequence[Activity]
) -> Iterator[Mapping[str, object] | None]:
    """The state of the last change whose state must be there, of later ones, and earlier ones that say the same."""
    yield content
    begin = changes.index(certain[-1]) if certain else 0
    later = [_state_of(activity) for activity in changes[begin:]]
    yield from later
    for activity in changes[:begin]:
        state = _state_of(activity)
        if any(_deployment(state) == _deployment(other) for other in (content, *later)):
            yield state


def _state_of(activity: Activity) -> Mapping[str, object] | None:
    try:
        return content_of(state_of(activity))
    except (ValueError, KeyError, TypeError):
        return None


def _deployment(content: Mapping[str, object] | None) -> tuple[object, object]:
    """What must be equal. An environment with cancelled attempts alone has any of these."""
    status = _field(content, "status")
    return (None if status == DeploymentStatus.CANCELLED else _field(content, "deployment_id")), status


def _field(content: Mapping[str, object] | None, name: str) -> object:
    data = content.get("data") if content is not None else None
    return data.get(name) if isinstance(data, Mapping) else None


def _missing(activity: Activity, topic: str, key: str, history: History, record: StateRecord | None) -> Finding:
    cause = cause_of(activity)
    return Finding(
        kind=Kind.LOST,
        position=record.position if record else cause and cause[2],
        table=LOG,
        row=activity.id,
        release=history.key,
        expected=f"the state of {key}, in {topic}; {_REPAIR}",
        found="a tombstone" if record else "no such record",
    )


def _of_record(kind: Kind, record: StateRecord, history: History, expected: str) -> Finding:
    return Finding(
        kind=kind,
        position=record.position,
        release=history.key,
        expected=f"{record.key}: {expected}; {_REPAIR}",
        found=_summary(record.content),
    )


def _summary(content: Mapping[str, object] | None) -> str:
    names = ("deployment_id", "attempt", "status", "release_version")
    return ", ".join(f"{name} {_field(content, name)}" for name in names)
