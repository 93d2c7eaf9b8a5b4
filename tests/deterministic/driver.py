"""aiosqlite without its thread: SQLite itself is called in the event loop, when the wire says so."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.deterministic.wire import Wire
from worker.db.sqlite.dialect import SqliteDialect


def in_the_loop(patch: pytest.MonkeyPatch, wire: Wire) -> None:
    """Every connection that is opened while the patch lasts asks through the wire."""
    prepare = SqliteDialect.prepare

    def prepare_for_processes_that_die(self: SqliteDialect, engine: AsyncEngine) -> None:
        prepare(self, engine)
        event.listen(engine.sync_engine, "connect", _does_not_wait_for_the_disk)

    patch.setattr(SqliteDialect, "prepare", prepare_for_processes_that_die)
    patch.setattr("aiosqlite.core.Thread", _NoThread)
    patch.setattr("aiosqlite.core.SimpleQueue", lambda: _Calls(wire))


def _does_not_wait_for_the_disk(connection: DBAPIConnection, _record: object) -> None:
    """What the system was given survives the process. Only a power cut would be another matter."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = OFF")
    cursor.close()


class _NoThread:
    daemon = True

    def __init__(self, **_arguments: Any) -> None:
        return None

    def start(self) -> None:
        return None


class _Calls:
    """What aiosqlite takes for the queue to its thread."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def put_nowait(self, call: tuple[asyncio.Future[Any] | None, Callable[[], Any]]) -> None:
        answer, function = call
        name = getattr(getattr(function, "func", None), "__name__", "")
        self._wire.ask("database commit" if name == "write" else "database", function, fail=_refused, answer=answer)


def _refused() -> sqlite3.OperationalError:
    """The transaction stays open, as it does for a reader's lock."""
    return sqlite3.OperationalError("database is locked")
