"""The plan of a redrive: which dead letters are sent again, in which order, and what is expected of each. Pure.

A plan pins rejections with the positions of their records. Executing it sends exactly these, or nothing.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

from schemas.record import Record
from worker.dead_letters.originals import Decode
from worker.ports import OutgoingRecord
from worker.rules.errors import ConfigurationError
from worker.rules.message import CORRECTS_HEADER, REDRIVE_HEADER, Message, RecordPosition
from worker.rules.state import Applied, Duplicate, Outcome, Rejected, Stale
from worker.stored_redrives import Pinned

KIND = "dead-letters redrive"
"""Of plan files, and the command in `operator_actions`."""


class Decision(StrEnum):
    """What the worker decides on a record that is sent again, or why it is not sent."""

    APPLIED = "applied"
    STALE = "stale"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    UNREADABLE = "unreadable"

    @property
    def passes(self) -> bool:
        """Whether the rejection is resolved by it."""
        return self in {Decision.APPLIED, Decision.STALE}


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRecord:
    """One dead letter. `why`: the reason of a predicted rejection, or why the record cannot be read. `sha256`: of key,
    value and headers; None: unreadable.
    """

    pinned: Pinned
    release_id: UUID | None
    decision: Decision
    why: str | None = None
    detail: str | None = None
    sha256: str | None = None

    @property
    def predicted(self) -> str:
        return self.decision.value if self.why is None else f"{self.decision} {self.why}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RedrivePlan:
    """`records`: in the order in which they are sent. `include_failing`: also those that would not pass now."""

    created_at: str
    include_failing: bool
    records: tuple[PlannedRecord, ...]

    @property
    def sent(self) -> tuple[PlannedRecord, ...]:
        """Those that are sent."""
        return tuple(one for one in self.records if self.sends(one))

    def sends(self, one: PlannedRecord) -> bool:
        return one.decision.passes or (self.include_failing and one.decision is not Decision.UNREADABLE)

    def counts(self) -> Mapping[str, int]:
        """Dead letters by what is predicted, the most frequent first."""
        return dict(Counter(one.predicted for one in self.records).most_common())

    def releases(self) -> Mapping[UUID | None, Mapping[str, int]]:
        """The same for each release, in the order of the plan; None: records that name no release."""
        found: dict[UUID | None, Counter[str]] = {}
        for one in self.records:
            found.setdefault(one.release_id, Counter())[one.predicted] += 1
        return found

    def as_json(self) -> dict[str, Any]:
        return {
            "created_at": self.created_at,
            "include_failing": self.include_failing,
            "records": [_as_json(one) for one in self.records],
        }

    @classmethod
    def of_json(cls, content: Mapping[str, Any]) -> "RedrivePlan":
        """Raises ConfigurationError if the content is none that `as_json` returns."""
        try:
            return cls(
                created_at=content["created_at"],
                include_failing=content["include_failing"],
                records=tuple(map(_of_json, content["records"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigurationError("the plan has no dead letters as this version writes them; make a new one") from (
                error
            )


def predicted(outcome: Outcome) -> tuple[Decision, str | None, str | None]:
    """The decision, and the reason and detail of a rejection."""
    match outcome:
        case Applied():
            return Decision.APPLIED, None, None
        case Stale():
            return Decision.STALE, None, None
        case Duplicate():
            return Decision.DUPLICATE, None, None
        case Rejected(rejection=rejection):
            return Decision.REJECTED, rejection.reason, rejection.detail


def redriven(record: Record, pinned: Pinned, *, event_id: UUID) -> OutgoingRecord:
    """The record as it is sent again: the same bytes in the same partition, with the header that pins the rejection.

    `event_id`: `Message.id` of the record. If it is not the rejection's id, the event had no identity when it was
    rejected; then the record also corrects that rejection, since nothing else would resolve it.
    """
    added = [(REDRIVE_HEADER, str(pinned.position).encode())]
    if event_id != pinned.rejection_id:
        added.append((CORRECTS_HEADER, str(pinned.rejection_id).encode()))
    kept = tuple(header for header in record.headers if header[0] != REDRIVE_HEADER)
    return OutgoingRecord(
        topic=record.topic,
        partition=record.partition,
        key=record.key,
        value=record.value,
        headers=(*kept, *added),
    )


def as_sent(record: Record, pinned: Pinned, decode: Decode, *, now_ms: int) -> Message:
    """The message of the record when it is sent now, at its old position and without its bytes: a thousand records may
    be as many MiB. A time that was too far ahead of the record's timestamp may not be any more.
    """
    outgoing = redriven(record, pinned, event_id=decode(record).id)
    sent = decode(replace(record, timestamp_ms=now_ms, headers=outgoing.headers))
    return replace(sent, record=replace(sent.record, key=None, value=None))


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record stood when its event was published: `offset` orders within a partition, the timestamp across."""

    offset: int
    timestamp_ms: int


def in_original_order(origins: Mapping[Pinned, Origin]) -> list[Pinned]:
    """By offset within a partition; across partitions by timestamp, as far as the offsets allow."""
    partitions: dict[tuple[str, int], list[tuple[Origin, Pinned]]] = {}
    for pinned, origin in origins.items():
        partitions.setdefault(pinned.position[:2], []).append((origin, pinned))
    keyed: list[tuple[int, tuple[str, int], int, int, Pinned]] = []
    for partition, records in partitions.items():
        latest_ms = -1
        for origin, pinned in sorted(records, key=lambda one: (one[0].offset, one[1].position.offset)):
            latest_ms = max(latest_ms, origin.timestamp_ms)
            keyed.append((latest_ms, partition, origin.offset, pinned.position.offset, pinned))
    return [pinned for *_, pinned in sorted(keyed, key=lambda one: one[:4])]


def groups(messages: Sequence[Message]) -> list[int]:
    """A number for each record, as it is sent; records with one number must be decided one after the other.

    They share a release, an identity or a release number, or are linked by others that do.
    """
    leaders: dict[object, int] = {}
    parents = list(range(len(messages)))

    def leader(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    for index, message in enumerate(messages):
        for key in (message.ordering_key, *message.claims):
            other = leaders.setdefault(key, index)
            first, second = sorted((leader(other), leader(index)))
            parents[second] = first
    return [leader(index) for index in range(len(messages))]


def duration_seconds(records: int, *, per_second: float) -> float:
    """How long sending takes at least."""
    return max(0, records - 1) / per_second


def _as_json(one: PlannedRecord) -> dict[str, Any]:
    return {
        "rejection": str(one.pinned.rejection_id),
        "topic": one.pinned.position.topic,
        "partition": one.pinned.position.partition,
        "offset": one.pinned.position.offset,
        "release": None if one.release_id is None else str(one.release_id),
        "decision": one.decision.value,
        "why": one.why,
        "detail": one.detail,
        "sha256": one.sha256,
    }


def _of_json(value: Mapping[str, Any]) -> PlannedRecord:
    position = RecordPosition(value["topic"], value["partition"], value["offset"])
    return PlannedRecord(
        pinned=Pinned(UUID(value["rejection"]), position),
        release_id=None if value["release"] is None else UUID(value["release"]),
        decision=Decision(value["decision"]),
        why=value["why"],
        detail=value["detail"],
        sha256=value["sha256"],
    )
