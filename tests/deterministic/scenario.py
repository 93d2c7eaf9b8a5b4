"""Some dozen events: two partitions, four releases, and something of everything that can become of an event."""

import json
from typing import Any
from uuid import UUID

from schemas.record import Record
from tests.deterministic.broker import Broker

BEGAN_SECONDS = 1000.0
_TOPIC = "rudder.deployment-events"
_NUMBERS = 1.0
"""After so long a second release wants the first one's number. Which of two gets it that are under way at the same time
is chance, so the first is done long before, in whatever process.
"""

_CHAIN = ("release.created", "release.submitted", "release.approved", "deployment.started", "deployment.succeeded")
"""Fetched at once: all but the first wait for it, and are processed together."""


def scenario() -> Broker:
    zero = [
        (0.000, _event(0, 0, 1, "release.created")),
        (0.000, _event(0, 1, 1, "release.submitted")),
        (0.030, _event(0, 2, 1, "release.approved")),
        (0.060, _event(0, 3, 1, "deployment.requested")),
        (0.100, _event(0, 4, 1, "deployment.requested")),  # supersedes the one before
        (0.140, _event(0, 5, 1, "deployment.requested", id_="0/4")),  # is the one before, again
        (0.180, _event(0, 6, 1, "deployment.succeeded")),
        (_NUMBERS, _event(0, 7, 3, "release.created", release_number=1)),  # which is taken
    ]
    one = [
        (0.001, _event(1, 0, 2, "release.created")),
        (0.020, _event(1, 1, 2, "deployment.started")),  # of no deployment
        (0.050, _event(1, 2, 2, "release.submitted")),
        (0.080, _event(1, 3, 2, "activity.recorded", activity_type="NOTE", activity_data={"a": 1})),
        (0.120, _event(1, 4, 4, "release.submitted")),  # of no release
        *((0.150, _event(1, offset, 5, kind)) for offset, kind in enumerate(_CHAIN, start=5)),
    ]
    appearing = sorted([*zero, *one], key=lambda pair: pair[0])
    return Broker(
        records=appearing,
        rebalance_seconds=0.070,
    )


def _event(partition: int, offset: int, release: int, kind: str, *, id_: str = "", **data: Any) -> Record:
    release_id = str(UUID(int=release))
    match kind.partition(".")[0]:
        case "deployment":
            data = {"environment_id": "production", **data}
        case "release" if kind == "release.created":
            data = {
                "project_id": release_id,
                "component_id": str(UUID(int=9)),
                "deployment_track_id": "main",
                "release_date": "2026-01-02",
                "release_number": release,
                "created_by": "test",
                **data,
            }
    envelope = {
        "specversion": "1.0",
        "id": id_ or f"{partition}/{offset}",
        "source": "/test",
        "type": f"dev.rudder.{kind}.v1",
        "time": f"2026-01-02T03:{offset:02}:00Z",
        "data": {"release_id": release_id, "organization_id": "acme", **data},
    }
    return Record(
        topic=_TOPIC,
        partition=partition,
        offset=offset,
        timestamp_ms=1_772_357_400_000,
        key=release_id.encode(),
        value=json.dumps(envelope).encode(),
        headers=(),
    )
