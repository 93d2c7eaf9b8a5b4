"""Events for the oracle, one line each, and what became of them."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from tests.oracle.content import ReleaseRows, Row
from tests.oracle.oracle import Oracle
from tests.oracle.records import Published, Record
from tests.oracle.status_machines import DEPLOYMENT_STATE

FIELDS: dict[str, Any] = {
    "project_id": str(UUID(int=1)),
    "component_id": str(UUID(int=2)),
    "deployment_track_id": "main",
    "release_date": "2026-03-17",
    "release_number": 1,
    "created_by": "me",
}
START = datetime(2026, 3, 17, tzinfo=UTC)
RELEASE, ENVIRONMENT = 7, "dev"


class Scenario:
    """An oracle and one partition of events; event number n happens at minute n, or at minute `at`."""

    def __init__(self) -> None:
        pointer = {"environment_id": ENVIRONMENT, "component_id": FIELDS["component_id"], "deployment_track_id": "main"}
        unset = dict.fromkeys(f"release_mgt_{name}" for name in ("release_id", "deployment_id", "deployment_name"))
        self.oracle = Oracle(environments=[{**pointer, **unset}])
        self.records: list[Record] = []

    def send(
        self,
        kind: str,
        *,
        release: int = RELEASE,
        at: int | None = None,
        id: str | None = None,
        organization: str = "org",
        redrive: bool = False,
        block: dict[str, Any] | None = None,
        attributes: dict[str, Any] | None = None,
        **data: Any,
    ) -> str:
        """The outcome. `block`: the event's `release`. `attributes`: further ones of the envelope."""
        offset = len(self.records) + 1
        block_data = {} if block is None else {"release": block}
        event = {
            "specversion": "1.0",
            "id": id or str(offset),
            "source": "ci",
            "type": f"dev.rudder.{kind}.v1",
            "time": minute(offset if at is None else at).isoformat(),
            **(attributes or {}),
            "data": {"release_id": str(UUID(int=release)), "organization_id": organization, **data, **block_data},
        }
        headers = (("rudder-redrive", b"1"),) if redrive else ()
        timestamp_ms = int(START.timestamp() * 1000)
        self.records.append(Record("t", 0, offset, timestamp_ms, json.dumps(event).encode(), headers, b"key"))
        return self.oracle.handle(self.records[-1])

    def deploy(self, step: str, *, environment: str = ENVIRONMENT, **data: Any) -> str:
        return self.send(f"deployment.{step}", environment_id=environment, **data)

    def approved(self) -> "Scenario":
        """With a release in APPROVED."""
        self.send("release.created", **FIELDS)
        self.send("release.submitted")
        self.send("release.approved")
        return self

    def rows(self, release: int = RELEASE) -> ReleaseRows:
        return self.oracle.content.releases[str(UUID(int=release))]

    def release(self) -> Row:
        row = self.rows().release
        assert row is not None
        return row

    def statuses(self) -> list[str]:
        """Of the attempts, in their order."""
        attempts = self.rows().attempts(ENVIRONMENT, 1)
        return [attempts[attempt]["status"] for attempt in sorted(attempts)]

    def changes(self, *, since: int) -> list[tuple[Any, ...]]:
        """What the status events from number `since` on say: attempt (None for the release), before, after."""
        published = self.oracle.published[since:]
        return [change_of(one) for one in published if one.kind != DEPLOYMENT_STATE]


def change_of(published: Published) -> tuple[Any, ...]:
    data = published.data
    return data.get("attempt"), data["previous_status"], data["status"]


def minute(number: int) -> datetime:
    return START + timedelta(minutes=number)
