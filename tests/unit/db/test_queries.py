"""Each kind of message loads what its decision can depend on, in the columns that are decoded, and nothing else."""

import re
from collections.abc import Iterator
from contextlib import closing
from sqlite3 import Connection

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from schemas.record import Record
from schemas.types import EventType as E
from tests.unit.rules.release_scenario import fields, message
from worker.db.columns import LOADED
from worker.db.loads import Loads
from worker.db.models import Base
from worker.db.mssql import fragments as mssql
from worker.db.pointers import ComponentKey
from worker.db.postgresql import fragments as postgresql
from worker.db.queries import queries
from worker.db.sqlite import fragments as sqlite
from worker.db.statement import names_of, numbered, positional
from worker.pipeline.transaction import read
from worker.rules.message import Message
from worker.rules.query import QueryVariant, query_of

FRAGMENTS = {"mssql": mssql.FRAGMENTS, "postgresql": postgresql.FRAGMENTS, "sqlite": sqlite.FRAGMENTS}
KEYS = {
    "mssql": tuple(ComponentKey),
    "postgresql": (ComponentKey.UUID, ComponentKey.TEXT),
    "sqlite": tuple(ComponentKey),
}
SHAPES = [(database, key) for database, keys in KEYS.items() for key in (*keys, None)]

NO_EVENT = read(
    Record(topic="in", partition=0, offset=0, timestamp_ms=0, key=None, value=b"?", headers=()), event_bytes_max=9
)
LOADS: dict[str, tuple[Message, QueryVariant]] = {
    "no event": (NO_EVENT, QueryVariant.EVENT),
    "created": (message(E.RELEASE_CREATED), QueryVariant.RELEASE_CREATED),
    "approved": (message(E.RELEASE_APPROVED), QueryVariant.RELEASE),
    "activity": (message(E.ACTIVITY_RECORDED), QueryVariant.RELEASE),
    "activity of an attempt": (message(E.ACTIVITY_RECORDED, environment_id="prod", attempt=2), QueryVariant.ATTEMPTS),
    "requested": (message(E.DEPLOYMENT_REQUESTED), QueryVariant.DEPLOYMENT),
    "started with a block": (message(E.DEPLOYMENT_STARTED, block=fields()), QueryVariant.DEPLOYMENT),
    "succeeded": (message(E.DEPLOYMENT_SUCCEEDED), QueryVariant.DEPLOYMENT_SUCCEEDED),
    "rolled back": (message(E.DEPLOYMENT_ROLLED_BACK), QueryVariant.DEPLOYMENT_ROLLED_BACK),
    "rolled back, named": (message(E.DEPLOYMENT_ROLLED_BACK, attempt=1), QueryVariant.DEPLOYMENT),
}
TABLES = {
    QueryVariant.EVENT: {"release_activity_logs", "release_event_rejections"},
    QueryVariant.RELEASE: {"releases", "release_versions"},
    QueryVariant.RELEASE_CREATED: {"releases", "release_versions"},
    QueryVariant.ATTEMPTS: {"releases", "release_versions", "release_deployments"},
    QueryVariant.DEPLOYMENT: {"releases", "release_versions", "release_deployments"},
    QueryVariant.DEPLOYMENT_ROLLED_BACK: {"releases", "release_versions", "release_deployments"},
    QueryVariant.DEPLOYMENT_SUCCEEDED: {"releases", "release_versions", "release_deployments", "app_environments"},
}


@pytest.fixture(scope="module")
def tables() -> Iterator[Connection]:
    """Empty ones."""
    engine = create_engine("sqlite://", poolclass=StaticPool)
    Base.metadata.create_all(engine)
    with closing(engine.raw_connection()) as pooled:
        assert isinstance(pooled.driver_connection, Connection)
        yield pooled.driver_connection
    engine.dispose()


@pytest.mark.parametrize("kind", LOADS)
def test_message_loads_what_its_decision_can_depend_on(kind: str) -> None:
    one, variant = LOADS[kind]
    assert query_of(one).variant is variant


def test_every_variant_is_some_message() -> None:
    assert {variant for _, variant in LOADS.values()} == set(QueryVariant)


@pytest.mark.parametrize(("database", "key"), SHAPES)
def test_query_has_a_field_for_every_parameter(database: str, key: ComponentKey | None) -> None:
    for one, variant in LOADS.values():
        place = numbered if database == "postgresql" else positional
        statement, values_of = Loads.of(FRAGMENTS[database], key, to_statement=place).by_variant[variant]
        assert len(values_of(query_of(one))) == len(statement.names) > 0


@pytest.mark.parametrize(("database", "key"), SHAPES)
def test_variant_reads_its_tables_and_no_others(database: str, key: ComponentKey | None) -> None:
    """The pointer only where the table has the columns for it."""
    for variant, sql in queries(FRAGMENTS[database], key).items():
        read_tables = set(re.findall(r"(?:FROM|JOIN) (release\w*|app_environments)", sql))
        expected = TABLES[variant] | TABLES[QueryVariant.EVENT]
        assert read_tables == (expected if key else expected - {"app_environments"})


@pytest.mark.parametrize("key", [ComponentKey.UUID, None])
@pytest.mark.parametrize("kind", LOADS)
def test_one_row_is_loaded_where_nothing_is_known(tables: Connection, kind: str, key: ComponentKey | None) -> None:
    """Also where nothing is known: the row says so."""
    query = query_of(LOADS[kind][0])
    statement, values_of = Loads.of(FRAGMENTS["sqlite"], key, to_statement=positional).by_variant[query.variant]
    cursor = tables.execute(statement.sql, [None if value is None else str(value) for value in values_of(query)])
    assert len(cursor.description) == len(LOADED)
    [row] = cursor.fetchall()
    assert not any(row)


def test_nothing_of_an_event_is_part_of_a_statement() -> None:
    """Its values are parameters."""
    hostile = "'; DROP TABLE releases; --"
    query = query_of(message(E.DEPLOYMENT_SUCCEEDED, environment_id=hostile, block=fields(7)))
    for database, fragments in FRAGMENTS.items():
        sql = queries(fragments, ComponentKey.UUID)[query.variant]
        assert "DROP" not in sql, database
        assert hostile in [getattr(query, name) for name in names_of(sql)]


def test_version_is_read_first_on_sql_server() -> None:
    """Its statements have no common snapshot where READ_COMMITTED_SNAPSHOT is off: what is read later is newer."""
    for variant, sql in queries(FRAGMENTS["mssql"], ComponentKey.UUID).items():
        if variant is not QueryVariant.EVENT:
            version, rest = sql.split(";\n", 2)[1:]
            assert "release_versions" in version
            assert "release_versions" not in rest
            assert "@version AS release_version" in rest
