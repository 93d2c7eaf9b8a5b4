"""What the models compute, their defaults, and how their column types are declared and stored."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Column, MetaData, Select, Table, insert, select, text
from sqlalchemy.dialects import mssql, postgresql, sqlite
from sqlalchemy.engine import Connection, Dialect, Engine, create_engine
from sqlalchemy.exc import StatementError
from sqlalchemy.schema import CreateColumn
from sqlalchemy.types import TypeEngine

from worker.db import columns
from worker.db.models import Base, Release, ReleaseApimBaseRevision, ReleaseDeployment
from worker.db.types import Guid, UtcTimestamp, database_now, nvarchar, nvarchar_max

ID = UUID("0F8FAD5B-D9CB-469F-A165-70867728950E")
MOMENT = datetime(2024, 2, 29, 12, 30, 0, 5, tzinfo=UTC)
VALUES = Table(
    "type_samples",
    MetaData(),
    Column("id", Guid(), primary_key=True),
    Column("at", UtcTimestamp()),
    Column("made_at", UtcTimestamp(), server_default=database_now()),
)


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine: Engine = create_engine("sqlite://")
    with engine.connect() as connection:
        VALUES.create(connection)
        yield connection
    engine.dispose()


@pytest.mark.parametrize(
    ("names", "table"),
    [
        (columns.RELEASES, "releases"),
        (columns.VERSIONS, "release_versions"),
        (columns.BASE_REVISIONS, "release_apim_base_revisions"),
        (columns.DEPLOYMENTS, "release_deployments"),
        (columns.ACTIVITIES, "release_activity_logs"),
        (columns.REJECTIONS, "release_event_rejections"),
        (columns.BREAKERS, "worker_breakers"),
    ],
)
def test_models_have_the_columns_that_are_written(names: tuple[str, ...], table: str) -> None:
    assert names == tuple(Base.metadata.tables[table].columns.keys())


def test_release_name_is_date_and_number() -> None:
    """`YYYYMMDD-<release_number>`, computed: the table has no such column."""
    assert Release(release_date=date(2024, 2, 9), release_number=12).name == "20240209-12"
    assert "name" not in Release.__table__.columns


def test_deployment_is_deployed_only_with_success() -> None:
    """`is_deployed` is true for SUCCESS and for no other status."""
    assert ReleaseDeployment(status="SUCCESS").is_deployed
    assert not ReleaseDeployment(status="ROLLED_BACK").is_deployed
    assert not ReleaseDeployment().is_deployed


def test_defaults_are_the_initial_statuses() -> None:
    """A new object has the defaults before it is written; the table has the same ones for other writers."""
    deployment = ReleaseDeployment()
    assert Release().status == "DRAFT"
    assert (deployment.status, deployment.attempt, deployment.config_revision) == ("PENDING", 1, 1)


def test_metadata_column_has_another_attribute_name() -> None:
    """SQLAlchemy keeps `metadata` for itself; the column's own name does not change."""
    assert Release(metadata_="{}").metadata_ == "{}"
    assert "metadata" in Release.__table__.columns


def test_base_revision_identity_is_all_its_columns() -> None:
    """The table has no primary key, and none is made up for it."""
    table = Base.metadata.tables["release_apim_base_revisions"]
    assert not table.primary_key.columns
    assert set(ReleaseApimBaseRevision.__mapper__.primary_key) == set(table.columns)


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        (
            mssql.dialect(),  # type: ignore[no-untyped-call]
            ["UNIQUEIDENTIFIER", "DATETIME2", "NVARCHAR(50)", "NVARCHAR(max)", "getdate()"],
        ),
        (
            postgresql.dialect(),  # type: ignore[no-untyped-call]
            ["UUID", "TIMESTAMP WITHOUT TIME ZONE", "VARCHAR(50)", "TEXT", "timezone('utc', now())"],
        ),
        (
            sqlite.dialect(),
            ["CHAR(36)", "DATETIME", "VARCHAR(50)", "TEXT", "(strftime('%Y-%m-%d %H:%M:%f000', 'now'))"],
        ),
    ],
    ids=["mssql", "postgresql", "sqlite"],
)
def test_column_types_are_declared_per_database(dialect: Dialect, expected: list[str]) -> None:
    """SQL Server gets the given types, without a query for its version; other databases get the nearest types."""
    kinds: list[TypeEngine[Any]] = [Guid(), UtcTimestamp(), nvarchar(50), nvarchar_max()]
    declared = [declaration(Column("c", kind), dialect=dialect) for kind in kinds]
    default = declaration(Column("c", UtcTimestamp(), server_default=database_now()), dialect=dialect)
    assert declared == expected[:-1]
    assert default == f"{expected[1]} DEFAULT {expected[-1]}"


def declaration(column: Column[Any], *, dialect: Dialect) -> str:
    Table("t", MetaData(), column)
    return str(CreateColumn(column).compile(dialect=dialect)).removeprefix("c ").replace(" NULL", "")


def test_sqlite_stores_ids_as_dashed_lower_case_text(connection: Connection) -> None:
    """Other programs read and join them as text; Python gets a UUID back."""
    connection.execute(insert(VALUES).values(id=ID))
    assert connection.scalar(text("SELECT id FROM type_samples")) == "0f8fad5b-d9cb-469f-a165-70867728950e"
    assert connection.scalar(select(VALUES.c.id).where(VALUES.c.id == ID)) == ID


def test_sqlite_stores_times_as_sortable_text(connection: Connection) -> None:
    """UTC with six digits, whatever zone the value came in; Python gets an aware UTC time back."""
    local = MOMENT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    connection.execute(insert(VALUES).values(id=ID, at=local))
    read = connection.scalar(select(VALUES.c.at))
    assert connection.scalar(text("SELECT at FROM type_samples")) == "2024-02-29 12:30:00.000005"
    assert read == MOMENT
    assert read.tzinfo is UTC


def test_sqlite_default_times_have_the_same_form(connection: Connection) -> None:
    """The server's default sorts beside the worker's own values."""
    connection.execute(insert(VALUES).values(id=ID))
    made_at = connection.scalar(text("SELECT made_at FROM type_samples"))
    assert len(made_at) == len("2024-02-29 12:30:00.000005")
    assert datetime.fromisoformat(made_at)


def test_naive_time_is_refused(connection: Connection) -> None:
    """A time without a zone is ambiguous, so it is neither stored nor used in a search."""
    naive = MOMENT.replace(tzinfo=None)
    statement: Select[tuple[UUID]] = select(VALUES.c.id).where(VALUES.c.at == naive)
    for refused in (insert(VALUES).values(id=ID, at=naive), statement):
        with pytest.raises(StatementError, match="needs a time zone"):
            connection.execute(refused)


def test_null_is_read_as_none(connection: Connection) -> None:
    """NULL is read as None by every type."""
    connection.execute(insert(VALUES).values(id=ID, at=None, made_at=None))
    assert connection.execute(select(VALUES.c.at, VALUES.c.made_at)).one() == (None, None)


def test_tables_with_triggers_use_no_output_clause() -> None:
    """SQL Server refuses OUTPUT on them (error 334)."""
    for name in ("releases", "release_deployments"):
        assert not Base.metadata.tables[name].implicit_returning
