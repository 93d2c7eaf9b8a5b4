"""No unbounded value reaches the database: the tests derive every field from its schema, so that none is omitted.

A text is bounded by a `maxLength` or a fixed form, a number by both ends, an array by `maxItems`. A free-form object
has the bounds of all JSON: the event's size, its depth, its numbers' length and range.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import pytest

from schemas.attributes import read_attributes
from schemas.event import Event
from schemas.json_text import DEPTH_MAX, INTEGER_DIGITS_MAX
from schemas.reasons import Reason
from schemas.text import NAME_UNITS_MAX, PROSE_UNITS_MAX, SOURCE_UNITS_MAX, utf16_units
from schemas.types import EventType, StateEventType, StatusEventType
from tests.unit.schemas.records import binary, decoded, headers, record, refused
from tests.unit.schemas.schema_files import schema_of

Schema = Mapping[str, Any]
Place = tuple[str | int, ...]

FORMS = frozenset({"uuid", "date", "date-time"})
"""Formats whose value is stored as a UUID, a date or a time, never as the received text."""

NEVER_KEPT = {("datacontenttype",): "decides how the data is read, and is forgotten"}
"""Texts that may be as long as the event."""

EVERY_TYPE = pytest.mark.parametrize("event_type", [*EventType, *StatusEventType, *StateEventType])
INCOMING = pytest.mark.parametrize("event_type", list(EventType))


class Leaf(NamedTuple):
    """A path in an event and the schema of its values; the index 0 represents every entry of an array."""

    place: Place
    schema: Schema


def leaves(schema: Schema, definitions: Schema, place: Place = ()) -> Iterator[Leaf]:
    """Every text, number, array and free-form object of the schema. Fails on a keyword that it does not support."""
    if "$ref" in schema:
        yield from leaves(definitions[schema["$ref"].removeprefix("#/$defs/")], definitions, place)
    elif "anyOf" in schema:
        for option in schema["anyOf"]:
            yield from leaves(option, definitions, place)
    elif "const" in schema or "enum" in schema:
        return
    else:
        kinds = {schema["type"]} if isinstance(schema["type"], str) else set(schema["type"])
        assert kinds <= {"string", "integer", "number", "boolean", "null", "array", "object"}, place
        if "properties" in schema:
            for name, inner in schema["properties"].items():
                yield from leaves(inner, definitions, (*place, name))
        elif kinds - {"boolean", "null"}:
            yield Leaf(place, schema)
        if "array" in kinds:
            yield from leaves(schema["items"], definitions, (*place, 0))


def leaves_of(event_type: str) -> list[Leaf]:
    schema = schema_of(event_type)
    return list(leaves(schema, schema["$defs"]))


def is_bounded(leaf: Leaf) -> bool:
    schema = leaf.schema
    kinds = {schema["type"]} if isinstance(schema["type"], str) else set(schema["type"]) - {"null"}
    match next(iter(kinds)):
        case "string":
            return "maxLength" in schema or schema.get("format") in FORMS or leaf.place in NEVER_KEPT
        case "integer" | "number":
            return "minimum" in schema and "maximum" in schema
        case "array":
            return "maxItems" in schema
        case _:
            return is_free(leaf)


def is_free(leaf: Leaf) -> bool:
    return leaf.schema.get("additionalProperties") is True and leaf.schema["type"] == "object"


@EVERY_TYPE
def test_every_field_is_bounded(event_type: str) -> None:
    """Incoming values fit their columns; subscribers can rely on the bounds of outgoing values."""
    found = leaves_of(event_type)
    assert len(found) > 5
    assert [leaf.place for leaf in found if not is_bounded(leaf)] == []


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": "string", "pattern": "^[^\\u0000]*$"},
        {"type": ["string", "null"], "format": "uri"},
        {"type": "integer", "minimum": 0},
        {"type": "number", "maximum": 1},
        {"type": "array", "items": {"type": "null"}},
        {"type": "object", "additionalProperties": {"type": "string"}},
    ],
)
def test_unbounded_field_is_detected(schema: Schema) -> None:
    """The field is detected alone, as one of several options, and in an array."""
    for around in (schema, {"anyOf": [{"type": "null"}, schema]}, {"type": "array", "maxItems": 1, "items": schema}):
        found = list(leaves({"type": "object", "properties": {"a": around}}, {}))
        assert not all(map(is_bounded, found))


# --- the worker enforces the bounds of the schemas


def sample(schema: Schema, definitions: Schema) -> Any:
    """A valid value with every field, each as small as possible."""
    if "$ref" in schema:
        return sample(definitions[schema["$ref"].removeprefix("#/$defs/")], definitions)
    if "anyOf" in schema:
        return sample(next(option for option in schema["anyOf"] if option.get("type") != "null"), definitions)
    match schema["type"]:
        case "object":
            return {name: sample(inner, definitions) for name, inner in schema.get("properties", {}).items()}
        case "array":
            return [sample(schema["items"], definitions)]
        case "integer":
            return schema["minimum"]
        case "string" if "format" in schema:
            return {"uuid": "0b6f1a52-5a4e-4c7f-9a34-0a6b3a0f5c11", "date": "2026-03-01"}[schema["format"]]
        case "string":
            return "x"
        case kind:
            raise AssertionError(kind)


def sample_of(event_type: str) -> dict[str, Any]:
    schema = schema_of(event_type)
    data = sample(schema["properties"]["data"], schema["$defs"])
    assert isinstance(data, dict)
    return data


def with_value(data: Mapping[str, Any], place: Sequence[str | int], value: object) -> dict[str, Any]:
    changed: Any = deepcopy(dict(data))
    inner = changed
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    assert isinstance(changed, dict)
    return changed


def read(event_type: str, place: Place, value: object) -> Event:
    return decoded(binary(with_value(sample_of(event_type), place, value), type=event_type.encode()))


def assert_refused(event_type: str, place: Place, value: object) -> None:
    invalid = refused(binary(with_value(sample_of(event_type), place, value), type=event_type.encode()))
    assert invalid.reason is Reason.INVALID_DATA
    assert invalid.detail.startswith("/data/" + "/".join(map(str, place)) + ": "), invalid.detail


def data_leaves(event_type: str, kind: str) -> list[Leaf]:
    """The leaves within the data."""
    found = [leaf for leaf in leaves_of(event_type) if leaf.place[0] == "data" and leaf.schema["type"] == kind]
    return [Leaf(leaf.place[1:], leaf.schema) for leaf in found]


@INCOMING
def test_sample_event_has_every_field(event_type: EventType) -> None:
    """The sample is valid and has every field of its type; otherwise the tests below would check nothing."""
    decoded(binary(sample_of(event_type), type=event_type.encode()))


@INCOMING
def test_text_longer_than_its_schema_is_refused(event_type: EventType) -> None:
    """Lengths are UTF-16 units; a character beyond the basic plane has two."""
    for place, schema in data_leaves(event_type, "string"):
        if schema.get("format") in FORMS or schema["maxLength"] == PROSE_UNITS_MAX:
            continue
        longest = schema["maxLength"]
        for text in ("x" * longest, "\U0001d11e" * (longest // 2) + "x" * (longest % 2)):
            assert utf16_units(text) == longest
            read(event_type, place, text)
            assert_refused(event_type, place, text + "x")


@INCOMING
def test_number_out_of_its_schemas_range_is_refused(event_type: EventType) -> None:
    for place, schema in data_leaves(event_type, "integer"):
        for within in (schema["minimum"], schema["maximum"]):
            if place != ("attempt",):  # an activity's may be any; the rules check a deployment's
                read(event_type, place, within)
        for beyond in (schema["minimum"] - 1, schema["maximum"] + 1, 10**400, -(10**400), 1e300):
            assert_refused(event_type, place, beyond)


@INCOMING
def test_array_longer_than_its_schema_is_refused(event_type: EventType) -> None:
    for place, schema in data_leaves(event_type, "array"):
        activity = sample(schema["items"], schema_of(event_type)["$defs"])
        read(event_type, place, [activity] * schema["maxItems"])
        assert_refused(event_type, place, [activity] * (schema["maxItems"] + 1))
        assert_refused(event_type, place, [0] * (schema["maxItems"] + 1))


@INCOMING
def test_free_form_object_has_the_bounds_of_all_json(event_type: EventType) -> None:
    """The bounds are its depth and its numbers' digits and range; the event's size bounds its size."""
    schema = schema_of(event_type)
    free = [leaf.place[1:] for leaf in leaves(schema, schema["$defs"]) if is_free(leaf)]
    for place in free:
        levels = DEPTH_MAX - len(place)
        deepest: Any = 0
        for _ in range(levels - 1):
            deepest = [deepest]
        read(event_type, place, {"a": deepest})
        read(event_type, place, {"a": int("9" * 4300)})
        for beyond in (json.dumps([deepest]), "9" * (INTEGER_DIGITS_MAX + 1), "1e400"):
            whole = json.dumps(with_value(sample_of(event_type), place, {"a": "HERE"})).replace('"HERE"', beyond)
            given = record(whole.encode(), headers(type=event_type.encode()))
            assert refused(given).reason is Reason.MALFORMED_JSON


@pytest.mark.parametrize(
    ("name", "units_max"), [("id", NAME_UNITS_MAX), ("type", NAME_UNITS_MAX), ("source", SOURCE_UNITS_MAX)]
)
def test_stored_attributes_have_the_length_of_their_column(name: str, units_max: int) -> None:
    """Covers every attribute that is read as text; the schema has the same length for those that publishers choose."""
    texts = {field for field in read_attributes({}, faults={})._fields if field not in {"time", "problems", "trace"}}
    assert texts == {"id", "type", "source"}
    widest = "\U0001d11e" * (units_max // 2) + "x" * (units_max % 2)
    assert getattr(read_attributes({name: widest}, faults={}), name) == widest
    assert getattr(read_attributes({name: widest + "x"}, faults={}), name) is None
