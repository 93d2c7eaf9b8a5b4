"""The rows of `app_environments`: often another system's table, so its shape is looked up rather than assumed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, assert_never

from worker.db.statement import Write, WriteStatement, names_of
from worker.rules.errors import ConfigurationError
from worker.rules.rows import EnvironmentPointerMove

TABLE = "app_environments"
KEY_COLUMNS = ("environment_id", "component_id", "deployment_track_id")
POINTER_COLUMNS = ("release_mgt_release_id", "release_mgt_deployment_id", "release_mgt_deployment_name")


class ColumnKind(Enum):
    """What a column of the table is. CASE_SENSITIVE_TEXT: upper and lower case are known to differ."""

    UUID = auto()
    TEXT = auto()
    CASE_SENSITIVE_TEXT = auto()
    OTHER = auto()


TEXTS: Final = frozenset({ColumnKind.TEXT, ColumnKind.CASE_SENSITIVE_TEXT})


class ComponentKey(Enum):
    """What the table's `component_id` is. CASE_SENSITIVE_TEXT: in which upper and lower case differ, where the database
    has texts in which they do not.
    """

    UUID = auto()
    TEXT = auto()
    CASE_SENSITIVE_TEXT = auto()


_SET: Final = (
    "UPDATE app_environments SET release_mgt_release_id = :release_id, release_mgt_deployment_id = :deployment_id, "
    "release_mgt_deployment_name = :deployment_name"
)
_FINDS: Final = "app_environments row"

PLAIN_ROW: Final = (
    "environment_id = :environment_id AND component_id = :component_id AND deployment_track_id = :deployment_track_id"
)
"""For databases that compare texts exactly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointerFragments:
    """How one database compares the texts of a key. `row`: the condition for a row, by what the component is.
    `sorted_text`: an expression that sorts any two different texts of a column apart.
    """

    row: Mapping[ComponentKey, str]
    sorted_text: Callable[[str], str]


class Pointers:
    """The statements that move a pointer, for the table as it is."""

    def __init__(self, component: ComponentKey, fragments: PointerFragments) -> None:
        self.component = component
        row = fragments.row[component]
        # Either finds no row where the pointer is no longer what was read.
        self._move = _move(f"{_SET} WHERE {row} AND release_mgt_deployment_id = :previous")
        self._set = _move(f"{_SET} WHERE {row} AND release_mgt_deployment_id IS NULL")

    @classmethod
    def of_columns(cls, columns: Mapping[str, ColumnKind], *, fragments: PointerFragments) -> "Pointers | None":
        """None where the table lacks the columns that would tell which row is meant."""
        if not columns.keys() >= {*KEY_COLUMNS, *POINTER_COLUMNS}:
            return None
        texts = ("environment_id", "deployment_track_id", *POINTER_COLUMNS)
        if not all(columns[name] in TEXTS for name in texts):
            return None  # keys of another kind: they are none of the ids that events carry
        component = _component_key(columns["component_id"], fragments)
        return None if component is None else cls(component, fragments)

    def move(self, move: EnvironmentPointerMove) -> Write:
        component = str(move.component_id) if self.component is ComponentKey.TEXT else move.component_id
        values = {
            "release_id": str(move.release_id),
            "deployment_id": str(move.deployment_id),
            "deployment_name": move.deployment_name,
            "environment_id": move.environment_id,
            "component_id": component,
            "deployment_track_id": move.deployment_track_id,
            "previous": move.previous,
        }
        statement, names = self._set if move.previous is None else self._move
        return Write(statement, tuple([values[name] for name in names]))


def _move(sql: str) -> tuple[WriteStatement, tuple[str, ...]]:
    return WriteStatement("pointer", sql, _FINDS), names_of(sql)


def require_columns(columns: Mapping[str, ColumnKind] | None) -> Mapping[str, ColumnKind]:
    """Those of the table. Raises ConfigurationError for None: there is no such table."""
    if columns is None:
        raise ConfigurationError(f"the table {TABLE}, which the migrations create, is missing: restore it")
    return columns


def _component_key(kind: ColumnKind, fragments: PointerFragments) -> ComponentKey | None:
    """None where it is neither a UUID nor a text."""
    match kind:
        case ColumnKind.UUID:
            return ComponentKey.UUID
        case ColumnKind.CASE_SENSITIVE_TEXT if ComponentKey.CASE_SENSITIVE_TEXT in fragments.row:
            return ComponentKey.CASE_SENSITIVE_TEXT
        case ColumnKind.TEXT | ColumnKind.CASE_SENSITIVE_TEXT:
            return ComponentKey.TEXT
        case ColumnKind.OTHER:
            return None
        case _:
            assert_never(kind)
