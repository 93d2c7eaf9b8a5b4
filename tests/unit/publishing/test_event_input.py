"""What `publish` and `validate` are given becomes drafts, is completed, and is judged as the worker would."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest

from schemas.decode import decode
from schemas.event import Event
from schemas.record import Record
from schemas.types import EventType
from tests.unit.schemas.records import DEPLOYMENT_DATA, ENVELOPE, RELEASE_DATA, RELEASE_ID, STARTED
from tests.unit.schemas.schema_files import EXAMPLES
from worker.ports import OutgoingRecord
from worker.publishing.event_input import (
    Problem,
    complete,
    decode_input,
    envelope_problem,
    outgoing_record,
    publish_differences,
    spelling_warnings,
    with_full_type,
    with_id,
)
from worker.publishing.event_texts import EventInput

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
BYTES_MAX = 1_048_576
VALID = sorted(path for type_ in EventType for path in (EXAMPLES / type_).glob("valid-*.json"))
MODES: tuple[Literal["binary", "structured"], ...] = ("binary", "structured")


def an_input(data: object = RELEASE_DATA, **changes: object) -> EventInput:
    event = {**ENVELOPE, "data": data, **changes}
    return EventInput(location="x:1", value=json.dumps({k: v for k, v in event.items() if v is not ...}).encode())


def completed(event_input: EventInput) -> Any:
    return json.loads(complete(event_input, id="new", source="/new", time=NOW).value)


def accepted(event_input: EventInput) -> Event:
    verdict = decode_input(event_input, bytes_max=BYTES_MAX)
    assert isinstance(verdict, Event), verdict
    return verdict


def decoded(written: OutgoingRecord) -> Event:
    record = Record(
        topic=written.topic,
        partition=0,
        offset=0,
        timestamp_ms=-1,
        key=written.key,
        value=written.value,
        headers=written.headers,
    )
    event = decode(record)
    assert isinstance(event, Event), event
    return event


def test_missing_attributes_are_completed() -> None:
    event_input = EventInput(location="x:1", value=b'{"type":"t","data":{}}')
    assert completed(event_input) == {
        "specversion": "1.0",
        "id": "new",
        "source": "/new",
        "type": "t",
        "data": {},
        "time": "2026-03-01T09:30:00.000000Z",
    }
    assert complete(event_input, id="new", source="/new", time=NOW).location == "x:1"


def test_given_attributes_are_kept() -> None:
    """What is wrong, too: it is judged, not mended."""
    assert completed(an_input(extension="x")) == {**ENVELOPE, "data": dict(RELEASE_DATA), "extension": "x"}
    assert completed(an_input(id="", specversion="0.3"))["id"] == ""
    assert completed(an_input(id="", specversion="0.3"))["specversion"] == "0.3"
    assert completed(an_input(time="yesterday"))["time"] == "yesterday"


def test_null_attribute_is_completed_like_a_missing_one() -> None:
    """The JSON format of CloudEvents says that null is unset; a null time was published as 1970."""
    content = completed(an_input(id=None, source=None, specversion=None, time=None, subject=None))
    assert content["id"] == "new"
    assert content["source"] == "/new"
    assert content["specversion"] == "1.0"
    assert content["time"] == "2026-03-01T09:30:00.000000Z"
    assert content["subject"] is None


@pytest.mark.parametrize("value", [b"broken", b"[]", b'"text"', b"1", b"null", b"\xff", b'{"a":1,"a":2}'])
def test_text_that_is_not_an_object_is_unchanged(value: bytes) -> None:
    event_input = EventInput(location="x:1", value=value)
    assert complete(event_input, id="new", source="/new", time=NOW) == event_input


def test_validation_uses_the_workers_decoder() -> None:
    assert accepted(an_input()).data.release_id.hex == RELEASE_ID.replace("-", "")


@pytest.mark.parametrize(
    ("event_input", "reason", "detail"),
    [
        (EventInput(location="x:1", value=b"broken"), "malformed_json", "not JSON"),
        (EventInput(location="x:1", value=b"[]"), "not_a_cloudevent", "not an object"),
        (EventInput(location="x:1", value=b""), "malformed_json", ""),
        (an_input(id=...), "not_a_cloudevent", "id: "),
        (an_input(type="nope"), "unsupported_type", "nope is not accepted. Accepted types: dev.rudder."),
        (
            an_input(type="dev.rudder.deployment.suceeded.v1"),
            "unsupported_type",
            "did you mean dev.rudder.deployment.succeeded.v1? Accepted types: dev.rudder.deployment.succeeded.v1, ",
        ),
        (EventInput(location="x:1", value="{}".encode("utf-16")), "malformed_json", "UTF-16"),
        (an_input(data={**RELEASE_DATA, "organization_id": 1}), "invalid_data", "/data/organization_id: "),
        (an_input(padding="x" * BYTES_MAX), "too_large", str(BYTES_MAX)),
    ],
)
def test_problem_has_position_reason_and_detail(event_input: EventInput, reason: str, detail: str) -> None:
    problem = decode_input(event_input, bytes_max=BYTES_MAX)
    assert isinstance(problem, Problem)
    assert (problem.location, problem.reason) == ("x:1", reason)
    assert detail in problem.detail


def test_missing_field_names_its_misspelling() -> None:
    problem = decode_input(an_input({"release_id": RELEASE_ID, "organisation_id": "acme"}), bytes_max=BYTES_MAX)
    assert isinstance(problem, Problem)
    assert problem.detail == (
        "/data/organization_id: is missing; "
        "/data/organisation_id: is not a field, and is ignored; did you mean organization_id?"
    )


def test_missing_attribute_names_its_misspelling() -> None:
    problem = decode_input(an_input(source=..., sourc="/x"), bytes_max=BYTES_MAX)
    assert isinstance(problem, Problem)
    assert problem.reason == "not_a_cloudevent"
    assert problem.detail == ("source: is missing; sourc: is not a CloudEvents attribute; did you mean source?")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("path", VALID, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_published_event_is_the_validated_one(path: Path, mode: Literal["binary", "structured"]) -> None:
    """In both modes the worker will read the same event, on the release's own key."""
    event_input = complete(EventInput(location="x:1", value=path.read_bytes()), id="new", source="/new", time=NOW)
    event = accepted(event_input)
    written = outgoing_record(event_input, event, topic="in", content_mode=mode)
    assert decoded(written) == event
    assert written.topic == "in"
    assert written.key == str(event.data.release_id).encode()


@pytest.mark.parametrize("mode", MODES)
def test_record_key_is_lower_case(mode: Literal["binary", "structured"]) -> None:
    """Two spellings of one release on two partitions would lose its order."""
    event_input = an_input({**RELEASE_DATA, "release_id": RELEASE_ID.upper()})
    assert outgoing_record(event_input, accepted(event_input), topic="in", content_mode=mode).key == RELEASE_ID.encode()


@pytest.mark.parametrize("mode", MODES)
def test_unknown_data_is_passed_on(mode: Literal["binary", "structured"]) -> None:
    """There are other readers; and absent fields are not filled with defaults."""
    data = {**DEPLOYMENT_DATA, "pipeline": {"ü": [1, None]}}
    event_input = an_input(data, type=STARTED)
    written = outgoing_record(event_input, accepted(event_input), topic="in", content_mode=mode)
    value = json.loads(written.value or b"")
    assert (value if mode == "binary" else value["data"]) == data


@pytest.mark.parametrize("mode", MODES)
def test_base64_data_can_be_published(mode: Literal["binary", "structured"]) -> None:
    encoded = base64.b64encode(json.dumps(dict(RELEASE_DATA)).encode()).decode()
    event_input = an_input(..., data_base64=encoded)
    event = accepted(event_input)
    assert decoded(outgoing_record(event_input, event, topic="in", content_mode=mode)) == event


def test_structured_mode_sends_the_publishers_own_text() -> None:
    event_input = an_input(extension="x")
    written = outgoing_record(event_input, accepted(event_input), topic="in", content_mode="structured")
    assert written.value == event_input.value
    assert dict(written.headers)["content-type"] == b"application/cloudevents+json; charset=utf-8"


def test_binary_mode_sends_every_attribute_unchanged() -> None:
    """`subject` and `time` are the publisher's own; nothing is replaced, dropped or added."""
    attributes = {
        "subject": "checkout",
        "time": "2026-03-01T09:30:00+01:00",
        "dataschema": "https://acme.example/schema",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": "acme=1",
        "partitionkey": "a key",
        "sequence": 7,
        "dryrun": False,
        "team": "Vertriebsgrüße",
    }
    event_input = an_input(datacontenttype="application/vnd.acme+json; charset=utf-8", unset=None, **attributes)
    written = outgoing_record(event_input, accepted(event_input), topic="in", content_mode="binary")
    assert dict(written.headers) == {
        "ce_specversion": b"1.0",
        "ce_id": b"run-1",
        "ce_source": b"https://ci.example.com",
        "ce_type": b"dev.rudder.release.submitted.v1",
        **{f"ce_{name}": str(value).encode() for name, value in attributes.items()},
        "ce_dryrun": b"false",
        "content-type": b"application/vnd.acme+json; charset=utf-8",
    }
    assert written.key == RELEASE_ID.encode()


def test_binary_mode_without_subject_sends_none() -> None:
    event_input = an_input()
    headers = dict(outgoing_record(event_input, accepted(event_input), topic="in", content_mode="binary").headers)
    assert "ce_subject" not in headers
    assert headers["content-type"] == b"application/json"


def test_base64_data_is_sent_as_its_bytes() -> None:
    """Fields that the worker does not know included."""
    data = json.dumps({**RELEASE_DATA, "pipeline": 1}, indent=1).encode()
    event_input = an_input(..., data_base64=base64.b64encode(data).decode())
    assert outgoing_record(event_input, accepted(event_input), topic="in", content_mode="binary").value == data


@pytest.mark.parametrize("mode", MODES)
def test_redrive_adds_the_header(mode: Literal["binary", "structured"]) -> None:
    event_input = an_input()
    headers = outgoing_record(event_input, accepted(event_input), topic="in", content_mode=mode, redrive=True).headers
    assert headers[-1] == ("rudder-redrive", b"1")


def test_invalid_attribute_is_unsendable() -> None:
    assert envelope_problem(an_input(subject="x", other=1)) is None
    problem = envelope_problem(an_input(subject=5, my_own="x"))
    assert problem is not None
    assert (problem.location, problem.reason) == ("x:1", "not_a_cloudevent")
    assert problem.detail.startswith("subject: is not a string; my_own: is not an attribute name")


def test_derived_id_is_used_only_where_the_event_has_none() -> None:
    def id_of(event: Event) -> str:
        return f"of {event.data.release_id}"

    whole, derived = with_id(an_input(id=...), id_of, source="/new", time=NOW)
    assert (json.loads(whole.value)["id"], derived) == (f"of {RELEASE_ID}", True)
    whole, derived = with_id(an_input(id="own"), id_of, source="/new", time=NOW)
    assert (json.loads(whole.value)["id"], derived) == ("own", False)


@pytest.mark.parametrize(
    "event_input", [EventInput(location="x:1", value=b"broken"), an_input(id=..., type="nope"), an_input({}, id=...)]
)
def test_invalid_event_gets_no_derived_id(event_input: EventInput) -> None:
    def id_of(event: Event) -> str:
        raise AssertionError(event)

    whole, derived = with_id(event_input, id_of, source="/new", time=NOW)
    assert not derived
    assert isinstance(decode_input(whole, bytes_max=BYTES_MAX), Problem)


@pytest.mark.parametrize(
    "given", ["deployment.started", "deployment.started.v1", "dev.rudder.deployment.started", STARTED]
)
def test_short_type_is_completed(given: str) -> None:
    event_input = an_input(DEPLOYMENT_DATA, type=given)
    assert completed(event_input)["type"] == STARTED
    assert json.loads(with_full_type(event_input).value)["type"] == STARTED


def test_short_type_is_a_warning_of_validate() -> None:
    """The worker itself accepts full names only, and not every publisher is `publish`."""
    (warning,) = publish_differences(an_input(DEPLOYMENT_DATA, type="deployment.started"))
    assert STARTED in warning
    assert publish_differences(an_input(DEPLOYMENT_DATA, type=STARTED)) == ()


def test_misspelt_field_is_a_warning() -> None:
    event_input = an_input({**DEPLOYMENT_DATA, "coment": "x", "pipeline": "ours"}, type=STARTED)
    assert spelling_warnings(event_input, accepted(event_input)) == (
        "/data/coment: is not a field, and is ignored; did you mean comment?",
    )
