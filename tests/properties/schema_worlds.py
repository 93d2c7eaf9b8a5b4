"""Schemas, changes of them, and instances, for the properties of the compatibility check.

An instance is built along its schema, and kept if the schema accepts it. Publishers' fields that no schema names begin
with `x`: the check lets a later schema name a field that the old one does not.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
from hypothesis import strategies as st

from schemas.asyncapi_messages import event_schemas

NAMES = ("a", "b", "c")
UNKNOWN = "x1"
_PATTERNS = ("^a", "b$", "^[ab]*$")
_WORDS = ("", "a", "b", "ab", "ba", "aab", "aaaaaa")
_NUMBERS = (-3, -1, 0, 1, 2, 3, 5, 7)
_PUBLISHED = tuple(event_schemas().values())
_SAMPLES = (
    "0b6f1a52-5a4e-4c7f-9a34-0a6b3a0f5c11",
    "0B6F1A52-5A4E-4C7F-9A34-0A6B3A0F5C11",
    "2026-03-01",
    "2026-03-01T09:30:00Z",
    "2026-03-01T09:30:00.123456Z",
    "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "application/json",
)
"""Texts for the patterns of the published schemas."""

_TEXT_MAX = 300
_ADDITIONS: Mapping[str, Mapping[str, Any]] = {
    "string": {"pattern": _PATTERNS, "minLength": (1, 2), "maxLength": (1, 2, 5)},
    "integer": {"minimum": (0, 1), "maximum": (1, 2)},
    "number": {"type": ("integer",), "exclusiveMinimum": (0, 1)},
    "array": {"minItems": (1,), "maxItems": (1, 2)},
    "object": {"additionalProperties": (True, False, {"type": "string"})},
}
"""What a change adds to a schema of a type, or puts in the place of another value."""


def accepts(schema: Any, instance: Any) -> bool:
    return jsonschema.Draft202012Validator(schema).is_valid(instance)


@st.composite
def small_schemas(draw: st.DrawFn, depth: int = 2) -> Any:
    """Any schema in the keywords of the check, over few names, values and bounds."""
    kinds = ["string", "integer", "number", "null", "boolean", "enum", "const"]
    kind = draw(st.sampled_from(kinds + ["array", "object", "object", "anyOf", "allOf"] * (depth > 0)))
    schema: dict[str, Any] = {}
    match kind:
        case "enum":
            return {
                "enum": draw(st.lists(st.sampled_from([*_WORDS, *_NUMBERS, None, True]), min_size=1, unique_by=repr))
            }
        case "const":
            return {"const": draw(st.sampled_from([*_WORDS, *_NUMBERS, None, False]))}
        case "anyOf" | "allOf":
            # Parts with fields would need instances with the fields of all parts.
            parts = small_schemas(depth - 1) if kind == "anyOf" else small_schemas(0)
            return {kind: [draw(parts) for _ in range(draw(st.integers(1, 2)))]}
        case "string":
            _draw_some(draw, schema, {"minLength": (0, 1, 2), "maxLength": (1, 2, 3), "pattern": _PATTERNS})
        case "integer" | "number":
            bounds = dict.fromkeys(("minimum", "exclusiveMinimum"), (-1, 0, 1))
            _draw_some(draw, schema, bounds | dict.fromkeys(("maximum", "exclusiveMaximum"), (1, 2, 5)))
        case "array":
            _draw_some(draw, schema, {"minItems": (0, 1), "maxItems": (1, 2)})
            schema["items"] = draw(small_schemas(depth - 1))
        case "object":
            names = draw(st.sets(st.sampled_from(NAMES)))
            if names:
                schema["properties"] = {name: draw(small_schemas(depth - 1)) for name in sorted(names)}
                schema["required"] = sorted(draw(st.sets(st.sampled_from(sorted(names)))))
            if draw(st.booleans()):
                schema["additionalProperties"] = draw(st.booleans() | small_schemas(0))
    types = [kind, "null"] if draw(st.integers(0, 3)) == 0 else kind
    return {**schema, "type": types} if draw(st.integers(0, 9)) else schema


def _draw_some(draw: st.DrawFn, schema: dict[str, Any], choices: Mapping[str, Any]) -> None:
    for keyword, values in choices.items():
        if draw(st.integers(0, 2)) == 0:
            schema[keyword] = draw(st.sampled_from(values))


def schemas() -> st.SearchStrategy[Any]:
    return small_schemas() | st.sampled_from(_PUBLISHED)


@st.composite
def changed(draw: st.DrawFn, schema: Any) -> Any:
    """A copy of the schema with one or two changes, of which many are compatible in one direction."""
    schema = copy.deepcopy(schema)
    for _ in range(draw(st.integers(1, 2))):
        places = list(_subschemas(schema))
        places += [place for place in places if "properties" in place] * 3
        _change(draw, draw(st.sampled_from(places)) if places else {})
    return schema


def _subschemas(schema: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(schema, dict):
        return
    yield schema
    for keyword in ("properties", "$defs"):
        for value in schema.get(keyword, {}).values():
            yield from _subschemas(value)
    for keyword in ("anyOf", "allOf"):
        for value in schema.get(keyword, ()):
            yield from _subschemas(value)
    for keyword in ("items", "additionalProperties"):
        yield from _subschemas(schema.get(keyword))


def _change(draw: st.DrawFn, schema: dict[str, Any]) -> None:
    """Change one keyword in place, or add one."""
    added = _ADDITIONS.get(str(schema.get("type")), {})
    if added and draw(st.integers(0, 2)) == 0:
        keyword = draw(st.sampled_from(sorted(added)))
        schema[keyword] = draw(st.sampled_from(added[keyword]))
        return
    keyword = draw(
        st.sampled_from(sorted(schema.keys() - {"$schema", "$id", "$defs", "title", "description"}) or ["type"])
    )
    value = schema.get(keyword)
    match keyword, value:
        case ("properties", dict(fields)):
            name = draw(st.sampled_from([*NAMES, *sorted(fields)]))
            if draw(st.booleans()):
                fields[name] = draw(small_schemas(1))
            else:
                fields.pop(name, None)
        case ("required", list(names)):
            known = sorted(schema.get("properties", {}))
            schema["required"] = sorted(set(names) ^ {draw(st.sampled_from(known or ["a"]))})
        case ("type", str()):
            schema["type"] = draw(st.sampled_from(["string", "integer", "number", "null", "object"]))
        case ("enum", list(values)):
            schema["enum"] = draw(st.sampled_from([[*values, "new"], values[1:] or ["other"]]))
        case (_, bool()):
            schema[keyword] = draw(st.booleans() | small_schemas(0))
        case (_, int(number)):
            schema[keyword] = max(0, number + draw(st.sampled_from([-1, 1]))) if "m" in keyword[:3] else number
        case ("anyOf" | "allOf", list(branches)):
            if draw(st.booleans()):
                branches.append(draw(small_schemas(1 if keyword == "anyOf" else 0)))
            elif len(branches) > 1:
                branches.pop()
        case _ if draw(st.booleans()):
            schema.pop(keyword, None)
        case _:
            inner = dict(schema)
            schema.clear()
            schema |= {name: inner.pop(name) for name in ("$schema", "$id", "$defs") if name in inner}
            schema["anyOf"] = [inner, draw(small_schemas(1))]


def instances(schema: Any, *, names: tuple[str, ...]) -> st.SearchStrategy[Any]:
    """Instances that the schema accepts. `names`: further fields of objects whose fields are named."""
    return _instances(schema, schema, names).filter(lambda instance: accepts(schema, instance))


def _instances(schema: Any, document: Any, names: tuple[str, ...]) -> st.SearchStrategy[Any]:
    match schema:
        case {"$ref": str(reference)}:
            target = document
            for step in reference.removeprefix("#/").split("/"):
                target = target[step]
            return _instances(target, document, names)
        case {"anyOf": list(branches)} | {"allOf": list(branches)}:
            return st.one_of([_instances(branch, document, names) for branch in branches])
        case {"properties": dict()}:
            return _objects(schema, document, names) | _scalars(schema)
        case {"type": list(types)}:
            return st.one_of([_instances({**schema, "type": type_}, document, names) for type_ in types])
        case {"type": "object"}:
            return _objects(schema, document, (*NAMES, UNKNOWN))
        case {"type": "array"}:
            return st.lists(_instances(schema.get("items", True), document, names), max_size=3)
        case True:
            scalars = _scalars({})
            objects = st.dictionaries(st.sampled_from([*NAMES, UNKNOWN]), scalars, max_size=3)
            return scalars | st.lists(scalars, max_size=2) | objects
        case _:
            return _scalars(schema)


def _scalars(schema: Any) -> st.SearchStrategy[Any]:
    """Those of a pool that the schema accepts, with the neighbours of its bounds."""
    pool: list[Any] = [None, True, False, 0.5, 1.5, *_NUMBERS, *_WORDS, *_SAMPLES]
    if isinstance(schema, dict):
        pool += schema.get("enum", [])
        pool += [schema[keyword] for keyword in ("const",) if keyword in schema]
        pool += [schema[key] + step for key in schema if "imum" in key for step in (-1, 0, 1)]
        lengths = [schema[key] for key in ("minLength", "maxLength") if key in schema]
        pool += ["a" * length for length in lengths if length <= _TEXT_MAX]
    accepted = [value for value in pool if accepts(schema, value)]
    return st.sampled_from(accepted) if accepted else st.nothing()


def _objects(schema: Mapping[str, Any], document: Any, names: tuple[str, ...]) -> st.SearchStrategy[Any]:
    fields = schema.get("properties", {})
    required = [name for name in schema.get("required", ()) if name in fields]
    further = schema.get("additionalProperties", True)
    optional = {name: _instances(field, document, names) for name, field in fields.items() if name not in required}
    if further is not False:
        optional |= {name: _instances(further, document, names) for name in names if name not in fields}
    return st.fixed_dictionaries(
        {name: _instances(fields[name], document, names) for name in required},
        optional={name: values for name, values in optional.items() if not values.is_empty},
    )
