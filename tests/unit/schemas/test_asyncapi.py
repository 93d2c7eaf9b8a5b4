"""The AsyncAPI document agrees with schemas, examples and settings, and with what the worker reads and writes."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from referencing import Registry
from referencing.jsonschema import DRAFT7

from schemas.asyncapi import CHANNELS, FILE, document, document_text, main
from schemas.decode import decode
from schemas.envelope import write_binary, write_structured
from schemas.event import Event, Invalid
from schemas.json_schemas import FOLDER
from schemas.record import Headers
from schemas.times import parse_time
from schemas.trace_context import trace_context
from schemas.types import EventType
from tests.unit.schemas.records import record
from tests.unit.schemas.schema_files import EXAMPLES, fits_schema, schema_of
from worker.pipeline.dead_letter import OMISSION_HEADERS, REASON_HEADERS
from worker.settings import Settings

CONTRACT = document()
MESSAGES = CONTRACT["components"]["messages"]
EVENT_TYPES = sorted(path.stem for path in FOLDER.glob("dev.rudder.*.json"))
REGISTRY: Any = Registry().with_resource("urn:asyncapi", DRAFT7.create_resource(json.loads(json.dumps(CONTRACT))))
INPUT = "deployment-events"


def validator(pointer: str) -> jsonschema.Draft7Validator:
    checker = jsonschema.Draft7Validator.FORMAT_CHECKER
    return jsonschema.Draft7Validator({"$ref": f"urn:asyncapi#{pointer}"}, registry=REGISTRY, format_checker=checker)


def fits(name: str, headers: Any, payload: Any) -> bool:
    at = f"/components/messages/{name}"
    return validator(f"{at}/headers").is_valid(headers) and validator(f"{at}/payload").is_valid(payload)


def messages_with(mode: str) -> list[str]:
    return sorted(name for name in MESSAGES if name.endswith(f".{mode}"))


def kafka_headers(headers: Any) -> Headers:
    return tuple((name, value.encode()) for name, value in headers.items())


def examples_of(event_type: str, kind: str) -> Iterator[Path]:
    return iter(sorted((EXAMPLES / event_type).glob(f"{kind}-*.json")))


def nodes(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from nodes(part)


def test_committed_document_matches_the_generated_one() -> None:
    """After a failure run `make schemas`."""
    assert FILE.read_text(encoding="utf-8") == document_text()


def test_command_writes_and_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "asyncapi.json"
    assert main(["--check"], file) == 1
    assert main([], file) == 0
    assert main(["--check"], file) == 0
    file.write_text("{}")
    assert main(["--check"], file) == 1
    assert main(["--chek"], file) == 2
    assert "stale" in (output := capsys.readouterr()).out
    assert "usage" in output.err


def test_every_event_type_is_in_one_channel_in_both_modes() -> None:
    names = [name for channel in CONTRACT["channels"].values() for name in channel["messages"]]
    assert sorted(names) == sorted(MESSAGES)
    expected = [f"{event_type.removeprefix('dev.rudder.')}" for event_type in EVENT_TYPES]
    for mode in ("binary", "structured"):
        assert messages_with(mode) == [f"{name}.{mode}" for name in expected]


def test_worker_receives_from_the_input_topic_and_sends_to_the_others() -> None:
    actions = {one["channel"]["$ref"].rpartition("/")[2]: one["action"] for one in CONTRACT["operations"].values()}
    assert actions == {channel.name: "receive" if channel.name == INPUT else "send" for channel in CHANNELS}


@pytest.mark.parametrize("channel", CHANNELS, ids=lambda channel: channel.name)
def test_addresses_are_the_defaults_of_settings(channel: Any) -> None:
    field = Settings.model_fields[channel.setting.removeprefix("RUDDER_").lower()]
    assert channel.address in (field.default, *(field.default if isinstance(field.default, tuple) else ()))
    group = CONTRACT["operations"][f"receive-{INPUT}"]["bindings"]["kafka"]["groupId"]
    assert group["default"] == Settings.model_fields["group_id"].default


def test_references_resolve_and_have_no_siblings() -> None:
    """Draft-07, AsyncAPI's dialect, ignores what stands beside a reference."""
    references = [node for node in nodes(CONTRACT) if isinstance(node, dict) and "$ref" in node]
    assert len(references) > 50
    for node in references:
        assert node.keys() == {"$ref"}
        target: Any = CONTRACT
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]


@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_payloads_accept_what_the_published_schema_accepts(event_type: str) -> None:
    """The whole event in structured mode; valid and invalid examples alike."""
    payload = validator(f"/components/messages/{event_type.removeprefix('dev.rudder.')}.structured/payload")
    paths = [*examples_of(event_type, "valid"), *examples_of(event_type, "invalid")]
    assert len(paths) > 2
    for path in paths:
        instance = json.loads(path.read_bytes())
        assert payload.is_valid(instance) == fits_schema(event_type, instance), path.stem


@pytest.mark.parametrize("name", [*messages_with("binary"), *messages_with("structured")])
def test_examples_fit_exactly_their_message(name: str) -> None:
    """AsyncAPI demands that a message fits one of the messages of an operation."""
    (channel,) = [one for one in CONTRACT["channels"].values() if name in one["messages"]]
    examples = MESSAGES[name]["examples"]
    event_type = MESSAGES[name]["name"]
    assert [example["name"] for example in examples] == [path.stem for path in examples_of(event_type, "valid")]
    for example in examples:
        accepting = [one for one in channel["messages"] if fits(one, example["headers"], example["payload"])]
        assert accepting == [name]


@pytest.mark.parametrize("name", [name for name in MESSAGES if MESSAGES[name]["name"] in set(EventType)])
def test_worker_reads_the_examples(name: str) -> None:
    for example in MESSAGES[name]["examples"]:
        value = json.dumps(example["payload"]).encode()
        event = decode(record(value, kafka_headers(example["headers"])))
        assert isinstance(event, Event)
        assert event.type == MESSAGES[name]["name"]


@pytest.mark.parametrize("event_type", [one for one in EVENT_TYPES if one not in set(EventType)])
@pytest.mark.parametrize(("mode", "write"), [("binary", write_binary), ("structured", write_structured)])
def test_worker_writes_the_examples(event_type: str, mode: str, write: Any) -> None:
    """Headers and value are what the worker publishes for the same event."""
    written = MESSAGES[f"{event_type.removeprefix('dev.rudder.')}.{mode}"]["examples"]
    for path, example in zip(examples_of(event_type, "valid"), written, strict=True):
        event = json.loads(path.read_bytes())
        value, headers = write(
            source=event["source"],
            id=event["id"],
            type=event["type"],
            time=parse_time(event["time"]),
            subject=event["subject"],
            data=event["data"],
            trace=trace_context(event.get("traceparent"), event.get("tracestate")),
        )
        assert dict(headers) == dict(kafka_headers(example["headers"]))
        assert json.loads(value) == example["payload"]


def test_dead_letter_has_the_headers_that_the_worker_writes() -> None:
    headers = MESSAGES["dead-letter"]["headers"]
    assert tuple(headers["required"]) == REASON_HEADERS
    assert set(headers["properties"]) == {*REASON_HEADERS, *OMISSION_HEADERS}
    (example,) = MESSAGES["dead-letter"]["examples"]
    assert fits("dead-letter", example["headers"], example["payload"])
    invalid = decode(record(json.dumps(example["payload"]).encode(), kafka_headers(example["headers"])))
    assert isinstance(invalid, Invalid)
    assert invalid.reason == example["headers"]["rudder-reason"]
    assert invalid.detail == example["headers"]["rudder-detail"]


def test_every_security_scheme_is_offered_by_a_server() -> None:
    schemes = CONTRACT["components"]["securitySchemes"]
    offered = {
        one["$ref"].rpartition("/")[2] for server in CONTRACT["servers"].values() for one in server.get("security", ())
    }
    assert offered == set(schemes)
    assert {scheme["type"] for scheme in schemes.values()} == {
        "X509",
        "plain",
        "scramSha256",
        "scramSha512",
        "oauth2",
        "gssapi",
    }


def test_components_are_the_published_models() -> None:
    """A model that two event types share is the same in both."""
    components = CONTRACT["components"]["schemas"]
    for event_type in EVENT_TYPES:
        for name, definition in schema_of(event_type)["$defs"].items():
            moved = json.dumps(definition).replace("#/$defs/", "#/components/schemas/")
            assert json.loads(moved) == components[name]
