"""What is published where nothing is worked out: as many records of a status event's size as the rules would make."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from benchmarks.contenders.environment import Environment

_ID: Final = str(UUID(int=0))
_DATA: Final = {
    "release_id": _ID,
    "release_version": 7,
    "deployment_id": _ID,
    "organization_id": "organization-0",
    "environment_id": "production-eu",
    "config_revision": 1,
    "attempt": 1,
    "previous_status": "IN_PROGRESS",
    "status": "SUCCESS",
    "deployed_at": "2026-03-02T08:00:00.000000Z",
    "deployed_by": "release-bot",
    "comment": "Roll forward, the alert was a false alarm",
    "release": {
        "name": "20260302-1000",
        "project_id": _ID,
        "component_id": _ID,
        "deployment_track_id": "main",
        "commit_hash": "0" * 40,
        "image_tag": "registry.example/component-117:000000000000",
    },
    "cause": {
        "source": "https://ci.organization-0.example/pipelines/0",
        "id": "run-0000000",
        "type": "dev.rudder.deployment.succeeded.v1",
        "time": "2026-03-02T08:00:00.000000Z",
    },
}
VALUE: Final = json.dumps(_DATA, separators=(",", ":")).encode()
HEADERS: Final = [
    ("ce_specversion", b"1.0"),
    ("ce_id", _ID.encode()),
    ("ce_source", b"/rudder-worker"),
    ("ce_type", b"dev.rudder.deployment.status_changed.v1"),
    ("ce_time", b"2026-03-02T08:00:00.000000Z"),
    ("ce_subject", _ID.encode()),
    ("content-type", b"application/json"),
]


@dataclass(slots=True)
class Echo:
    """Spreads the status records evenly over the input records."""

    environment: Environment
    _consumed: int = field(default=0, init=False)

    def topics(self) -> Iterator[str]:
        """Yield the topic of each status record that the next input record is answered with."""
        total, records = self.environment.status_records, self.environment.input_records
        due = (self._consumed + 1) * total // records - self._consumed * total // records
        self._consumed += 1
        topics = (self.environment.deployment_status_topic, self.environment.release_status_topic)
        for index in range(due):
            yield topics[index % 2]
