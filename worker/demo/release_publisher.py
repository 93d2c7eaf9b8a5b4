"""The pipeline of one release: a clock that only moves on, and the records that the pipeline publishes meanwhile.

Each pipeline has its own encoding (content mode, way of writing times and ids), as real publishers do.
"""

import json
import random
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, Final, Literal
from uuid import UUID

from worker.demo.company import ACTORS, COMMENTS, DAY, Component, random_uuid

_EVENING_MS: Final = int(DAY.replace(hour=20).timestamp() * 1_000)
_INDIA: Final = timezone(timedelta(hours=5, minutes=30))
Headers = tuple[tuple[str, bytes], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """A record as a publisher sends it; the key decides the partition."""

    key: bytes
    value: bytes
    headers: Headers
    timestamp_ms: int

    @property
    def is_evening(self) -> bool:
        return self.timestamp_ms >= _EVENING_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How one pipeline writes its events. `bare`: structured, without a content type."""

    mode: Literal["binary", "structured", "bare"]
    time: Literal["microseconds", "nanoseconds", "seconds", "none"] = "microseconds"
    content_type: str = "application/cloudevents+json; charset=utf-8"
    key: Literal["release", "component"] = "release"
    upper_case: bool = False
    escaped: bool = False


ENCODINGS: Final = (
    Encoding(mode="binary"),
    Encoding(mode="structured"),
    Encoding(mode="structured", time="nanoseconds", content_type="Application/CloudEvents+JSON"),
    Encoding(mode="binary", time="none"),
    Encoding(mode="bare", time="seconds", escaped=True),
    Encoding(mode="binary", time="nanoseconds", upper_case=True),
    Encoding(mode="structured", key="component"),
)


class ReleasePublisher:
    """Publishes one release's events; `records` are what it has published."""

    def __init__(
        self, *, dice: random.Random, component: Component, number: int, begins: datetime, encoding: Encoding
    ) -> None:
        self.dice = dice
        self.now = begins
        self.records: list[EventRecord] = []
        self.fields_in_every_deployment = False
        """For a pipeline without a release step."""
        self._component = component
        self._encoding = encoding
        self._events = 0
        self._config_revisions: dict[str, int] = {}
        self.release_id = self._id_text(random_uuid(dice))
        self._key = component.name if encoding.key == "component" else self.release_id
        self.fields = self._release_fields(number)

    def pause(self, seconds_max: float) -> None:
        self.now += timedelta(microseconds=round(self.dice.uniform(0.1, 1) * seconds_max * 1_000_000))

    def publish(self, kind: str, data: dict[str, Any] | None = None, *, seconds_ago: float = 0) -> EventRecord:
        """An event of type `dev.rudder.<kind>.v1` about this release; `data` may replace any member."""
        return self.publish_event(self.event(kind, data or {}, seconds_ago=seconds_ago))

    def deploy(self, step: str, environment: str, *, attempt: int | None = None, seconds_ago: float = 0) -> EventRecord:
        dice = self.dice
        revision = self._config_revisions.setdefault(environment, dice.choice((0, 0, 1, 2)))
        optional = {
            "config_mapping_revision": dice.randrange(1, 9),
            "schema_based_config_revision": dice.randrange(4),
            "api_settings": {"timeout_ms": dice.randrange(100, 5_000), "zone": environment, "ärger": None},
        }
        data = {
            "environment_id": environment,
            **({"config_revision": revision} if revision else {}),
            **({"attempt": attempt} if attempt else {}),
            **({"release": self.fields} if self.fields_in_every_deployment else {}),
            **{name: value for name, value in optional.items() if dice.random() < 0.25},
        }
        return self.publish(f"deployment.{step}", data, seconds_ago=seconds_ago)

    def event(self, kind: str, data: dict[str, Any], *, seconds_ago: float = 0) -> dict[str, Any]:
        """The event in its structured form, with an id of its own."""
        self._events += 1
        body = {"release_id": self.release_id, "organization_id": self._component.organization_id, **data}
        optional = {
            "actor": (0.7, self.dice.choice(ACTORS)),
            "comment": (0.4, self.dice.choice(COMMENTS)),
            "pipeline_url": (0.1, f"{self._component.source}/runs/{self.dice.randrange(10_000, 99_999)}"),
        }
        body |= {name: text for name, (fraction, text) in optional.items() if self.dice.random() < fraction}
        event = {
            "specversion": "1.0",
            "id": f"{self.release_id[:13].lower()}/{self._events:03d}",
            "source": self._component.source,
            "type": f"dev.rudder.{kind}.v1",
            "subject": self.release_id,
            "datacontenttype": "application/json",
        }
        if self._encoding.time != "none" or seconds_ago:
            event["time"] = self._time_text(self.now - timedelta(seconds=seconds_ago))
        return {**event, "data": body}

    def publish_event(self, event: dict[str, Any]) -> EventRecord:
        """An event in this pipeline's content mode."""
        if self._encoding.mode == "binary":
            attributes = [name for name in event if name not in ("data", "datacontenttype")]
            headers = tuple((f"ce_{name}", str(event[name]).encode()) for name in attributes)
            return self.publish_bytes(self._json(event["data"]), (("content-type", b"application/json"), *headers))
        structured = self._encoding.mode == "structured"
        headers = (("content-type", self._encoding.content_type.encode()),) if structured else ()
        return self.publish_bytes(self._json(event), headers)

    def publish_bytes(self, value: bytes, headers: Headers) -> EventRecord:
        self.pause(0.9)
        ms = int(self.now.timestamp() * 1_000)
        self.records.append(EventRecord(key=self._key.encode(), value=value, headers=headers, timestamp_ms=ms))
        return self.records[-1]

    def repeat(self, record: EventRecord, headers: Headers = ()) -> None:
        """Deliver the same event again, as a pipeline does that got no acknowledgement."""
        self.pause(90)
        self.publish_bytes(record.value, (*record.headers, *headers))

    def _json(self, value: Any) -> bytes:
        if self._encoding.escaped:
            return json.dumps(value, indent=1).encode()
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

    def _time_text(self, time: datetime) -> str:
        match self._encoding.time:
            case "nanoseconds":
                return f"{time.astimezone(_INDIA):%Y-%m-%dT%H:%M:%S.%f}{self.dice.randrange(1000):03d}+05:30"
            case "seconds":
                return f"{time:%Y-%m-%dT%H:%M:%SZ}"
            case _:
                return f"{time:%Y-%m-%dT%H:%M:%S.%fZ}"

    def _id_text(self, id: UUID) -> str:
        return str(id).upper() if self._encoding.upper_case else str(id)

    def _release_fields(self, number: int) -> dict[str, Any]:
        dice, component = self.dice, self._component
        revision = {"endpoint_name": component.name, "api_id": str(random_uuid(dice)), "access_mode": "project"}
        optional = {
            "commit_hash": f"{dice.getrandbits(160):040x}",
            "image_tag": f"registry.example/{component.name.lower()}:{number}",
            "description": dice.choice(COMMENTS),
            "metadata": {"ticket": f"OPS-{dice.randrange(9000)}", "área": ["pagos", "倉庫"], "hotfix": False},
            "apim_base_revisions": [{**revision, "revision_id": f"rev-{n}"} for n in range(dice.randrange(1, 3))],
        }
        return {
            "project_id": self._id_text(component.project_id),
            "component_id": self._id_text(component.component_id),
            "deployment_track_id": component.deployment_track_id,
            "release_date": f"{DAY:%Y-%m-%d}",
            "release_number": number,
            "created_by": dice.choice(ACTORS),
            **{name: value for name, value in optional.items() if dice.random() < 0.5},
        }
