"""Errors of a TDS server, SQL Server or Babelfish, and the worker's reactions to them."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from tests.conformance.catalog import ID, ROWS, execute_script, is_babelfish, run
from tests.conformance.release_messages import COMPONENT, ReleaseMessages, minute
from tests.conformance.stores import migrate, opened
from tests.conformance.table_contents import contents
from tests.testkit import mssql
from tests.testkit.counting_proxy import CountingProxy
from worker.db import migration, table_reader
from worker.db.dialect import Dialect, translating
from worker.db.engine import completed_url, open_engine
from worker.db.mssql.dialect import NO_SNAPSHOT
from worker.db.session import Connections
from worker.db.statement import Write, WriteStatement
from worker.db.table_reader import SqlTableReader
from worker.db.writes import Claim, WriteSet
from worker.pipeline.transaction import process
from worker.rules.errors import ConfigurationError, Conflict, LoginRefused, Unavailable, Unprocessable
from worker.rules.state import Applied
from worker.telemetry import LogEvent

pyodbc = pytest.importorskip("pyodbc", exc_type=ImportError)

pytestmark = pytest.mark.parametrize("database_url", ["mssql"], indirect=True)

NOTE = "INSERT INTO release_activity_logs (id, release_mgt_id, activity_type) VALUES (NEWID(), :release, :type)"
HINTS = ("MERGE ", "HOLDLOCK", "UPDLOCK", "READPAST", "NOLOCK", "ROWLOCK", "XLOCK", "TABLOCK", "SERIALIZABLE")
PROVOKED: dict[str, tuple[str, type[Exception], set[int]]] = {
    "primary key": (
        f"INSERT INTO release_deployments (id, release_mgt_id, environment_id) VALUES ('{ID}', '{ID}', N'x')",
        Conflict,
        {2627},
    ),
    "unique constraint": (
        f"INSERT INTO release_deployments (id, release_mgt_id, environment_id) VALUES (NEWID(), '{ID}', N'prod')",
        Conflict,
        {2627, 2601},
    ),
    "foreign key": (
        "INSERT INTO release_deployments (id, release_mgt_id, environment_id) VALUES (NEWID(), NEWID(), N'x')",
        Conflict,
        {547},
    ),
    "check": ("UPDATE release_deployments SET attempt = 0", Conflict, {547}),
    "transition of a deployment": ("UPDATE release_deployments SET status = N'ROLLED_BACK'", Conflict, {51001}),
    "transition of a release": ("UPDATE releases SET status = N'DEPLOYED'", Conflict, {51002}),
    "not null": ("UPDATE releases SET organization_id = NULL", Unprocessable, {515}),
    "too long": (
        "UPDATE releases SET organization_id = REPLICATE(N'x', 256)",
        Unprocessable,
        {8152, 2628},
    ),
    "no table": ("UPDATE nothing_of_the_sort SET a = 1", ConfigurationError, {208}),
}
"""Statement, reaction, and possible error numbers. A unique index has its own, 2601, on SQL Server only."""


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[tuple[Dialect, Connections, AsyncEngine]]:
    await migrate(database_url)
    await asyncio.to_thread(run, database_url, *ROWS)
    engine, dialect = open_engine(database_url, timeout_seconds=10.0)
    connections = dialect.connections(engine, connections_max=4, timeout_seconds=10.0)
    yield dialect, connections, engine
    await connections.close()
    await engine.dispose()


def write_set(*writes: Write) -> WriteSet:
    return WriteSet(
        event_id=ID,
        claim=Claim.APPLY,
        absent_release_id=None,
        number=None,
        version_check=None,
        predecessor_check=None,
        writes=writes,
    )


def statement(sql: str, *values: object) -> Write:
    return Write(WriteStatement("provoked", sql), values)


async def write(server: tuple[Dialect, Connections, AsyncEngine], *writes: Write) -> None:
    dialect, connections, _ = server
    with translating(dialect):
        async with connections.begin() as session:
            [error] = await session.write([write_set(*writes)])
            if error is not None:
                raise error


@pytest.mark.parametrize("wrong", PROVOKED)
async def test_error_number_is_recognised_and_rolls_back_its_batch(
    server: tuple[Dialect, Connections, AsyncEngine], database_url: str, wrong: str
) -> None:
    """The next message has a transaction of its own, without the statements of a doomed one."""
    sql, reaction, numbers = PROVOKED[wrong]
    if wrong == "no table" and await asyncio.to_thread(is_babelfish, database_url):
        pytest.skip("Babelfish has no number for it, and what has none is waited for")
    before = await contents(database_url)
    good = statement(NOTE, ID, "NOTE")
    with pytest.raises(reaction) as caught:
        await write(server, good, statement(sql), good)
    assert type(caught.value) is reaction
    assert any(f"({number})" in str(caught.value) for number in numbers), str(caught.value)
    assert await contents(database_url) == before
    with pytest.raises(reaction):
        await write(server, good, statement(sql))
    assert await contents(database_url) == before
    await write(server, good)
    assert len((await contents(database_url))["release_activity_logs"]) == 1 + len(before["release_activity_logs"])


async def test_deadlock_victim_is_a_conflict(
    server: tuple[Dialect, Connections, AsyncEngine], database_url: str
) -> None:
    """Error 1205. Either the message's own batch or the other transaction is the victim, never both."""
    dialect, _, _ = server
    other, watcher = (pyodbc.connect(_dsn(database_url), autocommit=False) for _ in range(2))
    other.execute("UPDATE release_deployments SET comment = N'other'")
    watcher.execute("SET LOCK_TIMEOUT 0")
    reactions: list[Exception | None] = []

    def cross() -> None:
        """Runs once the batch has locked the release."""
        while True:
            try:
                watcher.execute("UPDATE releases SET description = N'nobody'")
            except pyodbc.Error:
                break
            finally:
                watcher.rollback()
        try:
            other.execute("UPDATE releases SET description = N'other'")
            other.commit()
        except pyodbc.Error as error:
            reactions.append(dialect.reaction(error))

    crossing = threading.Thread(target=cross)
    crossing.start()
    try:
        await write(
            server,
            statement("UPDATE releases SET description = N'one'"),
            statement("UPDATE release_deployments SET comment = N'one'"),
        )
    except Conflict as error:
        reactions.append(error)
    finally:
        await asyncio.to_thread(crossing.join)
        watcher.close()
        other.close()
    assert [type(reaction) for reaction in reactions] == [Conflict]
    assert "(1205)" in str(reactions[0])


def _dsn(url: str) -> str:
    _, arguments = create_async_engine(url, poolclass=NullPool).dialect.create_connect_args(make_url(url))
    return str(arguments["dsn"])


async def test_locked_row_is_waited_for_and_then_unavailable(database_url: str) -> None:
    """Error 1222; Babelfish reports it without a number."""
    await migrate(database_url)
    builder = ReleaseMessages()
    submitted = builder.event("release.submitted")
    engine = create_async_engine(database_url, poolclass=NullPool)
    async with opened(database_url) as store:
        await process(builder.created(), store)
    async with opened(database_url, check=False, timeout_seconds=1.0) as store, engine.connect() as holder:
        await store.ping()
        await holder.exec_driver_sql("UPDATE releases SET updated_at = updated_at")
        with pytest.raises(Unavailable):
            await process(submitted, store)
        await holder.rollback()
    await engine.dispose()
    async with opened(database_url) as store:
        assert isinstance(await process(submitted, store), Applied)


@pytest.mark.parametrize(
    ("changed", "reaction"),
    [
        ({"password": "Wr0ng-secret"}, LoginRefused),
        ({"username": "nobody_knows", "password": "Wr0ng-secret"}, LoginRefused),
        ({"database": "nobody_knows"}, (Unavailable, ConfigurationError)),
        ({"port": 1}, Unavailable),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
async def test_refused_login_is_reported_without_the_password(
    database_url: str, changed: dict[str, Any], reaction: type[Exception] | tuple[type[Exception], ...]
) -> None:
    """18456 may be a database that fails over, for some attempts. So may 4060, which is waited for; or 911."""
    url = make_url(database_url).set(**changed)
    async with opened(url.render_as_string(hide_password=False), check=False, timeout_seconds=5.0) as store:
        for ask in (store.ping, store.check):
            with pytest.raises(reaction) as caught:
                await ask()
            assert str(url.password) not in str(caught.value)


async def test_untrusted_certificate_is_refused(database_url: str) -> None:
    """Unless TrustServerCertificate is asked for, as it is for the servers of these tests."""
    given = make_url(database_url)
    query = {name: value for name, value in given.query.items() if name.lower() != "trustservercertificate"}
    if query == dict(given.query):
        pytest.skip("the server's certificate is trusted here")
    url = completed_url(given.set(query=query).render_as_string(hide_password=False))
    async with opened(url.render_as_string(hide_password=False), check=False, timeout_seconds=5.0) as store:
        with pytest.raises(ConfigurationError, match="certificate"):
            await store.ping()


async def test_wire_traffic_has_no_merge_and_no_lock_hints(database_url: str) -> None:
    """Read off the wire, unencrypted for once. Texts are declared in three lengths: one for each text would make a plan
    for each. No MERGE, and no hint that takes locks out of the server's hands.
    """
    await migrate(database_url)
    given = make_url(database_url)
    assert given.port
    async with CountingProxy.running(given.port) as proxy:
        query = {name: value for name, value in given.query.items() if name.lower() != "encrypt"}
        url = given.set(port=proxy.port, query={**query, "encrypt": "no"}).render_as_string(hide_password=False)
        builder = ReleaseMessages()
        async with opened(url) as store:
            proxy.listens = True
            for message in builder.approved():
                await process(message, store)
            for length in (1, 17, 255, 256, 3_999, 4_001):
                await process(builder.deploy("requested", comment="x" * length), store)
            await process(builder.deploy("succeeded"), store)
    content = bytes(proxy.heard).replace(b"\0", b"").decode("latin-1").upper()
    assert "UPDATE RELEASES" in content
    assert [word for word in HINTS if word in content] == []
    assert set(re.findall(r"@P\d+ NVARCHAR\((\w+)\)", content)) == {"255", "4000", "MAX"}


async def test_pointer_is_set_in_a_table_of_another_collation(database_url: str) -> None:
    """Its columns were made elsewhere; to compare them with ours without a word would be error 468."""
    table = (
        "CREATE TABLE app_environments (environment_id NVARCHAR(50) COLLATE Latin1_General_BIN2 NOT NULL, "
        "component_id UNIQUEIDENTIFIER NOT NULL, deployment_track_id NVARCHAR(50) COLLATE Latin1_General_BIN2 NOT NULL)"
    )
    await asyncio.to_thread(run, database_url, table)
    await migrate(database_url)
    columns = "environment_id, component_id, deployment_track_id"
    row = f"INSERT INTO app_environments ({columns}) VALUES (N'production', '{COMPONENT}', N'main')"
    await asyncio.to_thread(run, database_url, row)
    builder = ReleaseMessages()
    async with opened(database_url) as store:
        for message in (*builder.approved(), builder.deploy("succeeded")):
            assert isinstance(await process(message, store), Applied)
    pointer = "SELECT release_mgt_release_id FROM app_environments"
    assert await asyncio.to_thread(run, database_url, pointer) == [(str(builder.release_id),)]


async def test_foreign_app_environments_gets_advice(database_url: str) -> None:
    """Columns that are converted for each comparison, and no index on the key: each with the statement to run."""
    table = (
        "CREATE TABLE app_environments (environment_id VARCHAR(50) NOT NULL, component_id NVARCHAR(36) NOT NULL, "
        "deployment_track_id NVARCHAR(50) COLLATE Latin1_General_BIN2 NOT NULL)"
    )
    await asyncio.to_thread(run, database_url, table)
    await migrate(database_url)
    async with opened(database_url, check=False) as store:
        lines = [line for line in await store.advice() if line != NO_SNAPSHOT]
    environment, component, track, index = sorted(lines, key=lambda line: "has no index" in line)
    assert "app_environments.environment_id is varchar" in environment
    assert "ALTER COLUMN environment_id nvarchar(50) COLLATE" in environment
    assert "app_environments.component_id is nvarchar, not uniqueidentifier" in component
    assert "app_environments.deployment_track_id has the collation" in track
    statement = next(part for part in index.split(";") if "CREATE INDEX" in part)
    await asyncio.to_thread(run, database_url, statement)
    async with opened(database_url, check=False) as store:
        assert [line for line in await store.advice() if "has no index" in line] == []


async def test_component_in_capitals_gets_its_pointer(database_url: str) -> None:
    """SQL Server's own CONVERT writes UUIDs so; in a case-sensitive collation they are compared as UUIDs."""
    table = (
        "CREATE TABLE app_environments (environment_id NVARCHAR(50) NOT NULL, "
        "component_id VARCHAR(100) COLLATE Latin1_General_CS_AS NOT NULL, deployment_track_id NVARCHAR(50) NOT NULL)"
    )
    await asyncio.to_thread(run, database_url, table)
    await migrate(database_url)
    columns = "environment_id, component_id, deployment_track_id"
    for component in (str(COMPONENT).upper(), "nobody", f"{COMPONENT} and more"):
        row = f"INSERT INTO app_environments ({columns}) VALUES (N'production', '{component}', N'main')"
        await asyncio.to_thread(run, database_url, row)
    builder, second = ReleaseMessages(), ReleaseMessages()
    async with opened(database_url) as store:
        for one, minutes in ((builder, 40), (second, 50)):
            for message in (*one.approved(), one.deploy("succeeded", at=minute(minutes))):
                assert isinstance(await process(message, store), Applied)
    pointers = "SELECT component_id, release_mgt_release_id FROM app_environments"
    found = {row[0]: row[1] for row in await asyncio.to_thread(run, database_url, pointers)}
    assert found == {
        str(COMPONENT).upper(): str(second.release_id),
        "nobody": None,
        f"{COMPONENT} and more": None,
    }


async def test_pages_of_environments_have_a_total_order(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each name is in exactly one page, also where the collation treats two names as equal."""
    table = (
        "CREATE TABLE app_environments (environment_id NVARCHAR(50) NOT NULL, "
        "component_id UNIQUEIDENTIFIER NOT NULL, deployment_track_id NVARCHAR(50) NOT NULL)"
    )
    await asyncio.to_thread(run, database_url, table)
    await migrate(database_url)
    names = ["prod", "PROD", "Prod", "pROD", "prod ", "stage", "STAGE"]
    columns = "environment_id, component_id, deployment_track_id"
    for name in names:
        row = f"INSERT INTO app_environments ({columns}) VALUES (N'{name}', '{COMPONENT}', N'main')"
        await asyncio.to_thread(run, database_url, row)
    monkeypatch.setattr(table_reader, "_POINTINGS_MAX", 2)
    reader = SqlTableReader.open(database_url, timeout_seconds=20.0)
    try:
        found = [row.environment async for row in reader.environments()]
    finally:
        await reader.close()
    assert sorted(found) == sorted(names)


async def test_application_lock_is_waited_for_then_unavailable(database_url: str) -> None:
    """sp_getapplock reports a time-out by its result alone."""
    await migrate(database_url)
    created = ReleaseMessages().created()
    other = pyodbc.connect(_dsn(database_url), autocommit=False)
    lock = (
        "DECLARE @one INT = (SELECT COUNT(*) FROM releases); EXEC sp_getapplock @Resource = ?, @LockMode = 'Exclusive'"
    )
    try:
        await asyncio.to_thread(other.execute, lock, f"rudder event {created.id}")
        async with opened(database_url, check=False, timeout_seconds=2.0) as store:
            await store.ping()
            with pytest.raises(Unavailable, match=r"\(51005\)"):
                await process(created, store)
    finally:
        other.close()
    async with opened(database_url) as store:
        assert isinstance(await process(created, store), Applied)


def test_migration_in_progress_is_waited_for_with_a_bound(database_url: str) -> None:
    """The lock belongs to the transaction, so it needs one: a first statement that reads a table begins it."""
    other = pyodbc.connect(_dsn(database_url), autocommit=False)
    lock = "DECLARE @one INT = (SELECT TOP (1) 1 FROM sys.objects); EXEC sp_getapplock 'rudder migrations', 'Exclusive'"
    try:
        other.execute(lock)
        with (
            structlog.testing.capture_logs() as logs,
            pytest.raises(
                migration.MigrationFailed, match="changed nothing: another migration has kept its lock for 1 s"
            ),
        ):
            migration.upgrade(database_url, lock_timeout_seconds=1)
    finally:
        other.close()
    assert [line["event"] for line in logs] == [LogEvent.MIGRATION_WAITING]
    migration.upgrade(database_url)


def test_statements_of_the_sql_server_page_run(database_url: str) -> None:
    """docs/how-to/sql-server.md; what Babelfish does not have is left out there."""
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "sql-server.md").read_text("utf-8")
    blocks = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    assert len(blocks) > 4
    migration.upgrade(database_url)
    run(database_url, *ROWS)
    babelfish = is_babelfish(database_url)
    for block in blocks:
        if babelfish and re.match(r"ALTER (DATABASE|INDEX|TABLE)", block):
            continue
        execute_script(database_url, block)
    run(database_url, "UPDATE release_activity_logs SET created_at = '2019-01-01'")
    execute_script(database_url, next(block for block in blocks if "#old" in block))
    assert run(database_url, "SELECT COUNT(*) FROM release_activity_logs") == [(0,)]


async def test_disabled_row_versioning_gets_advice(database_url: str) -> None:
    """READ_COMMITTED_SNAPSHOT is a setting of the database, and off by default."""
    await migrate(database_url)
    if await asyncio.to_thread(is_babelfish, database_url):
        pytest.skip("Babelfish always reads versions, and has no ALTER DATABASE")
    async with opened(database_url, check=False) as store:
        assert await store.advice() == []
    name = make_url(database_url).database
    mssql.server().execute_when_free(f"ALTER DATABASE {name} SET READ_COMMITTED_SNAPSHOT OFF WITH ROLLBACK IMMEDIATE")
    async with opened(database_url, check=False) as store:
        assert await store.advice() == [NO_SNAPSHOT]
