"""A login with the privileges of `migrate --grants` handles a day of events, and can do nothing else."""

import asyncio
import re
import secrets
from collections.abc import Iterator
from uuid import uuid4

import pytest
from sqlalchemy import URL, make_url
from sqlalchemy.exc import DBAPIError

from tests.conformance.catalog import catalog, execute_script, is_babelfish, run
from tests.conformance.rejection_rows import rejection
from tests.conformance.release_messages import MOMENT
from tests.conformance.stores import opened
from tests.conformance.table_contents import contents, insert_rows
from tests.conformance.test_store_day import Outcomes, messages_of, one_by_one, prepare, records_of_day
from tests.testkit import mssql
from worker.db import migration
from worker.db.dialect import dialect_of
from worker.db.models import Base
from worker.db.mssql.privileges import PRIVILEGES as MSSQL_PRIVILEGES
from worker.db.operators_database import OperatorsDatabase
from worker.db.privileges import PRIVILEGES, Privileges, Role, grants
from worker.db.revisions import head_revision
from worker.dead_letters.inspection import surroundings
from worker.deployment_states import states_of
from worker.operator_actions import Operator, recorded
from worker.rules.errors import ConfigurationError
from worker.rules.message import RecordPosition
from worker.rules.state import Applied, Duplicate, Rejected, Stale
from worker.stored_dead_letters import Dismissal, Filters
from worker.stored_redrives import JournalRow, Pinned, Settled

SEED = 7
REFUSALS = re.compile(r"permission denied|must be owner|permission was denied|do not have permission")
"""Texts of a missing privilege's error, which an error in the statement itself does not have."""


@pytest.fixture
def login(database_url: str) -> Iterator[URL]:
    """The database's URL for a login that may connect and has no privileges yet. Its name needs quoting."""
    url = make_url(database_url)
    name = f"a worker's {secrets.token_hex(4)}"
    password = f"Aa1-{secrets.token_hex(8)}"
    match url.get_backend_name():
        case "postgresql":
            run(database_url, f'CREATE ROLE "{name}" LOGIN')
            yield url.set(username=name)
            run(database_url, f'DROP OWNED BY "{name}"', f'DROP ROLE "{name}"')
        case "mssql":
            quoted = f"[{name}]"
            mssql.server().execute(f"CREATE LOGIN {quoted} WITH PASSWORD = '{password}'")
            yield url.set(username=name, password=password)
            mssql.server().execute_when_free(f"DROP LOGIN {quoted}")  # its user goes with the database
        case _:
            pytest.skip("SQLite knows no logins")


def grant(url: str, login: URL, role: Role = Role.WORKER) -> None:
    """Run the script as the owner of the tables; twice, as after a later migration."""
    script = dialect_of(url).grants(str(login.username), role=role, revision=head_revision())
    execute_script(url, script)
    execute_script(url, script)


def grant_tables(url: str, login: URL) -> None:
    """On Babelfish: it has no ownership chains, so that a procedure needs the privileges of its caller."""
    if is_babelfish(url):
        run(url, *grants(f"[{login.username}]", PRIVILEGES[Role.WORKER]))


def privileges_of(url: str, role: Role) -> tuple[Privileges, ...]:
    return (MSSQL_PRIVILEGES if url.startswith("mssql") else PRIVILEGES)[role]


def forbidden(url: str, role: Role) -> Iterator[str]:
    for privileges in privileges_of(url, role):
        yield f"DELETE FROM {privileges.table}"
        yield f"TRUNCATE TABLE {privileges.table}"
        yield f"DROP TABLE {privileges.table}"
        yield f"ALTER TABLE {privileges.table} ADD smuggled INTEGER"
        yield f"CREATE INDEX smuggled ON {privileges.table} ({first_column(privileges.table)})"
        if not privileges.inserted:
            yield f"INSERT INTO {privileges.table} ({first_column(privileges.table)}) VALUES (NULL)"
        for column in columns(privileges.table):
            if column not in privileges.updated:
                yield f"UPDATE {privileges.table} SET {column} = {column}"
    yield "CREATE TABLE smuggled (id INTEGER)"
    yield "CREATE VIEW smuggled AS SELECT 1 AS one"
    yield f"DROP TRIGGER guard_releases_status{' ON releases' * url.startswith('postgresql')}"
    yield "ALTER TABLE releases DISABLE TRIGGER guard_releases_status"


def columns(table: str) -> list[str]:
    if table == "rudder_alembic_version":
        return ["version_num"]
    return [column.name for column in Base.metadata.tables[table].columns]


def first_column(table: str) -> str:
    return columns(table)[0]


def test_granted_login_handles_a_whole_day(database_url: str, login: URL) -> None:
    """The day has outcomes of every kind, and writes to every table with INSERT privileges but worker_breakers. Whole
    releases are read where states are repaired.
    """

    async def handle(url: str) -> Outcomes:
        async with opened(url) as store:
            outcomes = await one_by_one(messages_of(records_of_day(SEED)), store)
            assert [rows async for rows in store.tables().releases() if states_of(rows)]
            return outcomes

    asyncio.run(prepare(database_url, SEED))
    grant(database_url, login)
    grant_tables(database_url, login)
    outcomes = asyncio.run(handle(login.render_as_string(hide_password=False)))
    assert {type(outcome) for outcome in outcomes.values()} == {Applied, Duplicate, Rejected, Stale}
    rows = asyncio.run(contents(database_url))
    inserted = {privileges.table for privileges in PRIVILEGES[Role.WORKER] if privileges.inserted}
    assert all(rows[table] for table in inserted - {"worker_breakers"})
    assert any(row["release_mgt_deployment_id"] for row in rows["app_environments"])


@pytest.mark.parametrize("role", Role)
def test_granted_login_can_do_nothing_else(database_url: str, login: URL, role: Role) -> None:
    """It cannot delete or change history, alter a table, or create anything; each role can read all of its tables."""
    migration.upgrade(database_url)
    grant(database_url, login, role)
    before = catalog(database_url)
    url = login.render_as_string(hide_password=False)
    allowed = [statement for statement in forbidden(database_url, role) if not is_refused(url, statement)]
    assert allowed == []
    assert catalog(database_url) == before
    for privileges in privileges_of(database_url, role):
        assert not is_refused(url, f"SELECT count(*) FROM {privileges.table}")  # it is not that nothing works


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.READER])
async def test_operator_dismisses_and_reader_only_reads(database_url: str, login: URL, role: Role) -> None:
    """Both list dead letters; the reader gets an error that names the privilege, and nothing is written."""
    await asyncio.to_thread(migration.upgrade, database_url)
    await asyncio.to_thread(grant, database_url, login, role)
    row = rejection(0)
    await insert_rows(database_url, "release_event_rejections", [row])
    database = OperatorsDatabase.open(login.render_as_string(hide_password=False), timeout_seconds=20)
    dismissal = Dismissal(dismissed_at=MOMENT, dismissed_by="jo", note="n")
    try:
        [found] = await database.dead_letters.page(Filters(), None, 10)
        assert (await surroundings(found, database.dead_letters)).redrives == []
        actions = recorded(
            database.actions, operator=Operator(name="jo", host="h"), command="dead-letters dismiss", arguments={}
        )
        if role is Role.OPERATOR:
            async with actions:
                assert await database.dead_letters.dismiss([row["id"]], dismissal) == [row["id"]]
        else:
            with pytest.raises(ConfigurationError, match="permission"):
                await actions.__aenter__()
            with pytest.raises(ConfigurationError, match="permission"):
                await database.dead_letters.dismiss([row["id"]], dismissal)
    finally:
        await database.close()
    rows = await contents(database_url, "release_event_dismissals", "operator_actions")
    assert [len(some) for some in rows.values()] == ([1, 1] if role is Role.OPERATOR else [0, 0])


def test_granted_operator_journals_a_redrive(database_url: str, login: URL) -> None:
    """All steps of a record, and what a plan reads."""
    migration.upgrade(database_url)
    grant(database_url, login, Role.OPERATOR)
    url = login.render_as_string(hide_password=False)
    row = JournalRow(
        number=0, pinned=Pinned(uuid4(), RecordPosition("events", 0, 7)), release_id=None, predicted="applied"
    )

    async def play() -> list[JournalRow]:
        database = OperatorsDatabase.open(url, timeout_seconds=20)
        try:
            await database.check()
            await database.tables.identity()
            await database.tables.rows_of([uuid4()])
            await database.openings.current("group")
            operator = Operator(name="maria", host="bastion")
            async with recorded(database.actions, operator=operator, command="redrive", arguments={}) as progress:
                action_id, journal = progress.action.id, database.redrives
                await journal.plan(action_id, [row])
                await journal.sending(action_id, row, end_offset=8, claim="mine")
                await journal.sent(action_id, 0, offset=8)
                await journal.settled(action_id, 0, Settled.APPLIED, None)
                return await journal.rows(action_id)
        finally:
            await database.close()

    [settled] = asyncio.run(play())
    assert (settled.sent_offset, settled.outcome) == (8, Settled.APPLIED)


def test_tables_in_another_schema_are_granted(database_url: str, login: URL) -> None:
    """The owner's default schema is not dbo: the script grants its tables and sets the user's default schema."""
    if not database_url.startswith("mssql"):
        pytest.skip("PostgreSQL's script is run in the schema")
    owner = f"owner {secrets.token_hex(4)}"
    password = f"Aa1-{secrets.token_hex(8)}"
    mssql.server().execute(f"CREATE LOGIN [{owner}] WITH PASSWORD = '{password}'")
    try:
        run(database_url, f"CREATE USER [{owner}] FOR LOGIN [{owner}] WITH DEFAULT_SCHEMA = apps")
        run(database_url, f"CREATE SCHEMA apps AUTHORIZATION [{owner}]")
        if not is_babelfish(database_url):
            run(database_url, f"GRANT CREATE TABLE, CREATE PROCEDURE TO [{owner}]")
        migrated = make_url(database_url).set(username=owner, password=password)
        migration.upgrade(migrated.render_as_string(hide_password=False))
        grant(database_url, login)
        url = login.render_as_string(hide_password=False)
        assert run(url, "SELECT SCHEMA_NAME(), COUNT(*) FROM releases") == [("apps", 0)]
        assert is_refused(url, "DELETE FROM releases")
    finally:
        mssql.server().execute_when_free(f"DROP LOGIN [{owner}]")


def test_login_without_grants_is_reported_at_the_start(database_url: str, login: URL) -> None:
    """The start ends with a ConfigurationError, which the command prints as one line for the operator."""
    migration.upgrade(database_url)
    if database_url.startswith("mssql"):
        run(database_url, f"CREATE USER [{login.username}] FOR LOGIN [{login.username}]")

    async def start() -> None:
        async with opened(login.render_as_string(hide_password=False)):
            pass

    with pytest.raises(ConfigurationError):
        asyncio.run(start())


def is_refused(url: str, statement: str) -> bool:
    try:
        run(url, statement)
    except DBAPIError as error:
        return bool(REFUSALS.search(str(error.orig)))
    return False


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_ping_names_each_missing_privilege(database_url: str, login: URL) -> None:
    """A privilege may be revoked while the worker runs: the worker is then not ready, and the reason names it."""
    migration.upgrade(database_url)
    grant(database_url, login)
    name, url = f'"{login.username}"', login.render_as_string(hide_password=False)

    async def problem() -> str | None:
        async with opened(url, check=False) as store:
            try:
                await store.check()
            except ConfigurationError as error:
                return str(error)
            return None

    assert asyncio.run(problem()) is None
    for privileges in PRIVILEGES[Role.WORKER]:
        for right in ("INSERT", "UPDATE"):
            if not (privileges.inserted if right == "INSERT" else privileges.updated):
                continue
            columns_of = f" ({privileges.updated[0]})" if right == "UPDATE" else ""
            run(database_url, f"REVOKE {right}{columns_of} ON {privileges.table} FROM {name}")
            assert f"lacks {right} on {privileges.table}: grant what" in str(asyncio.run(problem()))
            run(database_url, f"GRANT {right}{columns_of} ON {privileges.table} TO {name}")
    run(database_url, "ALTER FUNCTION rudder_guard(boolean, text) RENAME TO hidden")
    assert "rudder_guard" in str(asyncio.run(problem()))
    run(database_url, "ALTER FUNCTION hidden(boolean, text) RENAME TO rudder_guard")
    assert asyncio.run(problem()) is None
