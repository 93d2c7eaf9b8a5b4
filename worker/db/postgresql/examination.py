"""What a store looks at when it is opened, on a connection for messages: PostgreSQL's catalog, in two SELECTs."""

from collections.abc import Mapping
from typing import Final

from worker.db.pointers import TABLE, ColumnKind
from worker.db.revisions import VERSION_TABLE
from worker.db.session import Examination, Session
from worker.db.statement import Statement

# ruff: noqa: S608 - names of tables

_MIGRATED: Final = Statement(f"SELECT to_regclass('{VERSION_TABLE}') IS NOT NULL", ())
_REVISION: Final = Statement(f"SELECT version_num FROM {VERSION_TABLE}", ())
_COLUMNS: Final = Statement(
    f"""
SELECT a.attname::text, CASE
    WHEN t.typname = 'uuid' THEN 'uuid'
    WHEN t.typtype = 'e' OR (t.typtype = 'b' AND t.typcategory = 'S') THEN 'text'
    ELSE 'other' END
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = to_regclass('{TABLE}') AND a.attnum > 0 AND NOT a.attisdropped
""",
    (),
)
"""A domain is neither: what it is a name for may change."""

_KINDS: Final[Mapping[str, ColumnKind]] = {
    "uuid": ColumnKind.UUID,
    "text": ColumnKind.TEXT,
    "other": ColumnKind.OTHER,
}


async def examination(session: Session) -> Examination:
    [[migrated]] = await session.fetch(_MIGRATED, ())
    revisions = await session.fetch(_REVISION, ()) if migrated else ()
    columns = {name: _KINDS[kind] for name, kind in await session.fetch(_COLUMNS, ())}
    return Examination(revision=revisions[0][0] if revisions else None, pointer_columns=columns or None)
