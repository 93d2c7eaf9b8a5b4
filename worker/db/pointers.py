"""The rows of `app_environments`: often another system's table, so its shape is looked up rather than assumed."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Connection, Select, String, column, inspect, literal_column, null, select, table
from sqlalchemy.exc import NoSuchTableError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine, Uuid

from worker.rules.errors import ConfigurationError
from worker.rules.rows import EnvironmentPointerMove

TABLE = "app_environments"
KEY_COLUMNS = ("environment_id", "component_id", "deployment_track_id")
POINTER_COLUMNS = ("release_mgt_release_id", "release_mgt_deployment_id", "release_mgt_deployment_name")

EXACTLY = "COLUMN = VALUE"
"""That a column is a text to the letter, for databases that compare texts so."""

_MOVE = (
    "UPDATE app_environments SET release_mgt_release_id = ?, release_mgt_deployment_id = ?, "
    "release_mgt_deployment_name = ? WHERE {environment} AND {component} = ? AND {track} AND release_mgt_deployment_id"
)


@dataclass(frozen=True, slots=True)
class KeyFragments:
    """How one database compares the texts of a key. `exactly`: its form of EXACTLY. `order`: an expression that sorts
    two different texts `COLUMN` apart. `uuid_of_text`: of a `TEXT`, null where it is none; None where case matters in
    every text, or in none.
    """

    exactly: str = EXACTLY
    order: str = "COLUMN"
    uuid_of_text: str | None = None


class Pointers:
    """What the table's key looks like. `component_is_uuid`: rather than the same as text. `component_case_matters`:
    upper and lower case differ in that text.
    """

    def __init__(
        self, *, component_is_uuid: bool, component_case_matters: bool = False, fragments: KeyFragments | None = None
    ) -> None:
        fragments = fragments or KeyFragments()
        exactly = fragments.exactly
        self.component_is_uuid = component_is_uuid
        self.component_case_matters = component_case_matters
        self._times = exactly.count("VALUE")
        environment, track = (
            exactly.replace("COLUMN", column).replace("VALUE", "?")
            for column in ("environment_id", "deployment_track_id")
        )
        component = "component_id"
        if component_case_matters and fragments.uuid_of_text is not None:
            component = fragments.uuid_of_text.replace("TEXT", component)
        self._move = _MOVE.format(environment=environment, component=component, track=track)

    @classmethod
    async def look_up(cls, connection: AsyncConnection, *, fragments: KeyFragments) -> "Pointers | None":
        """None where the table lacks the columns that would tell which row is meant.

        Raises:
            ConfigurationError: there is no such table.
        """
        columns = await connection.run_sync(_columns)
        if not columns.keys() >= {*KEY_COLUMNS, *POINTER_COLUMNS}:
            return None
        texts = ("environment_id", "deployment_track_id", *POINTER_COLUMNS)
        if not all(isinstance(columns[name], String) for name in texts) or not isinstance(
            columns["component_id"], String | Uuid
        ):
            return None  # keys of another kind: they are none of the ids that events carry
        component_is_uuid = isinstance(columns["component_id"], Uuid) or _is_ours(columns["component_id"])
        return cls(
            component_is_uuid=component_is_uuid,
            component_case_matters=(
                not component_is_uuid and fragments.uuid_of_text is not None and _case_matters(columns["component_id"])
            ),
            fragments=fragments,
        )

    def move(self, move: EnvironmentPointerMove) -> tuple[str, tuple[object, ...]]:
        """The UPDATE, a `?` for each parameter; it finds no row where the pointer is no longer what was read."""
        as_uuid = self.component_is_uuid or self.component_case_matters
        component: UUID | str = move.component_id if as_uuid else str(move.component_id)
        parameters = (
            str(move.release_id),
            str(move.deployment_id),
            move.deployment_name,
            *[move.environment_id] * self._times,
            component,
            *[move.deployment_track_id] * self._times,
        )
        if move.previous is None:
            return f"{self._move} IS NULL", parameters
        return f"{self._move} = ?", (*parameters, move.previous)


async def listing(connection: AsyncConnection, *, fragments: KeyFragments) -> "Select[Any] | None":
    """All rows in a total order, for pages: an id or null, the key, the pointer. None where the worker moves none.

    Two rows that the order does not tell apart are equal in all that is selected. The table may have no primary key.
    """
    if await Pointers.look_up(connection, fragments=fragments) is None:
        return None
    columns = await connection.run_sync(_columns)
    named = [*KEY_COLUMNS, *(["id"] if "id" in columns else []), *POINTER_COLUMNS]
    order: list[ColumnElement[Any]] = [
        literal_column(fragments.order.replace("COLUMN", name)) if isinstance(columns[name], String) else column(name)
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


def _case_matters(column_type: TypeEngine[object]) -> bool:
    """By SQL Server's names of collations, such as Latin1_General_100_CS_AS."""
    collation = column_type.collation if isinstance(column_type, String) else None
    return collation is not None and "_CI_" not in collation.upper()


def _is_ours(column_type: TypeEngine[object]) -> bool:
    """Whether it is the text that SQLite keeps UUIDs in."""
    return isinstance(column_type, String) and column_type.length == len(str(UUID(int=0)))
