"""Records with the events of one release, in every form: by the CloudEvents SDK, and as a shell script writes them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from uuid import UUID, uuid4

from cloudevents.core.bindings.kafka import KafkaMessage, from_kafka, to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from confluent_kafka import Message

from tests.conformance.producers import ToSend, headers_of

SOURCE = "https://ci.example/end-to-end"
ORGANIZATION = "nordwind-logistik"
MOMENT = datetime(2026, 3, 17, 9, 30, 0, 123456, tzinfo=UTC)

Form = Literal["sdk binary", "sdk structured", "binary", "structured", "bare"]


class ReleaseRecords:
    """Builds the events of one release, numbered, a minute apart."""

    def __init__(self) -> None:
        self.release_id = uuid4()
        self.component_id = uuid4()
        self.count = 0

    @property
    def fields(self) -> dict[str, Any]:
        return {
            "project_id": str(UUID(int=1)),
            "component_id": str(self.component_id),
            "deployment_track_id": "main",
            "release_date": "2026-03-17",
            "release_number": 1,
            "created_by": "amara.okafor@example.com",
        }

    def record(self, kind: str, data: Mapping[str, Any] | None = None, *, form: Form = "binary") -> ToSend:
        self.count += 1
        attributes = {
            "specversion": "1.0",
            "id": f"{self.release_id}/{self.count}",
            "source": SOURCE,
            "type": f"dev.rudder.{kind}.v1",
            "time": f"{MOMENT + timedelta(minutes=self.count):%Y-%m-%dT%H:%M:%S.%fZ}",
        }
        content = {"release_id": str(self.release_id), "organization_id": ORGANIZATION, **(data or {})}
        key = str(self.release_id).encode()
        if form in {"sdk binary", "sdk structured"}:
            return _by_sdk(attributes, content, key, structured=form == "sdk structured")
        if form == "binary":
            headers = tuple((f"ce_{name}", text.encode()) for name, text in attributes.items())
            return ToSend(value=_json(content), key=key, headers=(("content-type", b"application/json"), *headers))
        declared = (("Content-Type", b"application/CloudEvents+json; charset=UTF-8"),) if form == "structured" else ()
        return ToSend(value=_json({**attributes, "data": content}), key=key, headers=declared)

    def approved(self, *, form: Form = "binary") -> list[ToSend]:
        """The events up to the approval of the release."""
        return [
            self.record("release.created", self.fields, form=form),
            self.record("release.submitted", form=form),
            self.record("release.approved", form=form),
        ]

    def deploy(self, step: str, *, form: Form = "binary", **data: Any) -> ToSend:
        return self.record(f"deployment.{step}", {"environment_id": "production", **data}, form=form)


def parsed(message: Message) -> CloudEvent:
    """A published record as the SDK reads it."""
    key, value = message.key(), message.value()
    headers = {name: text or b"" for name, text in headers_of(message)}
    assert isinstance(value, bytes)
    event = from_kafka(KafkaMessage(headers=headers, key=key, value=value), JSONFormat())
    assert isinstance(event, CloudEvent)
    return event


def data_of(event: CloudEvent) -> dict[str, Any]:
    data = event.get_data()
    assert isinstance(data, dict)
    return data


def _by_sdk(attributes: dict[str, str], data: dict[str, Any], key: bytes, *, structured: bool) -> ToSend:
    typed = {**attributes, "time": datetime.fromisoformat(attributes["time"]), "datacontenttype": "application/json"}
    event = CloudEvent(attributes=typed, data=data)
    write = to_structured if structured else to_binary
    message = write(event, JSONFormat(), key_mapper=lambda _event: key)
    return ToSend(value=message.value, key=key, headers=tuple(message.headers.items()))


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
