"""The rows of `app_environments`: often another system's table, so its shape is looked up rather than assumed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, String, column, inspect, literal_column, null, select, table
from sqlalchemy.exc import NoSuchTableError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine, Uuid

from worker.db.statement import Write, WriteStatement, names_of
from worker.rules.errors import ConfigurationError
from worker.rules.rows import EnvironmentPointerMove

TABLE = "app_environments"
KEY_COLUMNS = ("environment_id", "component_id", "deployment_track_id")
POINTER_COLUMNS = ("release_mgt_release_id", "release_mgt_deployment_id", "release_mgt_deployment_name")


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
    async def look_up(cls, connection: AsyncConnection, *, fragments: PointerFragments) -> "Pointers | None":
        """None where the table lacks the columns that would tell which row is meant.

        Raises:
            ConfigurationError: there is no such table.
        """
        columns = await connection.run_sync(_columns)
        if not columns.keys() >= {*KEY_COLUMNS, *POINTER_COLUMNS}:
            return None
        texts = ("environment_id", "deployment_track_id", *POINTER_COLUMNS)
        if not all(isinstance(columns[name], String) for name in texts):
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


async def listing(connection: AsyncConnection, *, fragments: PointerFragments) -> "Select[Any] | None":
    """All rows in a total order, for pages: an id or null, the key, the pointer. None where the worker moves none.

    Two rows that the order does not tell apart are equal in all that is selected. The table may have no primary key.
    """
    if await Pointers.look_up(connection, fragments=fragments) is None:
        return None
    columns = await connection.run_sync(_columns)
    named = [*KEY_COLUMNS, *(["id"] if "id" in columns else []), *POINTER_COLUMNS]
    order: list[ColumnElement[Any]] = [
        literal_column(fragments.sorted_text(name)) if isinstance(columns[name], String) else column(name)
        for name in named
    ]
    own_id = column("id") if "id" in columns else null()
    selected: list[ColumnElement[Any]] = [column(name) for name in (*KEY_COLUMNS, *POINTER_COLUMNS)]
    return select(own_id.label("id"), *selected).select_from(table(TABLE)).order_by(*order)


def _columns(connection: Connection) -> dict[str, TypeEngine[object]]:
    try:
        return {column["name"]: column["type"] for column in inspect(connection).get_columns(TABLE)}
    except NoSuchTableError as error:
        raise ConfigurationError(f"the table {TABLE}, which the migrations create, is missing: restore it") from error


def _component_key(column_type: TypeEngine[object], fragments: PointerFragments) -> ComponentKey | None:
    """None where it is neither a UUID nor a text."""
    if isinstance(column_type, Uuid):
        return ComponentKey.UUID
    if not isinstance(column_type, String):
        return None
    collation = column_type.collation  # SQL Server's, such as Latin1_General_100_CS_AS
    case_matters = collation is not None and "_CI_" not in collation.upper()
    if case_matters and ComponentKey.CASE_SENSITIVE_TEXT in fragments.row:
        return ComponentKey.CASE_SENSITIVE_TEXT
    return ComponentKey.TEXT
