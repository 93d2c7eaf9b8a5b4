"""The rows of `app_environments`: often another system's table, so its shape is looked up rather than assumed."""

from uuid import UUID

from sqlalchemy import Column, Connection, MetaData, String, Table, Unicode, bindparam, inspect, select, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine, Uuid

from worker.db.tables import DEPLOYMENTS
from worker.db.types import Guid
from worker.domain.errors import Conflict
from worker.domain.rows import Pointer, PointerMove

TABLE = "app_environments"
KEY_COLUMNS = ("environment_id", "component_id", "deployment_track_id")
POINTER_COLUMNS = ("release_mgt_release_id", "release_mgt_deployment_id", "release_mgt_deployment_name")

_POINTED = select(DEPLOYMENTS.c.release_mgt_id, DEPLOYMENTS.c.deployed_at).where(
    DEPLOYMENTS.c.id == bindparam("wanted_id")
)


class Pointers:
    """Reads and moves what environments point at, in a table with the key columns."""

    def __init__(self, *, component_is_uuid: bool) -> None:
        component: TypeEngine[UUID] | TypeEngine[str] = Guid() if component_is_uuid else Unicode()
        table = Table(
            TABLE,
            MetaData(),
            Column("environment_id", Unicode()),
            Column("component_id", component),
            Column("deployment_track_id", Unicode()),
            *(Column(name, Unicode()) for name in POINTER_COLUMNS),
        )
        self._component_is_uuid = component_is_uuid
        key = [table.c[name] == bindparam(f"wanted_{name}") for name in KEY_COLUMNS]
        pointed = table.c.release_mgt_deployment_id
        self._select = select(pointed).where(*key)
        change = update(table).values({name: bindparam(name) for name in POINTER_COLUMNS})
        self._first = change.where(*key, pointed.is_(None))
        self._next = change.where(*key, pointed == bindparam("previous"))

    @classmethod
    async def look_up(cls, connection: AsyncConnection) -> "Pointers | None":
        """None where the table lacks the columns that would tell which row is meant."""
        columns = await connection.run_sync(_columns)
        if not columns.keys() >= {*KEY_COLUMNS, *POINTER_COLUMNS}:
            return None
        texts = ("environment_id", "deployment_track_id", *POINTER_COLUMNS)
        if not all(isinstance(columns[name], String) for name in texts) or not isinstance(
            columns["component_id"], String | Uuid
        ):
            return None  # keys of another kind: they are none of the ids that events carry
        return cls(component_is_uuid=isinstance(columns["component_id"], Uuid) or _is_ours(columns["component_id"]))

    async def load(
        self, connection: AsyncConnection, *, environment_id: str, component_id: UUID, deployment_track_id: str
    ) -> Pointer | None:
        row = (
            await connection.execute(self._select, self._key(environment_id, component_id, deployment_track_id))
        ).first()
        if row is None:
            return None
        text: str | None = row[0]
        try:
            wanted_id = UUID(text) if text else None
        except ValueError:
            wanted_id = None  # somebody else's text: it points at nothing of ours
        deployed = None
        if wanted_id is not None:
            deployed = (await connection.execute(_POINTED, {"wanted_id": wanted_id})).first()
        if deployed is None:
            return Pointer(deployment_id=text)
        return Pointer(deployment_id=text, release_id=deployed.release_mgt_id, deployed_at=deployed.deployed_at)

    async def move(self, connection: AsyncConnection, move: PointerMove) -> None:
        """Point the row at the deployment.

        Raises:
            Conflict: it no longer points at what was read.
        """
        parameters = self._key(move.environment_id, move.component_id, move.deployment_track_id) | {
            "release_mgt_release_id": str(move.release_id),
            "release_mgt_deployment_id": str(move.deployment_id),
            "release_mgt_deployment_name": move.deployment_name,
        }
        if move.previous is None:
            result = await connection.execute(self._first, parameters)
        else:
            result = await connection.execute(self._next, parameters | {"previous": move.previous})
        if not result.rowcount:
            raise Conflict(f"{TABLE}: the row was changed meanwhile")

    def _key(self, environment_id: str, component_id: UUID, deployment_track_id: str) -> dict[str, object]:
        return {
            "wanted_environment_id": environment_id,
            "wanted_component_id": component_id if self._component_is_uuid else str(component_id),
            "wanted_deployment_track_id": deployment_track_id,
        }


def _columns(connection: Connection) -> dict[str, TypeEngine[object]]:
    return {column["name"]: column["type"] for column in inspect(connection).get_columns(TABLE)}


def _is_ours(column_type: TypeEngine[object]) -> bool:
    """Whether it is the text that SQLite keeps UUIDs in, which `Guid` reads and writes."""
    return isinstance(column_type, String) and column_type.length == len(str(UUID(int=0)))
