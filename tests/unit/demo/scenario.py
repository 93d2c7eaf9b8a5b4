"""Events in one line each, for the tests of the contract's rules."""

import json
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from worker.demo.company import DAY
from worker.demo.contract_model import ContractModel
from worker.demo.contract_state import Prediction, Release
from worker.demo.record import TopicRecord

FIELDS: dict[str, Any] = {
    "project_id": str(UUID(int=1)),
    "component_id": str(UUID(int=2)),
    "deployment_track_id": "main",
    "release_date": "2026-03-17",
    "release_number": 1,
    "created_by": "me",
}


class Scenario:
    """A model that is told one event after the other; event number n is published at minute n, unless told `at`."""

    def __init__(self) -> None:
        self.model = ContractModel()
        self._offset = 0

    def tell(
        self,
        kind: str,
        *,
        release: int = 7,
        at: int | None = None,
        identifier: str | None = None,
        organization: str = "org",
        redrive: bool = False,
        block: dict[str, Any] | None = None,
        **data: Any,
    ) -> Prediction:
        self._offset += 1
        event = {
            "specversion": "1.0",
            "id": identifier or str(self._offset),
            "source": "ci",
            "type": f"dev.rudder.{kind}.v1",
            "time": minute(self._offset if at is None else at).isoformat(),
            "data": {"release_id": str(UUID(int=release)), "organization_id": organization, **data, **block_of(block)},
        }
        record = TopicRecord(
            topic="t",
            partition=0,
            offset=self._offset,
            key=None,
            value=json.dumps(event).encode(),
            headers=(("rudder-redrive", b"1"),) if redrive else (),
            timestamp_ms=int(DAY.timestamp() * 1000),
        )
        return self.model.apply(record)

    def deploy(self, step: str, *, environment: str = "dev", **data: Any) -> Prediction:
        return self.tell(f"deployment.{step}", environment_id=environment, **data)

    def approved(self) -> "Scenario":
        self.tell("release.created", **FIELDS)
        self.tell("release.submitted")
        self.tell("release.approved")
        return self

    def release(self, number: int = 7) -> Release:
        return self.model.releases[str(UUID(int=number))]

    def attempts(self, environment: str = "dev") -> list[str]:
        rows = self.release().attempts(environment, 1)
        return [rows[attempt].status for attempt in sorted(rows)]


def block_of(fields: dict[str, Any] | None) -> dict[str, Any]:
    return {"release": fields} if fields else {}


def minute(number: int) -> datetime:
    return DAY + timedelta(minutes=number)
