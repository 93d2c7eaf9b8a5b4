"""Errors of a TDS server, SQL Server or Babelfish, and the worker's reactions to them."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import NoneType
from typing import Any
from uuid import uuid4

import pytest
import structlog.testing
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from tests.conformance.catalog import ID, MOMENT, ROWS, execute_script, is_babelfish, run
from tests.conformance.release_messages import COMPONENT, ReleaseMessages, minute
from tests.conformance.stores import migrate, opened
from tests.conformance.table_contents import contents
from tests.conformance.test_rejected_and_applied import WAITING
from tests.testkit import mssql
from tests.testkit.counting_proxy import CountingProxy
from worker.db import migration, table_reader
from worker.db.columns import ACTIVITIES, DEPLOYMENTS
from worker.db.dialect import Dialect, translating
from worker.db.engine import completed_url, open_engine
from worker.db.mssql.dialect import NO_SNAPSHOT
from worker.db.mssql.procedure import PROCEDURE
from worker.db.session import Connections
from worker.db.statement import Write
from worker.db.table_reader import SqlTableReader
from worker.db.writes import (
    CHANGE_VERSION,
    INSERT_DEPLOYMENT,
    MOVE_DEPLOYMENT,
    MOVE_RELEASE,
    RESOLVE_REJECTION,
    Claim,
    WriteSet,
    insert_activities,
)
from worker.pipeline.transaction import process
from worker.rules.errors import (
    ConfigurationError,
    Conflict,
    LockTimeout,
    LoginRefused,
    StaleRead,
    Unavailable,
    Unprocessable,
)
from worker.rules.state import Applied
from worker.telemetry import LogEvent

pyodbc = pytest.importorskip("pyodbc", exc_type=ImportError)

pytestmark = pytest.mark.parametrize("database_url", ["mssql"], indirect=True)

LOCK = "DECLARE @one INT = (SELECT COUNT(*) FROM releases); EXEC sp_getapplock @Resource = ?, @LockMode = 'Exclusive'"
HINTS = ("MERGE ", "HOLDLOCK", "UPDLOCK", "READPAST", "NOLOCK", "ROWLOCK", "XLOCK", "TABLOCK", "SERIALIZABLE")


def _row(columns: Sequence[str], values: Mapping[str, object]) -> tuple[object, ...]:
    return tuple(values.get(column) for column in columns)


def note(**values: object) -> Write:
    row = {"id": uuid4(), "created_at": MOMENT, "updated_at": MOMENT, "release_mgt_id": ID, "status": "PENDING"}
    return Write(insert_activities(1), _row(ACTIVITIES, {**row, "activity_type": "NOTE", **values}))


def attempt(**values: object) -> Write:
    row: dict[str, object] = {"id": uuid4(), "created_at": MOMENT, "updated_at": MOMENT, "release_mgt_id": ID}
    row |= {"environment_id": "x", "attempt": 1, "config_revision": 1, "status": "PENDING"}
    row |= {"config_mapping_revision": 0, "schema_based_config_revision": 0}
    return Write(INSERT_DEPLOYMENT, _row(DEPLOYMENTS, {**row, **values}))


def moved_deployment(status: str) -> Write:
    return Write(MOVE_DEPLOYMENT, (status, MOMENT, None, None, "one", None, None, None, ID, "PENDING"))


def moved_release(status: str) -> Write:
    return Write(MOVE_RELEASE, (status, MOMENT, ID, "DRAFT"))


PROVOKED: dict[str, tuple[Write, type[Exception], set[int]]] = {
    "primary key": (attempt(id=ID), Conflict, {2627}),
    "unique constraint": (attempt(environment_id="prod"), Conflict, {2627, 2601}),
    "foreign key": (attempt(release_mgt_id=uuid4()), Conflict, {547}),
    "check": (attempt(attempt=0), Conflict, {547}),
    "transition of a deployment": (moved_deployment("ROLLED_BACK"), Conflict, {51001}),
    "transition of a release": (moved_release("DEPLOYED"), Conflict, {51002}),
    "another version": (Write(CHANGE_VERSION, (ID, 7)), StaleRead, {51003}),
    "another row": (Write(RESOLVE_REJECTION, (MOMENT, uuid4())), Conflict, {51004}),
    "not null": (note(activity_type=None), Unprocessable, {515}),
    "too long": (note(activity_type="x" * 256), Unprocessable, {8152, 2628}),
}
"""Write, reaction, and possible error numbers. A unique index has its own, 2601, on SQL Server only."""


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[tuple[Dialect, Connections, AsyncEngine]]:
    await migrate(database_url)
    await asyncio.to_thread(run, database_url, *ROWS)
    engine, dialect = open_engine(database_url, timeout_seconds=10.0)
    connections = dialect.connections(lambda: engine, connections_max=4)
    yield dialect, connections, engine
    await connections.close()
    await engine.dispose()


def write_set(*writes: Write) -> WriteSet:
    return WriteSet(
        event_id=uuid4(),
        claim=Claim.APPLY,
        absent_release_id=None,
        number=None,
        version_check=None,
        predecessor_id=None,
        writes=writes,
    )


def following(one: WriteSet, other: WriteSet) -> WriteSet:
    """The other, behind the one in a chain."""
    return replace(other, predecessor_id=one.event_id)


async def write(server: tuple[Dialect, Connections, AsyncEngine], *write_sets: WriteSet) -> Sequence[Exception | None]:
    dialect, connections, _ = server
    with translating(dialect):
        async with connections.begin() as session:
            return await session.write(write_sets, patient=True)


@pytest.mark.parametrize("wrong", PROVOKED)
async def test_error_of_one_message_in_a_batch_is_its_alone(
    server: tuple[Dialect, Connections, AsyncEngine], database_url: str, wrong: str
) -> None:
    """Its number is recognised, and its own transaction rolled back. The messages around it are written."""
    bad, reaction, numbers = PROVOKED[wrong]
    before = await contents(database_url)
    other = moved_release("IN_REVIEW") if bad.statement is MOVE_DEPLOYMENT else moved_deployment("SUCCESS")
    first, error, last = await write(server, write_set(note()), write_set(other, bad), write_set(note()))
    assert (first, last) == (None, None)
    assert type(error) is reaction
    assert any(f"({number})" in str(error) for number in numbers), str(error)
    after = await contents(database_url)
    assert len(after["release_activity_logs"]) == 2 + len(before["release_activity_logs"])
    assert {**after, "release_activity_logs": None} == {**before, "release_activity_logs": None}
    [alone] = await write(server, write_set(bad))
    assert type(alone) is reaction
    assert await contents(database_url) == after


async def test_chain_stops_at_its_first_failure(
    server: tuple[Dialect, Connections, AsyncEngine], database_url: str
) -> None:
    """An event is written only behind the one before it in the same batch. Other messages are not affected."""
    before = len((await contents(database_url))["release_activity_logs"])
    first, second = write_set(note()), write_set(note(activity_type=None))
    chain = [first, following(first, second), following(second, write_set(note()))]
    errors = await write(server, *chain, write_set(note()))
    assert [type(error) for error in errors] == [NoneType, Unprocessable, StaleRead, NoneType]
    assert len((await contents(database_url))["release_activity_logs"]) == before + 2
    [again] = await write(server, following(first, write_set(note())))
    assert type(again) is StaleRead, "the first is stored, by another batch"


async def test_chain_is_written_in_one_batch(
    server: tuple[Dialect, Connections, AsyncEngine], database_url: str
) -> None:
    before = len((await contents(database_url))["release_activity_logs"])
    first, second, third = (write_set(note()) for _ in range(3))
    assert await write(server, first, following(first, second), following(second, third)) == [None] * 3
    assert len((await contents(database_url))["release_activity_logs"]) == before + 3


@pytest.mark.parametrize("messages", [1, 2, 5, 64, 65])
async def test_batch_of_any_size_is_written(
    server: tuple[Dialect, Connections, AsyncEngine], database_url: str, messages: int
) -> None:
    before = len((await contents(database_url))["release_activity_logs"])
    assert await write(server, *[write_set(note()) for _ in range(messages)]) == [None] * messages
    assert len((await contents(database_url))["release_activity_logs"]) == before + messages


async def test_message_in_a_batch_waits_shortly_for_a_lock(
    server: tuple[Dialect, Connections, AsyncEngine], database_url: str
) -> None:
    """The connection would wait 10 s for it; the messages behind it are written before the lock is released."""
    before = len((await contents(database_url))["release_activity_logs"])
    locked = write_set(note())
    other = pyodbc.connect(_dsn(database_url), autocommit=False)
    try:
        await asyncio.to_thread(other.execute, LOCK, f"rudder event {locked.event_id}")
        errors = await write(server, write_set(note()), locked, write_set(note()))
        assert [type(error) for error in errors] == [NoneType, LockTimeout, NoneType]
        assert len((await contents(database_url))["release_activity_logs"]) == before + 2
    finally:
        other.close()
    assert await write(server, locked) == [None]


async def test_locked_row_fails_its_message_alone(
    server: tuple[Dialect, Connections, AsyncEngine], database_url: str
) -> None:
    """Error 1222. On Babelfish no statement can catch it: it ends the batch."""
    other = pyodbc.connect(_dsn(database_url), autocommit=False)
    locked = write_set(moved_release("IN_REVIEW"))
    try:
        await asyncio.to_thread(other.execute, "UPDATE releases SET description = N'other'")
        if await asyncio.to_thread(is_babelfish, database_url):
            with pytest.raises(Unavailable):
                await write(server, write_set(), locked, write_set())
        else:
            errors = await write(server, write_set(), locked, write_set())
            assert [type(error) for error in errors] == [NoneType, LockTimeout, NoneType]
    finally:
        other.close()
    assert await write(server, locked) == [None]


def waiting_sessions(url: str) -> int:
    """How many sessions wait for a lock."""
    [(number,)] = run(url, WAITING["mssql"])
    return int(number)


async def test_cancelled_batch_leaves_no_transaction_behind(
    server: tuple[Dialect, Connections, AsyncEngine], database_url: str
) -> None:
    """What the batch had begun is rolled back, and its connection is not used again."""
    waiting = write_set(note())
    other = pyodbc.connect(_dsn(database_url), autocommit=False)
    try:
        await asyncio.to_thread(other.execute, LOCK, f"rudder event {waiting.event_id}")
        writing = asyncio.create_task(write(server, waiting))
        while not await asyncio.to_thread(waiting_sessions, database_url):
            assert not writing.done()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
    finally:
        other.close()
    assert await write(server, waiting) == [None]


async def test_missing_procedure_is_reported_with_what_to_run(database_url: str) -> None:
    """At the start, and by the probe while the worker runs: it was dropped, or the database is of an older version."""
    await migrate(database_url)
    message = ReleaseMessages().created()
    async with opened(database_url) as store:
        await asyncio.to_thread(run, database_url, f"DROP PROCEDURE {PROCEDURE}")
        with pytest.raises(ConfigurationError, match="run `rudder-worker migrate`"):
            await store.ping()
        with pytest.raises(ConfigurationError, match="run `rudder-worker migrate`"):
            await store.check()
        with pytest.raises((ConfigurationError, Unavailable)):  # Babelfish has no number for it
            await process(message, store)
    assert (await contents(database_url))["releases"] == []


async def test_deadlock_victim_is_a_conflict(
    server: tuple[Dialect, Connections, AsyncEngine], database_url: str
) -> None:
    """Error 1205. Either the message's own transaction or the other one is the victim, never both."""
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
        [error] = await write(server, write_set(moved_release("IN_REVIEW"), moved_deployment("IN_PROGRESS")))
        reactions += [] if error is None else [error]
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
    assert f"EXEC {PROCEDURE.upper()}" in content
    assert [word for word in HINTS if word in content] == []
    assert set(re.findall(r"@P\d+ NVARCHAR\((\w+)\)", content)) <= {"255", "4000", "MAX"}


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
    try:
        await asyncio.to_thread(other.execute, LOCK, f"rudder event {created.id}")
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
