"""A JSON Schema as a tree of nodes, and as a disjunction of alternatives: the parts that `compatibility` compares.

JSON Schema 2020-12, as far as the published schemas use it; references stay within their document.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

NUMBERS = frozenset({"integer", "number"})
"""`number` stands for numbers that are no integers; the keyword's `number` is both."""

MISSING = object()
ANNOTATIONS = frozenset(
    {"$schema", "$id", "$defs", "$comment", "title", "description", "default", "examples", "deprecated"}
)

_TYPES = frozenset({"null", "boolean", "string", "array", "object"}) | NUMBERS
_PYTHON_TYPES: Mapping[type, str] = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}
_SCHEMAS = frozenset({"not", "if", "then", "else", "items", "additionalProperties"})
_CONDITION = ("if", "then", "else")


@dataclass(frozen=True, slots=True)
class Node:
    """A schema within its document; `value` is an object or a boolean. `listed`: it stands for one of a list of types
    or values, which the pointer names.
    """

    value: Any
    document: Any
    pointer: str
    listed: bool = False

    @property
    def keywords(self) -> Mapping[str, Any]:
        if isinstance(self.value, bool):
            return {} if self.value else {"not": True}
        keywords: Mapping[str, Any] = self.value
        return keywords

    @property
    def fields(self) -> Mapping[str, Any]:
        fields: Mapping[str, Any] = self.keywords.get("properties", {})
        return fields

    @property
    def annotations(self) -> frozenset[str]:
        """The keywords that allow every instance. Below the root, `$id` would change what references name."""
        return ANNOTATIONS - {"$id"} if self.pointer else ANNOTATIONS

    def child(self, *steps: str | int) -> "Node":
        value = self.keywords
        for step in steps:
            value = value[step]  # type: ignore[index]
        escaped = (str(step).replace("~", "~0").replace("/", "~1") for step in steps)
        return Node(value, self.document, "/".join((self.pointer, *escaped)))

    def pointer_to(self, keyword: str) -> str:
        """The pointer to the keyword, or to the schema if it lacks the keyword."""
        present = not self.listed and not isinstance(self.value, bool) and keyword in self.value
        return f"{self.pointer}/{keyword}" if present else self.pointer

    def children(self, keyword: str) -> Iterator["Node"]:
        """The schemas of a keyword whose value is a list."""
        return (self.child(keyword, index) for index in range(len(self.keywords.get(keyword, ()))))

    def target(self) -> "Node":
        """The schema that `$ref` names."""
        steps = self.keywords["$ref"].split("/")[1:]
        return Node(self.document, self.document, "").child(*steps)

    def inlined(self) -> Any:
        """The value without references and annotations, to be compared as a whole."""
        inlined: dict[str, Any] = {}
        for keyword, value in self.keywords.items():
            match keyword:
                case "$ref":
                    inlined[keyword] = self.target().inlined()
                case "properties":
                    inlined[keyword] = {name: self.child(keyword, name).inlined() for name in value}
                case "allOf" | "anyOf":
                    inlined[keyword] = [child.inlined() for child in self.children(keyword)]
                case _ if keyword in _SCHEMAS:
                    inlined[keyword] = self.child(keyword).inlined()
                case _ if keyword not in ANNOTATIONS:
                    inlined[keyword] = value
        return inlined

    def condition(self) -> tuple[Any, ...] | None:
        """`if`, `then` and `else`, to be compared as a whole."""
        if "if" not in self.keywords:
            return None
        return tuple(self.child(part).inlined() if part in self.keywords else None for part in _CONDITION)


All = tuple[Node, ...]
"""Schemas that hold together."""


def anything(near: Node) -> Node:
    """The schema that every value fits, in place of a missing one."""
    return Node(value=True, document=near.document, pointer=near.pointer)


def alternatives(nodes: All) -> Iterator[All]:
    """The schemas as a disjunction: in each part every type and value is single, and references are followed."""
    for combination in product(*(tuple(_alternatives(node)) for node in nodes)):
        yield tuple(node for part in combination for node in part)


def types_of(nodes: All) -> frozenset[str]:
    """The types that an alternative allows; empty if no value fits it."""
    types, value = _TYPES, MISSING
    for node in nodes:
        keywords = node.keywords
        if keywords.get("not") in (True, {}):
            return frozenset()
        if "type" in keywords:
            types &= keyword_types(keywords["type"])
        if "const" in keywords:
            if value is not MISSING and text_of(value) != text_of(keywords["const"]):
                return frozenset()
            value = keywords["const"]
            types &= _value_types(value)
    return types


def value_of(nodes: All) -> Any:
    """The only value that an alternative allows, or MISSING."""
    return next((node.keywords["const"] for node in nodes if "const" in node.keywords), MISSING)


def keyword_types(value: str | list[str]) -> frozenset[str]:
    """What the keyword `type` allows."""
    types = frozenset([value] if isinstance(value, str) else value)
    return types | NUMBERS if "number" in types else types


def text_of(value: Any) -> str:
    """Equal texts for equal JSON values; `true` is not 1."""
    return "not set" if value is MISSING else json.dumps(value, sort_keys=True, ensure_ascii=False)


def _alternatives(node: Node) -> Iterator[All]:
    keywords = node.keywords
    parts: list[Iterable[All]] = [[(node,)]]
    if "$ref" in keywords:
        parts.append(_alternatives(node.target()))
    parts += [_alternatives(child) for child in node.children("allOf")]
    if "anyOf" in keywords:
        parts.append([alternative for branch in node.children("anyOf") for alternative in _alternatives(branch)])
    if isinstance(keywords.get("type"), list):
        parts.append(_single(node, "type", "type"))
    if "enum" in keywords:
        parts.append(_single(node, "enum", "const"))
    for combination in product(*parts):
        yield tuple(node for part in combination for node in part)


def _single(node: Node, keyword: str, single: str) -> list[All]:
    return [
        (Node({single: value}, node.document, f"{node.pointer}/{keyword}/{index}", listed=True),)
        for index, value in enumerate(node.keywords[keyword])
    ]


def _value_types(value: Any) -> frozenset[str]:
    if isinstance(value, float) and value.is_integer():
        return frozenset({"integer"})
    return frozenset({_PYTHON_TYPES[type(value)]})
