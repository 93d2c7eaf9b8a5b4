"""Connections to SQL Server when the server, or the way to it, hangs: every wait is bounded, nothing broken is kept."""

import asyncio
import threading
from contextlib import AsyncExitStack

import pytest

from worker.db.mssql import connections as mssql_connections
from worker.db.mssql.connections import MssqlConnections
from worker.rules.errors import Unavailable


class OdbcError(Exception):
    """As pyodbc raises it: a SQLSTATE and a text."""


class Cursor:
    """`fails`: what the next statement meets."""

    def __init__(self) -> None:
        self.fails: OdbcError | None = None

    def setinputsizes(self, _sizes: object) -> None: ...

    def execute(self, _sql: str, _parameters: object) -> None:
        if self.fails:
            raise self.fails

    def fetchall(self) -> list[tuple[object, ...]]:
        return [(1,)]

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
