"""What a database is like, by SQLAlchemy's inspector: its revision, and the columns of `app_environments`."""

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    String,
    column,
    inspect,
    literal_column,
    null,
    select,
    table,
    text,
)
from sqlalchemy.exc import NoSuchTableError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.types import TypeEngine, Uuid

from worker.db.pointers import (
    KEY_COLUMNS,
    POINTER_COLUMNS,
    TABLE,
    TEXTS,
    ColumnKind,
    PointerFragments,
    Pointers,
    require_columns,
)
from worker.db.revisions import VERSION_TABLE, require_head
from worker.db.session import Examination

if TYPE_CHECKING:
    from worker.db.dialect import Dialect


async def examination(engine: AsyncEngine, dialect: "Dialect") -> Examination:
    """What a store looks at when it is opened."""
    async with engine.connect() as connection, connection.begin():
        return Examination(
            revision=await current_revision(connection),
            pointer_columns=await pointer_columns(connection),
            advice=await dialect.advice(connection),
        )


async def current_revision(connection: AsyncConnection) -> str | None:
    """The revision the database is at; None where it was never migrated."""
    return await connection.run_sync(_current_revision)


async def require_current(connection: AsyncConnection) -> None:
    """Raises ConfigurationError as `worker.db.revisions.require_head`."""
    require_head(await current_revision(connection))


async def pointer_columns(connection: AsyncConnection) -> dict[str, ColumnKind] | None:
    """The columns of `app_environments`; None: there is no such table."""
    return await connection.run_sync(_pointer_columns)


async def listing(connection: AsyncConnection, *, fragments: PointerFragments) -> "Select[Any] | None":
    """All rows of `app_environments` in a total order, for pages: an id or null, the key, the pointer. None where the
    worker moves none.

    Two rows that the order does not tell apart are equal in all that is selected. The table may have no primary key.

    Raises:
        ConfigurationError: there is no such table.
    """
    columns = require_columns(await pointer_columns(connection))
    if Pointers.of_columns(columns, fragments=fragments) is None:
        return None
    named = [*KEY_COLUMNS, *(["id"] if "id" in columns else []), *POINTER_COLUMNS]
    order: list[ColumnElement[Any]] = [
        literal_column(fragments.sorted_text(name)) if columns[name] in TEXTS else column(name) for name in named
    ]
    own_id = column("id") if "id" in columns else null()
    selected: list[ColumnElement[Any]] = [column(name) for name in (*KEY_COLUMNS, *POINTER_COLUMNS)]
    return select(own_id.label("id"), *selected).select_from(table(TABLE)).order_by(*order)


def _current_revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608 - our name
    return found


def _pointer_columns(connection: Connection) -> dict[str, ColumnKind] | None:
    try:
        return {each["name"]: _kind(each["type"]) for each in inspect(connection).get_columns(TABLE)}
    except NoSuchTableError:
        return None


def _kind(column_type: TypeEngine[object]) -> ColumnKind:
    if isinstance(column_type, Uuid):
        return ColumnKind.UUID
    if not isinstance(column_type, String):
        return ColumnKind.OTHER
    collation = column_type.collation  # SQL Server's, such as Latin1_General_100_CS_AS
    case_matters = collation is not None and "_CI_" not in collation.upper()
    return ColumnKind.CASE_SENSITIVE_TEXT if case_matters else ColumnKind.TEXT
