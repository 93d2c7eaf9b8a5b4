"""What a DBA is advised to change about a foreign app_environments: the column or index, and the statement to run."""

from collections.abc import Sequence

import pytest

from worker.db.mssql.advice import KeyColumn, advice

COLLATION = "SQL_Latin1_General_CP1_CI_AS"
KEY = ("environment_id", "component_id", "deployment_track_id")
INDEXED = [("id",), KEY]


def text(name: str, type_: str = "nvarchar", length_bytes: int = 100, collation: str = COLLATION) -> KeyColumn:
    return KeyColumn(
        schema="apps",
        name=name,
        type=type_,
        length_bytes=length_bytes,
        nullable=False,
        collation=collation,
        database_collation=COLLATION,
    )


def columns(**changed: KeyColumn) -> list[KeyColumn]:
    component = KeyColumn(
        schema="apps",
        name="component_id",
        type="uniqueidentifier",
        length_bytes=16,
        nullable=False,
        collation=None,
        database_collation=COLLATION,
    )
    own = {
        "environment_id": text("environment_id"),
        "component_id": component,
        "deployment_track_id": text("deployment_track_id"),
    }
    return list((own | changed).values())


def test_worker_like_table_needs_no_advice() -> None:
    assert list(advice(columns(), INDEXED)) == []
    assert list(advice(columns(), [(*reversed(KEY), "id")])) == []


def test_table_without_key_columns_needs_no_advice() -> None:
    """The worker leaves it alone."""
    assert list(advice([], [])) == []
    assert list(advice(columns()[:2], [])) == []


@pytest.mark.parametrize("indexes", [[], [("id",)], [KEY[:2]], [("id", *KEY)]])
def test_missing_index_is_reported_with_its_statement(indexes: Sequence[Sequence[str]]) -> None:
    (line,) = advice(columns(), indexes)
    assert "every success scans" in line
    assert (
        "CREATE INDEX ix_app_environments_rudder ON [apps].app_environments "
        "(environment_id, deployment_track_id, component_id);"
    ) in line


@pytest.mark.parametrize(
    ("column", "named", "statement"),
    [
        (text("environment_id", "varchar", 50), "environment_id is varchar", "environment_id nvarchar(50)"),
        (text("environment_id", "nchar", 50), "environment_id is nchar", "environment_id nvarchar(25)"),
        (text("environment_id", "nvarchar", -1), "environment_id is nvarchar(max)", "environment_id nvarchar(255)"),
        (text("environment_id", "ntext", 16), "environment_id is ntext", "environment_id nvarchar(255)"),
        (
            text("environment_id", collation="Latin1_General_BIN2"),
            "environment_id has the collation Latin1_General_BIN2",
            "environment_id nvarchar(50)",
        ),
    ],
)
def test_converted_column_is_reported_with_its_statement(column: KeyColumn, named: str, statement: str) -> None:
    """A conversion of the column, for its type or collation, keeps its index from being used."""
    (line,) = advice(columns(environment_id=column), INDEXED)
    assert f"app_environments.{named}" in line
    assert f"ALTER TABLE [apps].app_environments ALTER COLUMN {statement} COLLATE {COLLATION} NOT NULL" in line


def test_component_as_text_is_reported_with_its_statement() -> None:
    (line,) = advice(columns(component_id=text("component_id", "varchar", 36)), INDEXED)
    assert "component_id is varchar, not uniqueidentifier" in line
    assert "ALTER COLUMN component_id uniqueidentifier NOT NULL" in line
