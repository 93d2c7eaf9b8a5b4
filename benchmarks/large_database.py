"""A database with millions of log entries, made once: the history, copied hundreds of times on earlier days.

So all tables have grown together, and hold real rows of every kind. The keys of the copies are spread as those of
UUIDv5 are: each event meets pages of the indexes that few other events meet. The rows are inserted without indexes and
foreign keys, which are made again afterwards, with as much space in their pages as random inserts leave: new indexes
would be denser than those of a database that has grown, and the next inserts would split nearly each page.
"""

from collections.abc import Mapping
from typing import Final

from benchmarks.servers import BenchmarkPostgres

# ruff: noqa: S608 - what is put together here are constants of this program, never anybody's values

_FILL_PERCENT: Final = 70
"""Of a B-tree page, after random inserts: about ln 2."""

_EARLIER: Final = "t.{} - make_interval(days => n)"
_KEY: Final = "copied_key(t.{}, n)"
_CHANGED: Final[Mapping[str, Mapping[str, str]]] = {
    "releases": {
        "id": _KEY,
        "created_at": _EARLIER,
        "updated_at": _EARLIER,
        "release_date": "t.{} - n",
    },
    "release_versions": {"release_mgt_id": _KEY},
    "release_deployments": {
        "id": _KEY,
        "release_mgt_id": _KEY,
        "created_at": _EARLIER,
        "updated_at": _EARLIER,
        "deployed_at": _EARLIER,
    },
    "release_activity_logs": {
        "id": _KEY,
        "release_mgt_id": _KEY,
        "release_deployment_id": _KEY,
        "created_at": _EARLIER,
        "updated_at": _EARLIER,
    },
}
"""By table, the columns in which the copy `n` of a row `t` differs from it."""

_TABLES: Final = ", ".join(f"'{table}'::regclass" for table in _CHANGED)

_CONSTRAINTS: Final = f"""(contype IN ('p', 'u', 'f') AND conrelid IN ({_TABLES}) OR confrelid IN ({_TABLES}))"""

_PREPARATION: Final = f"""
CREATE FUNCTION copied_key(key uuid, n integer) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT overlay(overlay(md5(key::text || n) PLACING '5' FROM 13) PLACING '8' FROM 17)::uuid $$;

CREATE TABLE made_again (position serial, statement text);
INSERT INTO made_again (statement)
SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s%s', conrelid::regclass, conname, pg_get_constraintdef(oid),
    CASE WHEN contype <> 'f' THEN ' WITH (fillfactor = {_FILL_PERCENT})' END)
FROM pg_constraint WHERE {_CONSTRAINTS} ORDER BY contype = 'f';
INSERT INTO made_again (statement)
SELECT regexp_replace(pg_get_indexdef(indexrelid), '( WHERE |$)', ' WITH (fillfactor = {_FILL_PERCENT})\\1')
FROM pg_index WHERE indrelid IN ({_TABLES})
    AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u'));

DO $$
DECLARE dropped text;
BEGIN
    FOR dropped IN
        SELECT format('DROP INDEX %s', indexrelid::regclass) FROM pg_index WHERE indrelid IN ({_TABLES})
            AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u'))
    LOOP EXECUTE dropped; END LOOP;
    FOR dropped IN
        SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname)
        FROM pg_constraint WHERE {_CONSTRAINTS} ORDER BY contype <> 'f'
    LOOP EXECUTE dropped; END LOOP;
END $$
"""

_END: Final = f"""
DO $$
DECLARE made text;
BEGIN
    SET LOCAL maintenance_work_mem = '512MB';
    FOR made IN SELECT statement FROM made_again ORDER BY position
    LOOP EXECUTE made; END LOOP;
    FOR made IN SELECT format('ALTER INDEX %s RESET (fillfactor)', indexrelid::regclass) FROM pg_index
        WHERE indrelid IN ({_TABLES})
    LOOP EXECUTE made; END LOOP;
END $$;
DROP TABLE made_again;
DROP FUNCTION copied_key
"""


def fill_large(server: BenchmarkPostgres, database: str, *, history: str, log_entries: int) -> int:
    """Make a database of about so many log entries from the one named `history`; their number.

    Raises:
        ServerFailed: a statement failed.
    """
    server.create_database(database, template=history)
    copies = max(round(log_entries / _log_entries(server, database)) - 1, 1)
    server.execute("ALTER SYSTEM SET max_wal_size = '16GB'")  # no checkpoints meanwhile: it takes half of the time
    server.execute("SELECT pg_reload_conf()")
    server.execute(_PREPARATION, database=database)
    for table, changed in _CHANGED.items():
        server.execute(_copies(_columns(server, database, table), table, changed, copies), database=database)
    server.execute(_END, database=database)
    server.execute("VACUUM (ANALYZE)", database=database)
    server.execute("ALTER SYSTEM RESET max_wal_size")
    server.execute("SELECT pg_reload_conf()")
    server.execute("CHECKPOINT")
    return _log_entries(server, database)


def _log_entries(server: BenchmarkPostgres, database: str) -> int:
    return int(server.execute("SELECT count(*) FROM release_activity_logs", database=database))


def _columns(server: BenchmarkPostgres, database: str, table: str) -> list[str]:
    return server.execute(
        "SELECT column_name FROM information_schema.columns "
        f"WHERE table_schema = 'public' AND table_name = '{table}' ORDER BY ordinal_position",
        database=database,
    ).split()


def _copies(columns: list[str], table: str, changed: Mapping[str, str], copies: int) -> str:
    values = ", ".join(changed.get(column, "t.{}").format(column) for column in columns)
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) "
        f"SELECT {values} FROM generate_series(1, {copies}) AS n, {table} AS t"
    )
