"""Models, JSON Schemas and examples agree; this module lists the exceptions that a schema cannot express.

An example is a CloudEvent in structured form. An invalid one is broken in one place and carries the extension
attribute `wrong`: the reason, and the JSON pointer to what is wrong.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from schemas.decode import decode
from schemas.envelope import write_binary, write_structured
from schemas.event import Event, Invalid
from schemas.outgoing import STATE_MODELS, STATUS_MODELS
from schemas.statuses import DeploymentStatus, ReleaseStatus
from schemas.times import parse_time
from schemas.trace_context import trace_context
from schemas.types import EventType, StatusEventType
from tests.unit.schemas.records import STRUCTURED, record
from tests.unit.schemas.schema_files import EXAMPLES, fits_schema
from worker.rules.decide import WANTED_DEPLOYMENT_STATUS, WANTED_RELEASE_STATUS
from worker.rules.transitions import DEPLOYMENT_TRANSITIONS, RELEASE_TRANSITIONS

BEYOND_JSON_SCHEMA = {
    "release.created.v1/invalid-creator-too-long-in-utf-16": "maxLength counts characters, nvarchar UTF-16 units",
    "release.created.v1/invalid-member-named-twice": "a schema sees the value, not the text",
    "release.created.v1/invalid-nul-in-metadata": "a free object's names and texts, at any depth",
    "deployment.requested.v1/invalid-attempt-as-float": "1.0 is an integer to JSON Schema",
    "deployment.started.v1/invalid-lone-surrogate": "a schema sees the value, not the text",
    "deployment.started.v1/invalid-not-a-number": "a schema sees the value, not the text",
    "deployment.succeeded.v1/invalid-time-far-ahead": "it is ahead of the record's timestamp",
    "activity.recorded.v1/invalid-activity-type-forged": "a text compared without case, width and blanks",
    "activity.recorded.v1/invalid-activity-type-forged-in-disguise": "a text compared without case, width and blanks",
}


OUTGOING: Mapping[str, type[BaseModel]] = {
    str(type_): model for type_, model in (*STATUS_MODELS.items(), *STATE_MODELS.items())
}


def name_of(path: Path) -> str:
    return f"{path.parent.name.removeprefix('dev.rudder.')}/{path.stem}"


def examples(event_types: Iterable[str], kind: str) -> pytest.MarkDecorator:
    paths = [path for event_type in event_types for path in sorted((EXAMPLES / event_type).glob(f"{kind}-*.json"))]
    return pytest.mark.parametrize("path", paths, ids=name_of)


def loaded(path: Path) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(path.read_bytes())
    return event


def test_every_type_has_its_examples_and_no_others() -> None:
    """An incoming type has at least two valid and five invalid examples, an outgoing type one valid and two invalid."""
    assert {path.name for path in EXAMPLES.iterdir()} == set(map(str, (*EventType, *OUTGOING)))
    for event_type in (*EventType, *OUTGOING):
        names = [path.name for path in (EXAMPLES / event_type).iterdir()]
        valid = [name for name in names if name.startswith("valid-") and name.endswith(".json")]
        invalid = [name for name in names if name.startswith("invalid-") and name.endswith(".json")]
        assert len(valid) + len(invalid) == len(names)
        least = (2, 5) if isinstance(event_type, EventType) else (1, 2)
        assert (len(valid), len(invalid)) >= least
        assert len(invalid) >= least[1]


def test_every_listed_exception_is_an_example() -> None:
    """An exception without an example would hide a gap."""
    assert BEYOND_JSON_SCHEMA.keys() <= {name_of(path) for path in EXAMPLES.glob("*/invalid-*.json")}


@examples(EventType, "valid")
def test_valid_incoming_examples_are_read_and_fit_their_schema(path: Path) -> None:
    """The event is also equal after it is written again in either mode and read back."""
    assert fits_schema(path.parent.name, loaded(path))
    event = decode(record(path.read_bytes(), STRUCTURED))
    assert isinstance(event, Event)
    assert event.type == path.parent.name
    for write in (write_binary, write_structured):
        value, headers = write(
            source=event.source,
            id=event.id,
            type=event.type,
            time=event.time,
            subject="x",
            data=event.data,
            trace=event.trace,
        )
        assert decode(record(value, headers)) == event
        if write is write_structured:
            assert fits_schema(path.parent.name, json.loads(value))


@examples(EventType, "invalid")
def test_invalid_incoming_examples_are_refused_as_stated(path: Path) -> None:
    """The worker refuses each with the reason and pointer that it names; the schema does so where it can."""
    event = loaded(path)
    reason, _, pointer = event["wrong"].partition(" ")
    invalid = decode(record(path.read_bytes(), STRUCTURED))
    assert isinstance(invalid, Invalid)
    assert invalid.reason == reason
    if pointer:
        place = pointer if reason == "invalid_data" else pointer.removeprefix("/")
        assert invalid.detail.startswith(f"{place}: ")
        assert ";" not in invalid.detail, "broken in one place"
    assert fits_schema(path.parent.name, event) == (name_of(path) in BEYOND_JSON_SCHEMA)


@examples(OUTGOING, "valid")
def test_valid_outgoing_examples_are_what_the_worker_writes(path: Path) -> None:
    """They are equal byte for byte, apart from blanks."""
    event = loaded(path)
    assert fits_schema(path.parent.name, event)
    data = OUTGOING[path.parent.name].model_validate_json(json.dumps(event["data"]))
    value, _ = write_structured(
        source=event["source"],
        id=event["id"],
        type=event["type"],
        time=parse_time(event["time"]),
        subject=event["subject"],
        data=data,
        trace=trace_context(event.get("traceparent"), event.get("tracestate")),
    )
    assert value.decode() == json.dumps(event, ensure_ascii=False, separators=(",", ":"))


@examples(StatusEventType, "valid")
def test_outgoing_examples_show_possible_transitions(path: Path) -> None:
    """Subscribers rely on them: the status machine allows each change, and its cause can make it."""
    data = loaded(path)["data"]
    cause = EventType(data["cause"]["type"])
    if path.parent.name == StatusEventType.DEPLOYMENT_STATUS_CHANGED:
        previous, status = data["previous_status"], DeploymentStatus(data["status"])
        assert status == WANTED_DEPLOYMENT_STATUS[cause]
        assert previous is None or status in DEPLOYMENT_TRANSITIONS[DeploymentStatus(previous)]
        assert (data["deployed_at"] is not None) == (status is DeploymentStatus.SUCCESS)
    elif data["previous_status"] is None:
        assert (cause, data["status"]) == (EventType.RELEASE_CREATED, ReleaseStatus.DRAFT)
    else:
        became = ReleaseStatus(data["status"])
        assert became in RELEASE_TRANSITIONS[ReleaseStatus(data["previous_status"])]
        assert (cause in WANTED_DEPLOYMENT_STATUS) == (became not in WANTED_RELEASE_STATUS.values())


@examples(OUTGOING, "invalid")
def test_invalid_outgoing_examples_cannot_be_written(path: Path) -> None:
    """The model and the schema both refuse each example, at the place that it names."""
    event = loaded(path)
    assert not fits_schema(path.parent.name, event)
    with pytest.raises(ValidationError) as caught:
        OUTGOING[path.parent.name].model_validate_json(json.dumps(event["data"]))
    places = ["/".join(("/data", *map(str, problem["loc"]))) for problem in caught.value.errors()]
    assert [f"invalid_data {place}" for place in places] == [event["wrong"]]
