"""`migrate` on SQLite in an empty folder: up, down, and as a script for review."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.unit.cli.command_line import CommandLine, rudder_worker
from worker.db.revisions import head_revision

FILE = "rudder.sqlite3"
TABLES = {
    "database_identity",
    "operator_actions",
    "redrive_records",
    "app_environments",
    "release_activity_logs",
    "release_apim_base_revisions",
    "release_deployments",
    "release_event_rejections",
    "release_event_dismissals",
    "release_versions",
    "releases",
    "worker_breakers",
}


def tables(folder: Path) -> set[str]:
    with closing(sqlite3.connect(folder / FILE)) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    return {name for (name,) in rows} - {"rudder_alembic_version"}


def test_empty_folder_gets_a_database_at_head(command_line: CommandLine, tmp_path: Path) -> None:
    ended = command_line("migrate")
    assert (ended.code, ended.out) == (0, f"the database is at revision {head_revision()}\n")
    assert tables(tmp_path) == TABLES


def test_second_migration_changes_nothing(command_line: CommandLine, tmp_path: Path) -> None:
    first = command_line("migrate")
    before = (tmp_path / FILE).read_bytes()
    assert command_line("migrate") == first
    assert (tmp_path / FILE).read_bytes() == before


def test_migration_stops_at_the_named_revision(command_line: CommandLine, tmp_path: Path) -> None:
    ended = command_line("migrate", "0.0.213")
    assert (ended.code, ended.out) == (0, "the database is at revision 0.0.213\n")
    assert "release_apim_base_revisions" not in tables(tmp_path)
    assert command_line("migrate").code == 0
    assert tables(tmp_path) == TABLES


def test_downgrade_to_base_removes_everything(command_line: CommandLine, tmp_path: Path) -> None:
    assert command_line("migrate").code == 0
    ended = command_line("migrate", "--down", "base")
    assert (ended.code, ended.out) == (0, "the database is at revision base\n")
    assert tables(tmp_path) == set()


def test_downgrade_without_a_revision_is_refused(command_line: CommandLine, tmp_path: Path) -> None:
    """A downgrade without a target would drop all tables by mistake, so the operator must name `base`."""
    assert command_line("migrate").code == 0
    ended = command_line("migrate", "--down")
    assert (ended.code, ended.out) == (2, "")
    assert "base" in ended.err
    assert tables(tmp_path) == TABLES


def test_from_without_sql_is_refused(command_line: CommandLine, tmp_path: Path) -> None:
    """`--from` applies to scripts only, so a migration of a database refuses it."""
    ended = command_line("migrate", "--from", "0.0.213")
    assert (ended.code, ended.out) == (2, "")
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("kind", ["sqlite+aiosqlite:///x.db", "postgresql+asyncpg://h/d", "mssql+aioodbc://h/d"])
def test_sql_prints_a_script_without_connecting(command_line: CommandLine, tmp_path: Path, kind: str) -> None:
    """The script is printed for every supported database, without a server."""
    command_line.environment(RUDDER_DATABASE_URL=kind)
    ended = command_line("migrate", "--sql")
    assert (ended.code, ended.err) == (0, "")
    assert "CREATE TABLE" in ended.out.upper()
    assert "the database is at" not in ended.out
    assert list(tmp_path.iterdir()) == []


def test_printed_sql_is_executable(tmp_path: Path) -> None:
    """The command runs as a process of its own, with logging: its redirected output is a valid script."""
    ended = rudder_worker("--log-format", "json", "migrate", "--sql", folder=tmp_path)
    assert ended.code == 0
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.executescript(ended.out)
    assert tables(tmp_path) == TABLES
    down = rudder_worker("migrate", "--sql", "--down", folder=tmp_path)
    assert down.code == 0
    with closing(sqlite3.connect(tmp_path / FILE)) as connection:
        connection.executescript(down.out)
    assert tables(tmp_path) <= {"app_environments"}, "whose it is, a script for SQLite cannot find out"


def test_sql_from_a_revision_prints_later_revisions_only(command_line: CommandLine) -> None:
    ended = command_line("migrate", "--sql", "--from", "0.0.213", "0.0.215")
    assert ended.code == 0
    assert "release_apim_base_revisions" in ended.out
    assert "release_deployments" not in ended.out


@pytest.mark.parametrize(
    "arguments",
    [
        ["nope"],
        ["--down", "0.0.999"],
        ["--down", "0.0.213"],  # the database is empty
        ["--sql", "nope"],
        ["--sql", "--from", "nope"],
        ["--", "-1"],
    ],
    ids=" ".join,
)
def test_unreachable_revision_is_one_line(tmp_path: Path, arguments: list[str]) -> None:
    ended = rudder_worker("migrate", *arguments, folder=tmp_path)
    assert "Traceback" not in ended.err
    assert (ended.code, ended.out) == (2, "")
    assert ended.problem


@pytest.mark.parametrize("options", [[], ["--sql"]])
def test_unsupported_database_is_one_line(tmp_path: Path, options: list[str]) -> None:
    environment = {"RUDDER_DATABASE_URL": "mysql://u:geheim@127.0.0.1:1/db"}
    ended = rudder_worker("migrate", *options, folder=tmp_path, environment=environment)
    assert "Traceback" not in ended.err
    assert (ended.code, ended.out) == (2, "")
    assert "supported are" in ended.problem
    assert "geheim" not in ended.err


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://rudder:geheim@127.0.0.1:1/rudder",  # nothing listens there
        "postgresql+asyncpg://rudder:geheim@127.0.0.1:1/rudder?sslmode=require",  # another driver's option
        "postgresql+asyncpg://rudder:geheim@127.0.0.1:99999/rudder",
        "sqlite+aiosqlite:///missing/folder/rudder.sqlite3",
        "sqlite+aiosqlite:///junk",
    ],
)
def test_unusable_database_is_one_line(tmp_path: Path, url: str) -> None:
    (tmp_path / "junk").write_bytes(b"no database" * 500)
    ended = rudder_worker("migrate", folder=tmp_path, environment={"RUDDER_DATABASE_URL": url})
    assert "Traceback" not in ended.err
    assert (ended.code, ended.out) == (2, "")
    assert ended.problem
    assert "geheim" not in ended.err


def test_missing_driver_is_one_line_with_what_to_install(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "aioodbc", None)  # `import` then raises the error of a missing package
    command_line.environment(RUDDER_DATABASE_URL="mssql+aioodbc://u:geheim@127.0.0.1:1/db?driver=x")
    ended = command_line("migrate")
    assert (ended.code, ended.out) == (2, "")
    assert "rudder-worker[mssql]" in ended.problem


@pytest.mark.parametrize(
    ("url", "login", "granted"),
    [
        (
            "postgresql+asyncpg://dba@127.0.0.1/rudder",
            'cd"worker',
            'GRANT UPDATE (status, updated_at) ON releases TO "cd""worker";',
        ),
        (
            "mssql+aioodbc://dba@127.0.0.1/rudder",  # its script looks up the schema
            "CORP\\svc]worker",
            "GRANT EXECUTE ON ' + @schema + N'.rudder_write_v1 TO [CORP\\svc]]worker];",
        ),
    ],
)
def test_grants_are_printed_without_connecting(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch, url: str, login: str, granted: str
) -> None:
    monkeypatch.setenv("RUDDER_DATABASE_URL", url)
    ended = command_line("migrate", "--grants", login)
    assert ended.code == 0
    assert granted in ended.out
    assert "DELETE" not in ended.out
    assert "dbo" not in ended.out


@pytest.mark.parametrize(
    ("role", "granted"),
    [
        ("operator", "GRANT UPDATE (closed_at, closed_by, note) ON worker_breakers"),
        ("reader", "GRANT SELECT ON operator_actions"),
    ],
)
def test_grants_depend_on_the_role(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch, role: str, granted: str
) -> None:
    monkeypatch.setenv("RUDDER_DATABASE_URL", "postgresql+asyncpg://dba@127.0.0.1/rudder")
    ended = command_line("migrate", "--grants", "night_shift", "--role", role)
    assert ended.code == 0
    assert f'{granted} TO "night_shift";' in ended.out
    assert "GRANT SELECT ON releases" in ended.out
    assert "UPDATE (status" not in ended.out
    assert ("INSERT" in ended.out) == (role == "operator")


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (("--grants", "worker"), "SQLite knows no logins"),
        (("--role", "operator"), "--role requires --grants"),
        (("--grants", "worker", "--sql"), "cannot be combined with other options"),
        (("--grants", "worker", "0.0.213"), "cannot be combined with other options"),
    ],
)
def test_contradictory_grant_options_are_refused(
    command_line: CommandLine, arguments: tuple[str, ...], output: str
) -> None:
    ended = command_line("migrate", *arguments)
    assert ended.code == 2
    assert output in ended.err


@pytest.mark.parametrize("login", ["", " ", "two\nlines", "x" * 129])
def test_impossible_login_is_refused(command_line: CommandLine, monkeypatch: pytest.MonkeyPatch, login: str) -> None:
    monkeypatch.setenv("RUDDER_DATABASE_URL", "mssql+aioodbc://dba@127.0.0.1/rudder")
    ended = command_line("migrate", "--grants", login)
    assert (ended.code, ended.out) == (2, "")
    assert "a login has 1 to 128 printable characters" in ended.err
