"""All that is known of one release, from every place it left a trace in: what the checks are given.

A record that names no release is the history of its own repeats, as in the worker's lanes. One history is held in
memory at a time; never all of them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from uuid import UUID

from worker.rules.message import Message
from worker.rules.rows import Activity, Rejection
from worker.stored_rows import ReleaseRows
from worker.verify.findings import Place


@dataclass(frozen=True, kw_only=True)
class Input:
    """A record of an input topic. `in_flight`: the group had not committed it when the verification began, so it may
    have had its effect, or not yet, or not all of it.
    """

    message: Message
    in_flight: bool = False

    @cached_property
    def place(self) -> Place:
        record = self.message.record
        return Place(record.topic, record.partition, record.offset)

    @property
    def id(self) -> UUID:
        return self.message.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A dead letter. `of`: the record that it says it is; `same`: whether key, value and headers are that record's.
    `timestamp_ms`: of that record.
    """

    place: Place
    rejection_id: UUID
    of: Place
    reason: str
    same: bool = True
    timestamp_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A record of a status topic. `content`: the attributes and the data, as JSON has them. `own`: whether its source
    is the worker's.
    """

    place: Place
    id: str
    content: Mapping[str, Any]
    own: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """`key`: the release's id, or that of a record without one. `rows`: None where the database has no such release.

    `inputs` are sorted by topic, partition and offset. `rejections` and `elsewhere` are keyed by the event:
    `elsewhere` has those of `inputs` that have their entries, or their rejection, under another release or by a
    record that can no longer be read. `rejected_before`: the rejections that a record of another release had made, as
    they were before a redrive came with this one. `numbers_taken`: the events that want a number which another release
    has. `earlier_entries`, `earlier_rejections`: the events whose rows there are of an earlier log of their topic, see
    `worker.verify.recreated`.
    """

    key: UUID
    rows: ReleaseRows | None = None
    inputs: Sequence[Input] = ()
    rejections: Mapping[UUID, Rejection] = field(default_factory=dict)
    letters: Sequence[Letter] = ()
    statuses: Sequence[Status] = ()
    elsewhere: Mapping[UUID, Place] = field(default_factory=dict)
    rejected_before: Mapping[UUID, Rejection] = field(default_factory=dict)
    numbers_taken: frozenset[UUID] = frozenset()
    earlier_entries: frozenset[UUID] = frozenset()
    earlier_rejections: frozenset[UUID] = frozenset()

    @property
    def release_id(self) -> UUID | None:
        """None where the records name no release."""
        named = self.rows is not None or bool(self.statuses)
        return self.key if named or any(one.message.release_id == self.key for one in self.inputs) else None

    @property
    def activities(self) -> tuple[Activity, ...]:
        return self.rows.activities if self.rows else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Extents:
    """What can be read. `begins`: the first offset of each partition of the input topics, by topic and partition.

    `trimmed`: the output topics of which a part is gone, by retention or compaction: what is missed there may have been
    there.
    """

    begins: Mapping[tuple[str, int], int]
    trimmed: frozenset[str] = frozenset()

    def readable(self, place: Place) -> bool:
        begin = self.begins.get(place[:2])
        if begin is None:  # a partition that its topic does not have never held anything
            return any(topic == place.topic for topic, _ in self.begins)
        return place.offset >= begin


def cause_of(activity: Activity) -> tuple[str, str, Place] | None:
    """Source and id of the event that an entry names, and its record's place; None: it is not as the worker writes."""
    try:
        said = json.loads(activity.activity_data)
        source, event_id, record = said["event"]["source"], said["event"]["id"], said["record"]
        place = Place(record["topic"], record["partition"], record["offset"])
    except (ValueError, KeyError, TypeError):
        return None
    texts, numbers = (source, event_id, place.topic), (place.partition, place.offset)
    sound = all(isinstance(text, str) for text in texts) and all(type(number) is int for number in numbers)
    return (source, event_id, place) if sound else None


def place_of(rejection: Rejection) -> Place:
    return Place(rejection.topic, rejection.partition, rejection.offset)
