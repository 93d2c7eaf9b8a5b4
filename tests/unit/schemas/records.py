"""Records for the tests of the event contract: a sound event in either mode, to be broken in one place."""

import json
from collections.abc import Mapping
from typing import Any

from schemas.decode import decode
from schemas.event import Event, Invalid
from schemas.record import Headers, Record

RELEASE_ID = "0b6f1a52-5a4e-4c7f-9a34-0a6b3a0f5c11"
SUBMITTED = "dev.rudder.release.submitted.v1"
STARTED = "dev.rudder.deployment.started.v1"
RELEASE_DATA: Mapping[str, Any] = {"release_id": RELEASE_ID, "organization_id": "acme"}
DEPLOYMENT_DATA: Mapping[str, Any] = {**RELEASE_DATA, "environment_id": "production-eu"}
RELEASE_FIELDS: Mapping[str, Any] = {
    "project_id": "5d1c5d9e-62ad-4d0b-8f7e-2f7b8a3f9e01",
    "component_id": "c2a4b1de-9f10-4b3c-8a55-7d1f0e6b2c02",
    "deployment_track_id": "main",
    "release_date": "2026-03-01",
    "release_number": 7,
    "created_by": "maria@example.com",
}
STRUCTURED: Headers = (("content-type", b"application/cloudevents+json; charset=UTF-8"),)
ENVELOPE: Mapping[str, Any] = {
    "specversion": "1.0",
    "id": "run-1",
    "source": "https://ci.example.com",
    "type": SUBMITTED,
    "time": "2026-03-01T09:30:00Z",
}


def record(value: bytes | None, headers: Headers = (), *, timestamp_ms: int = 1_772_357_400_000) -> Record:
    return Record(
        topic="rudder.deployment-events",
        partition=0,
        offset=0,
        timestamp_ms=timestamp_ms,
        key=None,
        value=value,
        headers=headers,
    )


def headers(**changes: bytes | None) -> Headers:
    """The headers of a sound event in binary mode; a change to None leaves that attribute out."""
    attributes: dict[str, bytes | None] = {name: text.encode() for name, text in ENVELOPE.items()}
    attributes |= changes
    return (
        *((f"ce_{name}", raw) for name, raw in attributes.items() if raw is not None),
        ("content-type", b"application/json"),
    )


def binary(data: object = RELEASE_DATA, **changes: bytes | None) -> Record:
    return record(json.dumps(data).encode(), headers(**changes))


def structured(data: object = RELEASE_DATA, **changes: object) -> Record:
    return record(json.dumps({**ENVELOPE, "data": data, **changes}).encode(), STRUCTURED)


def decoded(given: Record) -> Event:
    event = decode(given)
    assert isinstance(event, Event), event
    return event


def refused(given: Record) -> Invalid:
    invalid = decode(given)
    assert isinstance(invalid, Invalid), invalid
    return invalid
