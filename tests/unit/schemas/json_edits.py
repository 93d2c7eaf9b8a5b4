"""Edits of JSON documents by JSON pointer, for tables of changes."""

import copy
from collections.abc import Iterable
from typing import Any, Final

REMOVED: Final = object()
"""As a value: remove the member."""

Edit = tuple[str, Any]
"""A JSON pointer, and the new value of what it names; `-` as last step appends to an array."""


def edited(document: Any, edits: Iterable[Edit]) -> Any:
    """A copy with the edits applied in order."""
    document = copy.deepcopy(document)
    for pointer, value in edits:
        *steps, last = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
        parent = document
        for step in steps:
            parent = parent[int(step)] if isinstance(parent, list) else parent[step]
        if isinstance(parent, list):
            if value is REMOVED:
                del parent[int(last)]
            elif last == "-":
                parent.append(copy.deepcopy(value))
            else:
                parent[int(last)] = copy.deepcopy(value)
        elif value is REMOVED:
            del parent[last]
        else:
            parent[last] = copy.deepcopy(value)
    return document


def at_pointer(document: Any, pointer: str) -> Any:
    """Raises KeyError or IndexError where it names nothing."""
    for step in pointer.split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        document = document[int(step)] if isinstance(document, list) else document[step]
    return document


def opened(schema: Any) -> Any:
    """A schema as subscribers should read it: with further fields."""
    if isinstance(schema, dict):
        return {
            key: opened(value)
            for key, value in schema.items()
            if not (key == "additionalProperties" and value is False)
        }
    return [opened(value) for value in schema] if isinstance(schema, list) else schema
