"""Whether a change of a published JSON Schema is compatible: `incompatibilities(old, new, direction)`.

Input, what publishers send: every event that fits the old schema fits the new one and means the same. A field that the
old schema does not name is ignored, and a later schema may name it; so new optional fields are compatible.
Output, what subscribers read: every event that fits the new schema fits the old one as subscribers read it, with
further fields; the old schema's `additionalProperties: false` does not count.

Both are one question: does each instance of the narrow schema fit the wide one? Each keyword of the wide schema must
follow from the keywords of the narrow schema, in each of its alternatives. No finding is a proof. A finding is no
disproof: what cannot be compared is refused. Of the libraries of November 2026, `jsoncompat` states that it can miss
incompatible changes, and `subsumes` and `ghga-jsonsubschema` need a later Python than this project.
"""

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial
from typing import Any

from schemas.described import Described
from schemas.schema_node import (
    MISSING,
    NUMBERS,
    All,
    Node,
    alternatives,
    anything,
    keyword_types,
    text_of,
    types_of,
    value_of,
)


class Direction(Enum):
    """Input: publishers keep the old schema. Output: subscribers keep the old schema."""

    INPUT = auto()
    OUTPUT = auto()


class Rule(Described):
    """What is refused. The meaning names both directions."""

    EVENT_TYPE = "event_type", "an event type is missing"
    FIELD = "field", "a field is missing"
    REQUIRED = "required", "input: an optional field became required; output: a field can be absent that was present"
    TYPE = "type", "input: a type is no longer accepted; output: a new type can occur, for example null"
    VALUES = "values", "input: a value is no longer accepted; output: a new value can occur, for example a new status"
    BOUND = "bound", "input: a bound became narrower; output: a bound became wider; a length, a size or a number"
    PATTERN = "pattern", "the pattern changed; to accept more, publish `anyOf` with the old and the new pattern"
    FORMAT = "format", "the format changed"
    CLOSED = "closed", "input: unknown fields are no longer ignored; output: their values have other types"
    ALTERNATIVES = "alternatives", "a value of this type fits none of the alternatives of the other schema"
    CONDITION = "condition", "a condition changed: `if`, `then`, `else` or `not`"
    DEFAULT = "default", "input: an omitted field means something else"
    KEYWORD = "keyword", "the comparison does not support this keyword"


@dataclass(frozen=True, slots=True, kw_only=True)
class Incompatibility:
    """`pointer`: a JSON pointer into the new schema; of a missing field, into the old schema."""

    rule: Rule
    pointer: str
    detail: str


def incompatibilities(
    old: Mapping[str, Any], new: Mapping[str, Any], direction: Direction
) -> tuple[Incompatibility, ...]:
    """What the change breaks; empty for a compatible change. Both schemas are whole documents."""
    before, after = Node(old, old, ""), Node(new, new, "")
    wide, narrow = (after, before) if direction is Direction.INPUT else (before, after)
    return tuple(dict.fromkeys(_Comparison(direction).compare(wide, (narrow,), frozenset())))


@dataclass(frozen=True, slots=True)
class _Bound:
    """`holds(measure(value), limit)`. `implied_by`: the keywords that imply it, by how they compare with its limit."""

    types: frozenset[str]
    measure: Callable[[Any], Any]
    holds: Callable[[Any, Any], bool]
    implied_by: Mapping[str, Callable[[Any, Any], bool]]


def _number(value: Any) -> Any:
    return value


_STRING, _ARRAY = frozenset({"string"}), frozenset({"array"})
_GE, _GT, _LE, _LT = operator.ge, operator.gt, operator.le, operator.lt
_BOUNDS: Mapping[str, _Bound] = {
    "minLength": _Bound(_STRING, len, _GE, {"minLength": _GE}),
    "maxLength": _Bound(_STRING, len, _LE, {"maxLength": _LE}),
    "minItems": _Bound(_ARRAY, len, _GE, {"minItems": _GE}),
    "maxItems": _Bound(_ARRAY, len, _LE, {"maxItems": _LE}),
    "minimum": _Bound(NUMBERS, _number, _GE, {"minimum": _GE, "exclusiveMinimum": _GE}),
    "maximum": _Bound(NUMBERS, _number, _LE, {"maximum": _LE, "exclusiveMaximum": _LE}),
    "exclusiveMinimum": _Bound(NUMBERS, _number, _GT, {"minimum": _GT, "exclusiveMinimum": _GE}),
    "exclusiveMaximum": _Bound(NUMBERS, _number, _LT, {"maximum": _LT, "exclusiveMaximum": _LE}),
}

_Seen = frozenset[tuple[Any, ...]]
_Findings = Iterator[Incompatibility]


class _Comparison:
    """Compares a wide schema with a narrow one; each method yields what does not follow."""

    def __init__(self, direction: Direction) -> None:
        self._input = direction is Direction.INPUT
        self._happens = "is no longer accepted" if self._input else "can occur now"
        self._checks: Mapping[str, Callable[[Node, All, _Seen], _Findings]] = {
            "$ref": lambda wide, narrow, seen: self._fits(wide.target(), narrow, seen),
            "allOf": self._all_of,
            "anyOf": self._any_of,
            "type": self._type,
            "enum": self._values,
            "const": self._values,
            **{keyword: partial(self._bound, keyword) for keyword in _BOUNDS},
            "pattern": self._pattern,
            "format": self._format,
            "items": self._items,
            "required": self._required,
            "properties": self._properties,
            "additionalProperties": self._additional,
            "not": self._not,
            "if": self._condition,
            # Compared together with `if`.
            "then": lambda *_: iter(()),
            "else": lambda *_: iter(()),
        }

    def compare(self, wide: Node, narrow: All, seen: _Seen) -> _Findings:
        """`seen`: the pairs under comparison. A pair that recurs by recursive references has no further findings."""
        pair = (wide.pointer, *((node.pointer, node.value is True) for node in narrow))
        if pair in seen:
            return
        yield from self._missing_fields((wide,), narrow)
        for alternative in alternatives(narrow):
            yield from self._fits(wide, alternative, seen | {pair})

    def _fits(self, wide: Node, narrow: All, seen: _Seen) -> _Findings:
        """`narrow`: one alternative."""
        if not types_of(narrow):
            return
        for node in (wide, *narrow):
            for keyword in sorted(node.keywords.keys() - node.annotations - self._checks.keys()):
                yield Incompatibility(rule=Rule.KEYWORD, pointer=f"{node.pointer}/{keyword}", detail=keyword)
        for keyword, check in self._checks.items():
            if keyword in wide.keywords:
                yield from check(wide, narrow, seen)

    def _found(self, rule: Rule, wide: Node, narrow: All, keyword: str, detail: str) -> Incompatibility:
        new = wide if self._input else narrow[-1]
        return Incompatibility(rule=rule, pointer=new.pointer_to(keyword), detail=detail)

    def _missing_fields(self, wide: All, narrow: All) -> _Findings:
        old, new = (narrow, wide) if self._input else (wide, narrow)
        kept = {name for alternative in alternatives(new) for node in alternative for name in node.fields}
        for alternative in alternatives(old):
            for node in alternative:
                for name in node.fields:
                    if name not in kept:
                        pointer = node.child("properties", name).pointer
                        yield Incompatibility(rule=Rule.FIELD, pointer=pointer, detail=f"{name} is missing")

    def _all_of(self, wide: Node, narrow: All, seen: _Seen) -> _Findings:
        for part in wide.children("allOf"):
            yield from self._fits(part, narrow, seen)

    def _any_of(self, wide: Node, narrow: All, seen: _Seen) -> _Findings:
        """One branch must accept all. Otherwise: what the nearest branch of the same type refuses."""
        types = types_of(narrow)
        near: list[tuple[Incompatibility, ...]] = []
        for branch in wide.children("anyOf"):
            found = tuple(dict.fromkeys(self._fits(branch, narrow, seen)))
            if not found:
                return
            if any(types & types_of(alternative) for alternative in alternatives((branch,))):
                near.append(found)
        if near:
            yield from min(near, key=len)
        else:
            yield self._found(Rule.ALTERNATIVES, wide, narrow, "anyOf", f"{', '.join(sorted(types))} {self._happens}")

    def _type(self, wide: Node, narrow: All, _seen: _Seen) -> _Findings:
        if more := types_of(narrow) - keyword_types(wide.keywords["type"]):
            yield self._found(Rule.TYPE, wide, narrow, "type", f"{', '.join(sorted(more))} {self._happens}")

    def _values(self, wide: Node, narrow: All, _seen: _Seen) -> _Findings:
        keyword = "const" if "const" in wide.keywords else "enum"
        accepted = [wide.keywords["const"]] if keyword == "const" else wide.keywords["enum"]
        value = value_of(narrow)
        if value is MISSING:
            detail = f"every value but {text_of(accepted)} {self._happens}"
            yield self._found(Rule.VALUES, wide, narrow, keyword, detail)
        elif text_of(value) not in map(text_of, accepted):
            yield self._found(Rule.VALUES, wide, narrow, keyword, f"{text_of(value)} {self._happens}")

    def _bound(self, keyword: str, wide: Node, narrow: All, _seen: _Seen) -> _Findings:
        bound, limit, value = _BOUNDS[keyword], wide.keywords[keyword], value_of(narrow)
        if not bound.types & types_of(narrow):
            return
        implied = (value is not MISSING and bound.holds(bound.measure(value), limit)) or any(
            other in node.keywords and holds(node.keywords[other], limit)
            for other, holds in bound.implied_by.items()
            for node in narrow
        )
        if not implied:
            other_side = next((node.keywords[keyword] for node in narrow if keyword in node.keywords), MISSING)
            old, new = (other_side, limit) if self._input else (limit, other_side)
            yield self._found(
                Rule.BOUND, wide, narrow, keyword, f"{keyword}: {text_of(old)} before, {text_of(new)} now"
            )

    def _pattern(self, wide: Node, narrow: All, _seen: _Seen) -> _Findings:
        pattern, value = wide.keywords["pattern"], value_of(narrow)
        if "string" not in types_of(narrow) or any(node.keywords.get("pattern") == pattern for node in narrow):
            return
        if value is MISSING or not re.search(pattern, value):
            yield self._found(Rule.PATTERN, wide, narrow, "pattern", f"other text than {pattern} {self._happens}")

    def _format(self, wide: Node, narrow: All, _seen: _Seen) -> _Findings:
        format_ = wide.keywords["format"]
        if "string" in types_of(narrow) and all(node.keywords.get("format") != format_ for node in narrow):
            yield self._found(Rule.FORMAT, wide, narrow, "format", f"other text than {format_} {self._happens}")

    def _items(self, wide: Node, narrow: All, seen: _Seen) -> _Findings:
        if "array" in types_of(narrow):
            items = tuple(node.child("items") for node in narrow if "items" in node.keywords)
            yield from self.compare(wide.child("items"), items or (anything(narrow[-1]),), seen)

    def _required(self, wide: Node, narrow: All, _seen: _Seen) -> _Findings:
        if "object" in types_of(narrow):
            given = {name for node in narrow for name in node.keywords.get("required", ())}
            for name in wide.keywords["required"]:
                if name not in given:
                    detail = f"{name} {'became required' if self._input else 'can be absent now'}"
                    yield self._found(Rule.REQUIRED, wide, narrow, "required", detail)

    def _properties(self, wide: Node, narrow: All, seen: _Seen) -> _Findings:
        if "object" not in types_of(narrow):
            return
        names_fields = any("properties" in node.keywords for node in narrow)
        for name in wide.fields:
            field = wide.child("properties", name)
            named = tuple(node.child("properties", name) for node in narrow if name in node.fields)
            further = _further(tuple(node for node in narrow if name not in node.fields))
            if self._input and names_fields and not named and not further:
                continue  # a new field
            yield from self.compare(field, named + further or (anything(narrow[-1]),), seen)
            if self._input and named:
                old = next((node.keywords["default"] for node in named if "default" in node.keywords), MISSING)
                new = field.keywords.get("default", MISSING)
                if text_of(old) != text_of(new):
                    detail = f"{text_of(old)} before, {text_of(new)} now"
                    yield self._found(Rule.DEFAULT, field, named, "default", detail)

    def _additional(self, wide: Node, narrow: All, seen: _Seen) -> _Findings:
        accepted = wide.child("additionalProperties")
        if "object" not in types_of(narrow) or (accepted.value is False and not self._input):
            return
        for node in narrow:
            for name in node.fields.keys() - wide.fields.keys():
                yield from self.compare(accepted, (node.child("properties", name),), seen)
        further = _further(narrow) or (anything(narrow[-1]),)
        if next(self.compare(accepted, further, seen), None) is not None:
            detail = f"further fields: another type {self._happens}"
            yield self._found(Rule.CLOSED, wide, narrow, "additionalProperties", detail)

    def _not(self, wide: Node, narrow: All, _seen: _Seen) -> _Findings:
        excluded = wide.child("not").inlined()
        if all("not" not in node.keywords or node.child("not").inlined() != excluded for node in narrow):
            yield self._found(Rule.CONDITION, wide, narrow, "not", f"what `not` excludes {self._happens}")

    def _condition(self, wide: Node, narrow: All, _seen: _Seen) -> _Findings:
        if wide.condition() not in [node.condition() for node in narrow]:
            yield self._found(Rule.CONDITION, wide, narrow, "if", f"what the condition refuses {self._happens}")


def _further(nodes: All) -> All:
    """The schemas of fields that are not named, where there are any."""
    return tuple(
        node.child("additionalProperties")
        for node in nodes
        if node.keywords.get("additionalProperties", True) is not True
    )
