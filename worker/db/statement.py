"""Statements are written with `:name` for their parameters; drivers take numbers or question marks."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from operator import attrgetter
from typing import Any

_NAME = re.compile(r"(?<!:):([a-z_][a-z_0-9]*)")  # not PostgreSQL's `::type`


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL for a driver, and the names of its parameters in the driver's order."""

    sql: str
    names: tuple[str, ...]

    def getter(self) -> Callable[[object], tuple[Any, ...]]:
        """What takes the parameters from an object that has their names as attributes."""
        if len(self.names) > 1:
            return attrgetter(*self.names)
        get = attrgetter(self.names[0])
        return lambda source: (get(source),)


def names_of(sql: str) -> tuple[str, ...]:
    """The parameters in the order in which they occur; one that occurs twice is there twice."""
    return tuple(_NAME.findall(sql))


def numbered(sql: str) -> Statement:
    """`$1`, `$2` …, the same number wherever a name is repeated."""
    names = tuple(dict.fromkeys(names_of(sql)))
    return Statement(_NAME.sub(lambda match: f"${names.index(match[1]) + 1}", sql), names)


def positional(sql: str) -> Statement:
    """A `?` each time."""
    return Statement(_NAME.sub("?", sql), names_of(sql))


def numbered_each(sql: str) -> Statement:
    """`$1`, `$2` …, another number each time: for parts that use the same names for different values."""
    numbers = count(1)
    return Statement(_NAME.sub(lambda _match: f"${next(numbers)}", sql), names_of(sql))


@dataclass(frozen=True, slots=True, eq=False)
class WriteStatement:
    """`name`: what it does, also the name of its part where all parts are one statement. `finds`: the row that it must
    find, or another transaction was first; None for an INSERT, which meets its own key.
    """

    name: str
    sql: str
    finds: str | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """A statement, and its values in the order of its parameters."""

    statement: WriteStatement
    values: tuple[object, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """That a query finds a row (`exists`) or none while the batch is written. `row`: what has changed if not."""

    query: str
    row: str
    exists: bool = False

    @property
    def holds(self) -> str:
        return f"{'EXISTS' if self.exists else 'NOT EXISTS'} ({self.query})"

    @property
    def fails(self) -> str:
        return f"{'NOT EXISTS' if self.exists else 'EXISTS'} ({self.query})"


@dataclass(frozen=True, slots=True)
class Check:
    """A condition, and its values in the order of its parameters."""

    condition: Condition
    values: tuple[object, ...]
