"""Connections to SQL Server when the server, or the way to it, hangs: every wait is bounded, nothing broken is kept."""

import asyncio
import threading
from contextlib import AsyncExitStack
from dataclasses import replace
from types import NoneType

import pytest

from tests.unit.db.test_writes import write_set
from worker.db.mssql import connections as mssql_connections
from worker.db.mssql.connections import MssqlConnections
from worker.rules.errors import ConfigurationError, Conflict, StaleRead, Unavailable, Unprocessable


class OdbcError(Exception):
    """As pyodbc raises it: a SQLSTATE and a text."""


AVAILABLE = ("READ_WRITE", 1, '"')
"""What a ping finds."""

COMPLETED = (-1, 0, "")
"""The last row of a batch."""


class Cursor:
    """`fails`: what the next statement meets. `results`: those of the next statement; the first is read by `fetchall`
    until `nextset`.
    """

    def __init__(self) -> None:
        self.fails: OdbcError | None = None
        self.results: list[list[tuple[object, ...]]] = [[AVAILABLE]]
        self.executed: list[str] = []

    def setinputsizes(self, _sizes: object) -> None: ...

    def execute(self, sql: str, _parameters: object) -> None:
        self.executed.append(sql)
        if self.fails:
            raise self.fails

    @property
    def description(self) -> object:
        return self.results[0] or None

    def fetchall(self) -> list[tuple[object, ...]]:
        return self.results[0]

    def nextset(self) -> bool:
        if len(self.results) > 1:
            self.results.pop(0)
            return True
        return False

    def cancel(self) -> None: ...


class Connection:
    """A connection of the driver's, as far as messages use it."""

    def __init__(self) -> None:
        self.own_cursor = Cursor()
        self.closed = threading.Event()

    def cursor(self) -> Cursor:
        return self.own_cursor

    def rollback(self) -> None: ...

    def close(self) -> None:
        self.closed.set()


async def test_hanging_connect_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolution of a host name can hang longer than any timeout of the driver's. All threads hang in it here, and
    then a session waits for a thread. What connects in the end is closed.
    """
    monkeypatch.setattr(mssql_connections, "_BEYOND_THE_DRIVER_SECONDS", 0.02)
    resolved, made = threading.Event(), list[Connection]()

    def connect() -> Connection:
        resolved.wait()
        made.append(Connection())
        return made[-1]

    connections = MssqlConnections(connect, errors=OdbcError, connections_max=1, timeout_seconds=0.02)
    try:
        for _ in range(4):
            with pytest.raises(Unavailable, match="the host name may not resolve"):
                async with connections.begin():
                    pass
    finally:
        resolved.set()  # a thread that hangs would outlive the test
    await asyncio.to_thread(connections._executor.shutdown)
    assert len(made) == 2  # those of the two threads; what waited for a thread was given up
    assert all(late.closed.is_set() for late in made)


@pytest.mark.parametrize(
    ("error", "discarded"),
    [
        (OdbcError("HYT00", "[HYT00] Query timeout expired (0) (SQLExecDirectW)"), True),
        (OdbcError("08S01", "[08S01] Communication link failure (0) (SQLExecDirectW)"), True),
        (OdbcError("HY000", "[HY000] The database is read-only. (3906) (SQLExecDirectW)"), True),
        (OdbcError("40001", "[40001] Deadlock victim. (1205) (SQLExecDirectW)"), False),
    ],
)
async def test_idle_connections_are_discarded_with_a_broken_one(error: OdbcError, discarded: bool) -> None:
    """The others are connected to the same server, and each would make one more message wait."""
    made = list[Connection]()

    def connect() -> Connection:
        made.append(Connection())
        return made[-1]

    connections = MssqlConnections(connect, errors=OdbcError, connections_max=3, timeout_seconds=5.0)
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await (await stack.enter_async_context(connections.begin())).ping(None)
    assert len(made) == 3
    for connection in made:
        connection.own_cursor.fails = error
    with pytest.raises(OdbcError):
        async with connections.begin() as conversation:
            await conversation.ping(None)
    for connection in made:
        connection.own_cursor.fails = None
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await (await stack.enter_async_context(connections.begin())).ping(None)
    assert len(made) == (5 if discarded else 3)
    await connections.close()


@pytest.mark.parametrize(
    ("found", "reaction", "said"),
    [
        (("READ_ONLY", 1, '"'), Unavailable, "read-only"),
        (("READ_WRITE", 0, '"'), ConfigurationError, "run `rudder-worker migrate`"),
        (("READ_WRITE", None, '"'), ConfigurationError, "run `rudder-worker migrate`"),
        (("READ_WRITE", 1, '\\"'), ConfigurationError, "OPENJSON"),
    ],
)
async def test_ping_finds_what_forbids_to_write(
    found: tuple[object, ...], reaction: type[Exception], said: str
) -> None:
    """A secondary; a procedure that is missing, or not granted; JSON that is read wrongly."""
    connection = Connection()
    connections = MssqlConnections(lambda: connection, errors=OdbcError, connections_max=1, timeout_seconds=5.0)
    connection.own_cursor.results = [[found]]
    with pytest.raises(reaction, match=said):
        async with connections.begin() as session:
            await session.ping(None)
    await connections.close()


async def test_batch_reports_each_failure_at_its_message() -> None:
    """Calls without a result set, and calls with a row."""
    connection = Connection()
    connections = MssqlConnections(lambda: connection, errors=OdbcError, connections_max=1, timeout_seconds=5.0)
    connection.own_cursor.results = [[], [(1, 51003, "changed")], [(2, 2627, "key")], [COMPLETED]]
    async with connections.begin() as session:
        errors = await session.write([write_set("opened")] * 3, patient=True)
    assert [type(error) for error in errors] == [NoneType, StaleRead, Conflict]
    assert not connection.closed.is_set()
    assert len(connection.own_cursor.executed) == 1
    await connections.close()


async def test_batch_without_its_last_row_is_unavailable() -> None:
    """Any of its messages may have been written. The connection is not used again."""
    connection = Connection()
    connections = MssqlConnections(lambda: connection, errors=OdbcError, connections_max=1, timeout_seconds=5.0)
    connection.own_cursor.results = [[(0, 2627, "key")]]
    with pytest.raises(Unavailable, match="ended before its last call"):
        async with connections.begin() as session:
            await session.write([write_set("opened")] * 2, patient=True)
    assert await asyncio.to_thread(connection.closed.wait, 5.0)
    await connections.close()


async def test_failover_in_a_batch_discards_its_connection() -> None:
    """The error comes as a row, and the connection still answers."""
    connection = Connection()
    connections = MssqlConnections(lambda: connection, errors=OdbcError, connections_max=1, timeout_seconds=5.0)
    connection.own_cursor.results = [[(0, 3906, "read-only")], [COMPLETED]]
    async with connections.begin() as session:
        [error] = await session.write([write_set("opened")], patient=True)
    assert type(error) is Unavailable
    assert await asyncio.to_thread(connection.closed.wait, 5.0)
    await connections.close()


async def test_message_that_cannot_be_sent_fails_alone() -> None:
    """The others are one batch, and their errors are at their own positions."""
    connection = Connection()
    connections = MssqlConnections(lambda: connection, errors=OdbcError, connections_max=1, timeout_seconds=5.0)
    connection.own_cursor.results = [[(1, 2627, "key")], [COMPLETED]]
    fine = write_set("opened")
    bad = replace(fine, writes=tuple(replace(write, values=("\0", *write.values[1:])) for write in fine.writes))
    async with connections.begin() as session:
        errors = await session.write([fine, bad, fine], patient=False)
    assert [type(error) for error in errors] == [NoneType, Unprocessable, Conflict]
    await connections.close()
