"""The compatibility check: which changes of a schema it refuses, and where."""

import json
from typing import Any

import jsonschema
import pytest

from schemas.compatibility import Direction, Rule, incompatibilities
from schemas.json_schemas import FOLDER as JSON_SCHEMAS
from tests.unit.schemas.compatibility_cases import (
    BREAKING_INPUT,
    BREAKING_OUTPUT,
    COMPATIBLE_INPUT,
    COMPATIBLE_OUTPUT,
    EXAMPLES,
    Case,
)
from tests.unit.schemas.json_edits import at_pointer, edited, opened
from tests.unit.schemas.schema_files import EXAMPLES as FOLDER
from tests.unit.schemas.schema_files import schema_of

BREAKING = (*BREAKING_INPUT, *BREAKING_OUTPUT)
COMPATIBLE = (*COMPATIBLE_INPUT, *COMPATIBLE_OUTPUT)


def schemas_of(case: Case) -> tuple[Any, Any]:
    old = edited(schema_of(case.schema), case.before)
    return old, edited(old, case.edits)


def fits(schema: Any, event: Any) -> bool:
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    return jsonschema.Draft202012Validator(schema, format_checker=checker).is_valid(event)


def example_of(case: Case) -> Any:
    name = EXAMPLES.get(case.schema, "valid-full")
    return json.loads((FOLDER / case.schema / f"{name}.json").read_bytes())


def test_there_are_enough_cases_of_each_kind() -> None:
    """Each rule is shown by a case, but for a missing event type, which is no change of a schema."""
    assert len(BREAKING) > 50
    assert len(COMPATIBLE) > 40
    assert {case.rule for case in BREAKING} == set(Rule) - {Rule.EVENT_TYPE}


@pytest.mark.parametrize("case", BREAKING, ids=lambda case: f"{case.direction.name.lower()}-{case.name}")
def test_breaking_changes_are_refused(case: Case) -> None:
    """The finding names the rule, and a pointer into the new schema; into the old one where a field is missing."""
    old, new = schemas_of(case)
    found = incompatibilities(old, new, case.direction)
    assert (case.rule, case.pointer) in [(one.rule, one.pointer) for one in found]
    for one in found:
        at_pointer(old if one.rule is Rule.FIELD else new, one.pointer)


@pytest.mark.parametrize(
    "case",
    [case for case in BREAKING if case.witness is not None],
    ids=lambda case: f"{case.direction.name.lower()}-{case.name}",
)
def test_breaking_changes_break_an_event(case: Case) -> None:
    """Publishers send the witness before the change, subscribers read it after the change."""
    old, new = schemas_of(case)
    event = edited(example_of(case), case.witness or ())
    if case.direction is Direction.INPUT:
        assert fits(old, event)
        assert not fits(new, event)
    else:
        assert fits(new, event)
        assert not fits(opened(old), event)


@pytest.mark.parametrize("case", COMPATIBLE, ids=lambda case: f"{case.direction.name.lower()}-{case.name}")
def test_compatible_changes_pass(case: Case) -> None:
    old, new = schemas_of(case)
    assert incompatibilities(old, new, case.direction) == ()
    if case.direction is Direction.INPUT:
        for path in (FOLDER / case.schema).glob("valid-*.json"):
            event = json.loads(path.read_bytes())
            assert not fits(old, event) or fits(new, event)


@pytest.mark.parametrize("name", sorted(path.stem for path in JSON_SCHEMAS.glob("dev.rudder.*.json")))
@pytest.mark.parametrize("direction", list(Direction))
def test_every_published_schema_is_compatible_with_itself(name: str, direction: Direction) -> None:
    """The check supports every keyword that the published schemas use."""
    schema = schema_of(name)
    assert incompatibilities(schema, schema, direction) == ()


def test_recursive_schemas_are_compared() -> None:
    """A pair of schemas that recurs is compared once."""
    tree = {"type": "object", "properties": {"children": {"type": "array", "items": {"$ref": "#"}}}}
    named = edited(tree, [("/properties/name", {"type": "string"})])
    assert incompatibilities(tree, named, Direction.INPUT) == ()
    assert incompatibilities(named, edited(named, [("/properties/name/type", "null")]), Direction.OUTPUT) != ()
