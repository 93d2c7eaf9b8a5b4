"""Statements are written with `:name` for their parameters; drivers want numbers or question marks."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_NAME = re.compile(r"(?<!:):([a-z_]+)")  # not PostgreSQL's `::type`


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL for a driver, and which values it takes in which order."""

    sql: str
    names: tuple[str, ...]

    def parameters(self, values: Mapping[str, object]) -> tuple[object, ...]:
        return tuple([values[name] for name in self.names])


def numbered(sql: str) -> Statement:
    """`$1`, `$2` …, the same number wherever a name is repeated."""
    names = tuple(dict.fromkeys(_NAME.findall(sql)))
    return Statement(_NAME.sub(lambda match: f"${names.index(match[1]) + 1}", sql), names)


def positional(sql: str) -> Statement:
    """A `?` each time."""
    return Statement(_NAME.sub("?", sql), tuple(_NAME.findall(sql)))
