"""The SQL Server migrations make exactly the schema that was given (seed-ddl.sql, beside this file)."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.db import migration

MSSQL_URL = "mssql+aioodbc://nobody@127.0.0.1/none"
SEED = Path(__file__).with_name("seed-ddl.sql")
ALIASES = {"integer": "int"}

Table = dict[str, object]


@pytest.fixture(scope="module")
def given() -> dict[str, Table]:
    return schema_of(SEED.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def made() -> dict[str, Table]:
    return schema_of(migration.script(MSSQL_URL, start="0.0.212", revision="0.0.216"))


def test_migrations_create_exactly_the_given_tables(given: dict[str, Table], made: dict[str, Table]) -> None:
    """Between 0.0.213 and 0.0.216 no table is missing and none is added."""
    assert list(made) == list(given)
    assert len(given) == 5


@pytest.mark.parametrize(
    "table",
    [
        "releases",
        "release_deployments",
        "release_activity_logs",
        "release_apim_base_revisions",
        "app_environments",
    ],
)
def test_migrated_table_matches_the_given_ddl(table: str, given: dict[str, Table], made: dict[str, Table]) -> None:
    """Columns in order with type, nullability and default; keys, constraint names and indexes."""
    assert made[table] == given[table]


def test_comparison_detects_every_kind_of_difference(given: dict[str, Table]) -> None:
    """Each changed line is a difference that a wrong migration could have."""
    ddl = SEED.read_text(encoding="utf-8")
    for old, new in (
        ("image_tag nvarchar(255)", "image_tag nvarchar(256)"),
        ("created_by nvarchar(255) not null", "created_by nvarchar(255)"),
        ("default 'DRAFT'", "default 'Draft'"),
        ("attempt bigint not null default 1", "attempt bigint not null"),
        ("id uniqueidentifier primary key", "id uniqueidentifier not null"),
        ("on delete cascade", ""),
        ("unique (release_date, release_number,", "unique (release_number, release_date,"),
        ("constraint unique_release_mgt_id_environment_id", "constraint another_name"),
        ("index idx_releases_status on releases (status)", "index idx_releases_status on releases (image_tag)"),
        ("release_mgt_deployment_name nvarchar(50) NULL", "release_mgt_deployment_name nvarchar(50) NOT NULL"),
    ):
        assert old in ddl
        assert schema_of(ddl.replace(old, new)) != given, old


def schema_of(ddl: str) -> dict[str, Table]:
    """Reads CREATE TABLE, CREATE INDEX and ALTER TABLE ADD; other statements are errors, but for bookkeeping."""
    tables: dict[str, Table] = {}
    for statement in statements_in(ddl):
        if match := re.fullmatch(r"create table (\w+) \((.*)\)", statement):
            table = tables[match[1]] = empty_table()
            for item in split_at_commas(match[2]):
                read_item(table, item)
        elif match := re.fullmatch(r"alter table (\w+) add (.*)", statement):
            for item in split_at_commas(match[2]):
                read_item(tables.setdefault(match[1], empty_table()), item)
        elif match := re.fullmatch(r"create index (\w+) on (\w+) ?\((.*)\)", statement):
            tables[match[2]]["indexes"] |= {(match[1], columns_in(match[3]))}  # type: ignore[operator]
        else:
            own = r"(?:update|insert into|if object_id\(n') ?rudder_alembic_version"
            assert re.match(rf"set |begin transaction|commit|{own}", statement), statement
    return tables


def empty_table() -> Table:
    return {"columns": [], "primary key": (), "unique": set(), "foreign keys": set(), "indexes": set()}


def read_item(table: Table, item: str) -> None:
    if match := re.fullmatch(r"primary key ?\((.*)\)", item):
        table["primary key"] = columns_in(match[1])
    elif match := re.fullmatch(r"constraint (\w+) unique ?\((.*)\)", item):
        table["unique"] |= {(match[1], columns_in(match[2]))}  # type: ignore[operator]
    elif match := re.fullmatch(r"foreign key ?\((.*)\) references (\w+) ?\((.*)\)(.*)", item):
        key = (columns_in(match[1]), match[2], columns_in(match[3]), match[4].strip())
        table["foreign keys"] |= {key}  # type: ignore[operator]
    else:
        match = re.match(r"(\w+) (\w+ ?(?:\(\w+\))?)", item)
        assert match, item
        name, kind, rest = match[1], match[2].replace(" ", ""), f" {item[match.end() :]} "
        if " primary key " in rest:
            table["primary key"] = (name,)
        nullable = " not null " not in rest and " primary key " not in rest
        default = re.search(r" default (\S+)", rest)
        column = (name, ALIASES.get(kind, kind), nullable, default[1] if default else None)
        # A primary key's column is NOT NULL, with or without the words.
        table["columns"].append(column)  # type: ignore[attr-defined]


def statements_in(ddl: str) -> Iterator[str]:
    bare = re.sub(r"--[^\n]*|^GO$", "", ddl, flags=re.MULTILINE)
    for statement in bare.split(";"):
        text = re.sub(r"[\[\]\"]", "", statement)
        text = "".join(part if part.startswith("'") else part.lower() for part in re.split(r"('[^']*')", text))
        if text := " ".join(text.split()).replace("( ", "(").replace(" )", ")"):
            yield text


def split_at_commas(body: str) -> list[str]:
    """Splits at the commas outside parentheses."""
    items, depth = [""], 0
    for character in body:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            items.append("")
        else:
            items[-1] += character
    return [item.strip() for item in items]


def columns_in(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def test_create_trigger_begins_a_batch_on_sql_server() -> None:
    """SQL Server, error 111: a CREATE TRIGGER is the first statement of its batch."""
    batches = [batch.strip() for batch in re.split(r"^GO$", migration.script(MSSQL_URL), flags=re.MULTILINE)]
    triggers = [batch for batch in batches if "CREATE TRIGGER" in batch]
    assert len(triggers) == 2
    for trigger in triggers:
        statements = [line for line in trigger.splitlines() if line.strip() and not line.startswith("--")]
        assert statements[0].startswith("CREATE TRIGGER")
