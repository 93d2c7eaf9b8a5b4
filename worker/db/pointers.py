"""The rows of `app_environments`: often another system's table, so its shape is looked up rather than assumed."""

from typing import Any
from uuid import UUID

from sqlalchemy import ColumnClause, Connection, Select, String, column, inspect, null, select, table
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine, Uuid

from worker.domain.rows import PointerMove

TABLE = "app_environments"
KEY_COLUMNS = ("environment_id", "component_id", "deployment_track_id")
POINTER_COLUMNS = ("release_mgt_release_id", "release_mgt_deployment_id", "release_mgt_deployment_name")

EXACTLY = "COLUMN = VALUE"
"""That a column is a text to the letter, for databases that compare texts so."""

_MOVE = (
    "UPDATE app_environments SET release_mgt_release_id = ?, release_mgt_deployment_id = ?, "
    "release_mgt_deployment_name = ? WHERE {environment} AND component_id = ? AND {track} AND release_mgt_deployment_id"
)


class Pointers:
    """What the table's key looks like. `component_is_uuid`: rather than the same as text, in lower case. `exactly`:
    the database's words for EXACTLY.
    """

    def __init__(self, *, component_is_uuid: bool, exactly: str = EXACTLY) -> None:
        self.component_is_uuid = component_is_uuid
        self._times = exactly.count("VALUE")
        environment, track = (
            exactly.replace("COLUMN", column).replace("VALUE", "?")
            for column in ("environment_id", "deployment_track_id")
        )
        self._move = _MOVE.format(environment=environment, track=track)

    @classmethod
    async def look_up(cls, connection: AsyncConnection, *, exactly: str) -> "Pointers | None":
        """None where the table lacks the columns that would tell which row is meant."""
        columns = await connection.run_sync(_columns)
        if not columns.keys() >= {*KEY_COLUMNS, *POINTER_COLUMNS}:
            return None
        texts = ("environment_id", "deployment_track_id", *POINTER_COLUMNS)
        if not all(isinstance(columns[name], String) for name in texts) or not isinstance(
            columns["component_id"], String | Uuid
        ):
            return None  # keys of another kind: they are none of the ids that events carry
        component_is_uuid = isinstance(columns["component_id"], Uuid) or _is_ours(columns["component_id"])
        return cls(component_is_uuid=component_is_uuid, exactly=exactly)

    def move(self, move: PointerMove) -> tuple[str, tuple[object, ...]]:
        """The UPDATE, a `?` for each parameter; it finds no row where the pointer is no longer what was read."""
        component: UUID | str = move.component_id if self.component_is_uuid else str(move.component_id)
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


async def listing(connection: AsyncConnection, *, exactly: str) -> "Select[Any] | None":
    """All rows in an order of their own: an id or null, the key, the pointer. None where the worker moves none."""
    if await Pointers.look_up(connection, exactly=exactly) is None:
        return None
    columns = await connection.run_sync(_columns)
    named: list[ColumnClause[Any]] = [column(name) for name in (*KEY_COLUMNS, *POINTER_COLUMNS)]
    own_id = column("id") if "id" in columns else null()
    return select(own_id.label("id"), *named).select_from(table(TABLE)).order_by(*named)


def _columns(connection: Connection) -> dict[str, TypeEngine[object]]:
    return {column["name"]: column["type"] for column in inspect(connection).get_columns(TABLE)}


def _is_ours(column_type: TypeEngine[object]) -> bool:
    """Whether it is the text that SQLite keeps UUIDs in."""
    return isinstance(column_type, String) and column_type.length == len(str(UUID(int=0)))
