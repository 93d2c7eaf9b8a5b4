"""What became of a record that was sent again, from the rows of the database. Pure."""

import json
from dataclasses import dataclass
from uuid import UUID

from worker.rules.message import RecordPosition
from worker.rules.rows import Activity, Rejection
from worker.stored_redrives import Pinned, Settled

_STALE = "EVENT_STALE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A record that was sent, or may have been. `event_id`: `Message.id` of it. `at`: where it is; None: unknown."""

    pinned: Pinned
    event_id: UUID
    at: RecordPosition | None


def outcome_of(
    sent: Sent, *, activity: Activity | None, rejection: Rejection | None, own: Rejection | None
) -> tuple[Settled, str | None] | None:
    """The outcome and its detail; None: not decided yet. The rejections must have been read before the activity: one
    transaction writes the activity and resolves the rejection.

    `activity`: the event's first. `rejection`: the pinned one, as it is now. `own`: the one with the event's id; the
    same, unless the event had no identity when it was rejected.
    """
    if activity is not None:
        recorded_at = _recorded_at(activity)
        if sent.at is not None and recorded_at == sent.at:
            return (Settled.STALE if activity.activity_type == _STALE else Settled.APPLIED), None
        return Settled.DUPLICATE, f"the event was decided as {recorded_at}" if recorded_at else None
    for found in (own, rejection):
        if found is None:
            continue
        at = Pinned.of(found).position
        if at == sent.at:
            return Settled.REJECTED, f"{found.reason}: {found.detail}"
        if found.id == sent.pinned.rejection_id and at != sent.pinned.position:
            return Settled.REJECTED, f"{found.reason}, as {at}: {found.detail}"
    if rejection is not None and rejection.resolved_at is not None and sent.event_id == rejection.id:
        return Settled.DUPLICATE, "a correction has resolved the rejection"
    return None


def decided_at(
    sent: Sent, *, activity: Activity | None, rejection: Rejection | None, from_offset: int
) -> RecordPosition | None:
    """Where the record of a redrive is that may have been sent, as far as its decision shows it."""
    found = [_recorded_at(activity)] if activity is not None else []
    if rejection is not None:
        found.append(Pinned.of(rejection).position)
    topic, partition, _ = sent.pinned.position
    return next(
        (at for at in found if at is not None and at[:2] == (topic, partition) and at.offset >= from_offset), None
    )


def _recorded_at(activity: Activity) -> RecordPosition | None:
    try:
        record = json.loads(activity.activity_data)["record"]
        return RecordPosition(record["topic"], int(record["partition"]), int(record["offset"]))
    except (ValueError, KeyError, TypeError):
        return None
