"""Dead letters in `--json` output."""

from typing import Any

from schemas.times import format_time
from worker.stored_dead_letters import DeadLetter


def as_json_object(one: DeadLetter) -> dict[str, Any]:
    """A dead letter as all `--json` output has it."""
    rejection, dismissal = one.rejection, one.dismissal
    return {
        "id": str(one.id),
        "state": one.state.value,
        "created_at": format_time(rejection.created_at),
        "reason": rejection.reason,
        "detail": rejection.detail,
        "source": rejection.event_source,
        "event_id": rejection.event_id,
        "type": rejection.event_type,
        "release_id": None if rejection.release_id is None else str(rejection.release_id),
        "record": {"topic": rejection.topic, "partition": rejection.partition, "offset": rejection.offset},
        "resolved_at": None if rejection.resolved_at is None else format_time(rejection.resolved_at),
        "dismissal": dismissal
        and {
            "dismissed_at": format_time(dismissal.dismissed_at),
            "dismissed_by": dismissal.dismissed_by,
            "note": dismissal.note,
        },
    }
