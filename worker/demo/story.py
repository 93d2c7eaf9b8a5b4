"""One release's story: a clock that only moves on, and the records its pipeline publishes meanwhile.

Every pipeline has its own voice (content mode, way of writing times and ids), because real publishers never agree.
"""

import json
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final, Literal
from uuid import UUID

from worker.demo.company import ACTORS, COMMENTS, DAY, Component, a_uuid
from worker.demo.record import RawRecord

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
INDIA: Final = timezone(timedelta(hours=5, minutes=30))


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """How one pipeline writes its events."""

    mode: Literal["binary", "structured", "bare"]
    time: Literal["microseconds", "nanoseconds", "seconds", "none"] = "microseconds"
    content_type: str = "application/cloudevents+json; charset=utf-8"
    key: Literal["release", "component"] = "release"
    upper_case: bool = False
    escaped: bool = False


VOICES: Final = (
    Voice(mode="binary"),
    Voice(mode="structured"),
    Voice(mode="structured", time="nanoseconds", content_type="Application/CloudEvents+JSON"),
    Voice(mode="binary", time="none"),
    Voice(mode="bare", time="seconds", escaped=True),
    Voice(mode="binary", time="nanoseconds", upper_case=True),
    Voice(mode="structured", key="component"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One environment's deployment settings, the same in every event about it."""

    environment_id: str
    settings: dict[str, Any]


class Story:
    """The pipeline of one release, publishing."""

    def __init__(
        self, *, dice: random.Random, component: Component, number: int, begins: datetime, voice: Voice, block: bool
    ) -> None:
        self.dice = dice
        self.component = component
        self.number = number
        self.voice = voice
        self.now = begins
        self.release_id = a_uuid(dice)
        self.records: list[RawRecord] = []
        self._told = 0
        self._stages: dict[str, Stage] = {}
        own = component.name if voice.key == "component" else self.text_of(self.release_id)
        self.key = own.encode()
        self.fields = self._release_fields()
        self.block: dict[str, Any] = {"release": self.fields} if block else {}

    def pause(self, low_seconds: float, high_seconds: float) -> None:
        self.now += timedelta(microseconds=round(self.dice.uniform(low_seconds, high_seconds) * 1_000_000))

    def wait_until(self, *, hour: int) -> None:
        self.now = max(self.now, DAY + timedelta(hours=hour))

    def stage(self, environment: str) -> Stage:
        """Return the settings this release has there when a pipeline first asks."""
        if environment not in self._stages:
            dice = self.dice
            settings: dict[str, Any] = {}
            if dice.random() < 0.5:
                settings["config_mapping_revision"] = dice.randrange(1, 9)
                settings["schema_based_config_revision"] = dice.randrange(4)
            if dice.random() < 0.3:
                settings["api_settings"] = {
                    "timeout_ms": dice.randrange(100, 5_000),
                    "zone": environment,
                    "ärger": None,
                }
            if dice.random() < 0.3:
                settings["config_revision"] = dice.randrange(1, 3)
            self._stages[environment] = Stage(environment_id=environment, settings=settings)
        return self._stages[environment]

    def _said_of(self, stage: Stage) -> dict[str, Any]:
        """Return what one event says of the settings: not every step repeats them, and some know better."""
        said = dict(stage.settings)
        for name in ("config_mapping_revision", "schema_based_config_revision", "api_settings"):
            if name in said and self.dice.random() < 0.3:
                del said[name]
        if "config_mapping_revision" in said and self.dice.random() < 0.2:
            said["config_mapping_revision"] += 10
        return said

    def text_of(self, identifier: UUID) -> str:
        return str(identifier).upper() if self.voice.upper_case else str(identifier)

    def tell(self, kind: str, data: dict[str, Any] | None = None, *, at: datetime | None = None) -> RawRecord:
        """Publish `dev.rudder.<kind>` about this release; `at` makes it a late event."""
        return self.send(self.event(kind, data, at=at))

    def deploy(
        self, step: str, stage: Stage, *, attempt: int | None = None, at: datetime | None = None, **more: Any
    ) -> RawRecord:
        """Publish one step of a deployment, with the release block where this pipeline has no release step."""
        given = {} if attempt is None else {"attempt": attempt}
        data = {"environment_id": stage.environment_id, **self._said_of(stage), **given, **self.block, **more}
        return self.tell(f"deployment.{step}.v1", data, at=at)

    def event(self, kind: str, data: dict[str, Any] | None = None, *, at: datetime | None = None) -> dict[str, Any]:
        """Return the event in its structured form; `tell` sends it, a mishap spoils it first."""
        self._told += 1
        body: dict[str, Any] = {
            "release_id": self.text_of(self.release_id),
            "organization_id": self.component.organization_id,
            **(data or {}),
        }
        if self.dice.random() < 0.7:
            body["actor"] = self.dice.choice(ACTORS)
        if self.dice.random() < 0.4:
            body["comment"] = self.dice.choice(COMMENTS)
        if self.dice.random() < 0.1:
            body["pipeline_url"] = f"{self.component.source}/runs/{self.dice.randrange(10_000, 99_999)}"
        event = {
            "specversion": "1.0",
            "id": f"{str(self.release_id)[:13]}/{self._told:03d}",
            "source": self.component.source,
            "type": f"dev.rudder.{kind}",
            "subject": str(self.release_id),
            "datacontenttype": "application/json",
        }
        if self.voice.time != "none" or at is not None:
            event["time"] = self._written(at or self.now)
        return {**event, "data": body}

    def send(self, event: dict[str, Any], *, headers: tuple[tuple[str, bytes], ...] = ()) -> RawRecord:
        """Publish an event in this pipeline's content mode."""
        if self.voice.mode == "binary":
            attributes = {name: text for name, text in event.items() if name not in ("data", "datacontenttype")}
            own = tuple((f"ce_{name}", str(text).encode()) for name, text in attributes.items())
            return self.publish(
                self.encoded(event["data"]), headers=(("content-type", b"application/json"), *own, *headers)
            )
        if self.voice.mode == "structured":
            headers = (("content-type", self.voice.content_type.encode()), *headers)
        return self.publish(self.encoded(event), headers=headers)

    def publish(self, value: bytes, *, headers: tuple[tuple[str, bytes], ...] = ()) -> RawRecord:
        """Publish any bytes; the network takes its time."""
        self.pause(0.02, 0.9)
        timestamp_ms = (self.now - EPOCH) // timedelta(milliseconds=1)
        record = RawRecord(key=self.key, value=value, headers=headers, timestamp_ms=timestamp_ms)
        self.records.append(record)
        return record

    def repeat(self, record: RawRecord, *, headers: tuple[tuple[str, bytes], ...] = ()) -> None:
        """Deliver the same event once more, as a pipeline does that saw no acknowledgement."""
        self.pause(2, 90)
        self.publish(record.value, headers=(*record.headers, *headers))

    def encoded(self, body: Any) -> bytes:
        if self.voice.escaped:
            return json.dumps(body, indent=1).encode()
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()

    def _written(self, moment: datetime) -> str:
        match self.voice.time:
            case "nanoseconds":
                local = moment.astimezone(INDIA)
                return f"{local:%Y-%m-%dT%H:%M:%S.%f}{self.dice.randrange(1000):03d}+05:30"
            case "seconds":
                return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
            case _:
                return f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}"

    def _release_fields(self) -> dict[str, Any]:
        dice, component = self.dice, self.component
        fields: dict[str, Any] = {
            "project_id": self.text_of(component.project_id),
            "component_id": self.text_of(component.component_id),
            "deployment_track_id": component.deployment_track_id,
            "release_date": f"{DAY:%Y-%m-%d}",
            "release_number": self.number,
            "created_by": dice.choice(ACTORS),
        }
        if dice.random() < 0.8:
            fields["commit_hash"] = f"{dice.getrandbits(160):040x}"
            fields["image_tag"] = f"registry.example/{component.name.lower()}:{self.number}"
        if dice.random() < 0.5:
            fields["description"] = dice.choice(COMMENTS)
        if dice.random() < 0.4:
            fields["metadata"] = {"ticket": f"OPS-{dice.randrange(9000)}", "área": ["pagos", "倉庫"], "hotfix": False}
        if dice.random() < 0.3:
            fields["apim_base_revisions"] = [
                {
                    "endpoint_name": f"{component.name} v{version}",
                    "api_id": str(a_uuid(dice)),
                    "revision_id": f"rev-{dice.randrange(1, 40)}",
                    "access_mode": dice.choice(("public", "organization", "project")),
                }
                for version in range(1, dice.randrange(2, 4))
            ]
        return fields
