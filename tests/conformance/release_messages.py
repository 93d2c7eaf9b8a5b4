"""Messages with the events of one release, at increasing offsets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

from schemas.envelope import write_binary
from schemas.record import Record
from worker.pipeline.transaction import read
from worker.rules.message import Message

TOPIC = "events"
SOURCE = "https://ci.example/pipelines/7"
ORGANIZATION = "nordwind-logistik"
PROJECT = UUID("5b0c3a9e-7c35-4d0e-8f3b-3a1f0c7e2d11")
COMPONENT = UUID("9d1e6b4c-1f0a-4c56-9a77-52f6f3d2b8aa")
MOMENT = datetime(2026, 3, 17, 9, 30, 0, 123456, tzinfo=UTC)

_offsets = count()
_numbers = count(1)


def minute(number: float) -> datetime:
    """`number` minutes after the first event's time."""
    return MOMENT + timedelta(minutes=number)


@dataclass(slots=True, kw_only=True)
class ReleaseMessages:
    """Builds the events of one release, numbered from 1, a minute apart unless `at` is given."""

    release_id: UUID = field(default_factory=uuid4)
    organization_id: str = ORGANIZATION
    component_id: UUID = COMPONENT
    number: int = field(default_factory=lambda: next(_numbers))
    count: int = 0

    @property
    def fields(self) -> dict[str, Any]:
        """The required fields of release.created."""
        return {
            "project_id": str(PROJECT),
            "component_id": str(self.component_id),
            "deployment_track_id": "main",
            "release_date": "2026-03-17",
            "release_number": self.number,
            "created_by": "amara.okafor@example.com",
        }

    def event(self, kind: str, data: Mapping[str, Any] | None = None, *, at: datetime | None = None) -> Message:
        """The message of a new event; `kind` is its type less prefix and version."""
        self.count += 1
        content = {"release_id": str(self.release_id), "organization_id": self.organization_id, **(data or {})}
        value, headers = write_binary(
            source=SOURCE,
            id=f"{self.release_id}/{self.count}",
            type=f"dev.rudder.{kind}.v1",
            time=at or minute(self.count),
            subject=str(self.release_id),
            data=content,
        )
        return message(value, headers)

    def created(self, **more: Any) -> Message:
        return self.event("release.created", {**self.fields, **more})

    def deploy(self, step: str, *, at: datetime | None = None, **data: Any) -> Message:
        return self.event(f"deployment.{step}", {"environment_id": "production", **data}, at=at)

    def approved(self) -> tuple[Message, ...]:
        """The events up to the approval of the release."""
        return self.created(), self.event("release.submitted"), self.event("release.approved")


def message(value: bytes | None, headers: tuple[tuple[str, bytes | None], ...] = ()) -> Message:
    """A record with the next offset, decoded by the worker's decoder."""
    offset = next(_offsets)
    timestamp_ms = 1_773_800_000_000 + offset
    record = Record(
        topic=TOPIC, partition=0, offset=offset, timestamp_ms=timestamp_ms, key=b"key", value=value, headers=headers
    )
    return read(record, event_bytes_max=1_048_576)


def redriven(original: Message) -> Message:
    """The same event in a redrive."""
    assert original.record.value is not None
    return message(original.record.value, (*original.record.headers, ("rudder-redrive", b"1")))
