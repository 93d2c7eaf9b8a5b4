"""What a DBA should change about an `app_environments` that another system made.

The worker reads and updates one of its rows for every success, by three columns. Without an index on them, or with
types or collations that SQL Server has to convert the column for, each success scans the table and waits for the locks
of all others.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from worker.db.pointers import KEY_COLUMNS, TABLE

_TEXT_COLUMNS: Final = ("environment_id", "deployment_track_id")
_INDEX: Final = ("environment_id", "deployment_track_id", "component_id")
"""Last what may be compared as something else than it is stored as."""

_LENGTH_MAX: Final = 255
"""Of an id in an event, in UTF-16 units."""

_BYTES: Final = {"varchar": 1, "char": 1, "nvarchar": 2, "nchar": 2}
"""Of a character, as sys.columns counts them."""

_PAGE: Final = "see docs/how-to/sql-server.md"

_COLUMNS: Final = f"""
SELECT s.name, c.name, t.name, c.max_length, c.is_nullable, c.collation_name,
       CAST(DATABASEPROPERTYEX(DB_NAME(), N'Collation') AS nvarchar(128))
FROM sys.columns c
JOIN sys.types t ON t.user_type_id = c.system_type_id
JOIN sys.tables o ON o.object_id = c.object_id
JOIN sys.schemas s ON s.schema_id = o.schema_id
WHERE c.object_id = OBJECT_ID(N'{TABLE}') AND c.name IN ({", ".join(f"N'{name}'" for name in KEY_COLUMNS)})
"""  # noqa: S608 - names of ours

_INDEXES: Final = f"""
SELECT i.name, c.name
FROM sys.indexes i
JOIN sys.index_columns k ON k.object_id = i.object_id AND k.index_id = i.index_id
JOIN sys.columns c ON c.object_id = k.object_id AND c.column_id = k.column_id
WHERE i.object_id = OBJECT_ID(N'{TABLE}') AND i.is_disabled = 0 AND i.has_filter = 0 AND k.key_ordinal > 0
ORDER BY i.index_id, k.key_ordinal
"""  # noqa: S608 - likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyColumn:
    """One of the three. `length_bytes`: -1 for `max`."""

    schema: str
    name: str
    type: str
    length_bytes: int
    nullable: bool
    collation: str | None
    database_collation: str


async def of_pointers(connection: AsyncConnection) -> list[str]:
    """A line for each column and index that costs a scan; none where the table is not there."""
    columns = [
        KeyColumn(
            schema=schema,
            name=name,
            type=type_,
            length_bytes=length,
            nullable=bool(nullable),
            collation=collation,
            database_collation=database_collation,
        )
        for schema, name, type_, length, nullable, collation, database_collation in await connection.execute(
            text(_COLUMNS)
        )
    ]
    indexes: dict[str, list[str]] = defaultdict(list)
    for index, column in await connection.execute(text(_INDEXES)):
        indexes[index].append(column)
    return list(advice(columns, list(indexes.values())))


def advice(columns: Sequence[KeyColumn], indexes: Collection[Sequence[str]]) -> Iterator[str]:
    """`indexes`: the key columns of each, in their order."""
    if {column.name for column in columns} != set(KEY_COLUMNS):
        return  # the worker leaves such a table alone, and logs that
    for column in columns:
        yield from _of_column(column)
    if not any(set(index[: len(KEY_COLUMNS)]) == set(KEY_COLUMNS) for index in indexes):
        table = f"[{columns[0].schema}].{TABLE}"
        yield (
            f"{TABLE} has no index on {', '.join(KEY_COLUMNS)}: every success scans it and waits for the locks of the "
            f"others; CREATE INDEX ix_{TABLE}_rudder ON {table} ({', '.join(_INDEX)}); {_PAGE}"
        )


def _of_column(column: KeyColumn) -> Iterator[str]:
    where, nulls = f"{TABLE}.{column.name}", "NULL" if column.nullable else "NOT NULL"
    alter = f"ALTER TABLE [{column.schema}].{TABLE} ALTER COLUMN {column.name}"
    if column.name not in _TEXT_COLUMNS:
        if column.type != "uniqueidentifier":
            yield (
                f"{where} is {column.type}, not uniqueidentifier: in a case-sensitive collation no index on it is "
                f"used; if all its values are UUIDs, {alter} uniqueidentifier {nulls}; {_PAGE}"
            )
        return
    collation = column.collation or column.database_collation
    length = _LENGTH_MAX
    if column.type in _BYTES and column.length_bytes > 0:
        length = column.length_bytes // _BYTES[column.type]
    wanted = f"{alter} nvarchar({length}) COLLATE {column.database_collation} {nulls}"
    if column.type != "nvarchar" or column.length_bytes < 0:
        kind = f"{column.type}(max)" if column.length_bytes < 0 else column.type
        yield f"{where} is {kind}, not nvarchar: no index on it is used, each success scans; {wanted}; {_PAGE}"
    elif collation != column.database_collation:
        yield (
            f"{where} has the collation {collation}, the database {column.database_collation}: no index on it is "
            f"used, each success scans; {wanted}; {_PAGE}"
        )
