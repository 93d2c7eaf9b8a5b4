"""Rows of rejections and dismissals, as tests insert them."""

from typing import Any
from uuid import uuid4

from tests.conformance.release_messages import MOMENT, minute
from tests.conformance.table_contents import Row


def rejection(number: int, **values: Any) -> Row:
    """A row of `release_event_rejections`, `number` minutes after the first."""
    return {
        "id": uuid4(),
        "created_at": minute(number),
        "reason": "release_not_found",
        "detail": "the release does not exist",
        "event_source": "/ci",
        "event_id": str(number),
        "event_type": "dev.rudder.deployment.started.v1",
        "release_mgt_id": None,
        "topic": "events",
        "topic_partition": 0,
        "topic_offset": number,
        "resolved_at": None,
        **values,
    }


def dismissal(row: Row) -> Row:
    return {"rejection_id": row["id"], "dismissed_at": MOMENT, "dismissed_by": "maria", "note": "ein Käfer"}
