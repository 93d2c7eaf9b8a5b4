"""Messages of foreign events of one component, as the mapping makes them."""

from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final
from uuid import UUID, uuid4

from schemas.adapters.foreign import Artifact, ForeignEvent, Format, Original
from schemas.event import Event
from schemas.mapping import Mapping
from schemas.mapping_rules import MappingFile
from schemas.record import Record
from schemas.types import EventType
from worker.rules.message import Message

PROJECT: Final = UUID("5d0f4c1e-6a57-4f0b-9d3c-0a4be1c2f7a1")
AT: Final = datetime(2026, 3, 17, 9, 30, tzinfo=UTC)

_offsets = count()


def commit(number: int) -> str:
    return f"{number:040x}"


@dataclass(kw_only=True)
class ForeignMessages:
    """Builds events of one repository, which is one component; each is a minute after the one before."""

    component_id: UUID = field(default_factory=uuid4)
    organization_id: str = "nordwind-logistik"
    count: int = 0
    source: str = ""

    @property
    def file(self) -> AnyMapping[str, Any]:
        return {
            "organization": self.organization_id,
            "project": str(PROJECT),
            "environments": {"production": "prod", "staging": "stage"},
            "rules": [{"match": {"repository": "acme/shop"}, "component": str(self.component_id)}],
        }

    def event(
        self,
        kind: str,
        artifact: Artifact,
        *,
        run: str | None = "1",
        environment: str = "production",
        activity_type: str | None = None,
        part_of: str | None = None,
    ) -> Message:
        """`kind`: the type less prefix and version."""
        self.count += 1
        foreign = ForeignEvent(
            format=Format.GITHUB,
            type=EventType(f"dev.rudder.{kind}.v1"),
            source=self.source or f"https://git.example/{self.component_id}",
            id=str(self.count),
            time=AT + timedelta(minutes=self.count),
            original=Original(type=kind, id=run, status=kind, url="https://git.example/1", actor="octocat"),
            run=run,
            part_of=part_of,
            scope={"repository": "acme/shop", "environment": environment},
            artifact=artifact,
            actor="octocat",
            activity_type=activity_type,
        )
        event = Mapping(MappingFile.model_validate(self.file)).event(foreign, recorded_at=None)
        assert isinstance(event, Event), event
        record = Record(topic="hooks", partition=0, offset=next(_offsets), timestamp_ms=0, key=None, value=b"{}")
        return Message(record=record, content=event, with_foreign=True)
