"""The connections that messages take turns on, each a thread's: ODBC calls block.

pyodbc without aioodbc's and SQLAlchemy's layers: a turn at the server is one call in a thread, whatever it consists of
(bind, execute, fetch; or execute, look for errors). Last in, first out, so that those in use stay warm.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from worker.db.connection_limit import ConnectionLimit
from worker.db.mssql.errors import error_of, kind_of, kind_of_number
from worker.db.mssql.parameters import UNBOUNDED, bound, sizes, with_nulls
from worker.db.mssql.procedure import PROCEDURE, Batch, batches, failures, message_text
from worker.db.pointers import Pointers
from worker.db.row_decoder import Reader, Row
from worker.db.statement import Statement
from worker.db.writes import WriteSet, presence
from worker.rules.errors import ConfigurationError, Unavailable, Unprocessable

_AGE_MAX_SECONDS: Final = 1_500.0
"""Azure's gateways drop what was idle for 30 minutes."""

_CLOSE_TIMEOUT_SECONDS: Final = 5.0

_BEYOND_THE_DRIVER_SECONDS: Final = 10.0
"""The driver waits for a statement some seconds longer than the server may wait for a lock. Its login timeout does not
count the resolution of the host name, for which a thread can wait much longer."""

_UPDATEABILITY: Final = "CAST(DATABASEPROPERTYEX(DB_NAME(), N'Updateability') AS nvarchar(20))"
_MAY_EXECUTE: Final = f"HAS_PERMS_BY_NAME(N'{PROCEDURE}', N'OBJECT', N'EXECUTE')"
_UNESCAPED: Final = """(SELECT a FROM OPENJSON(N'{"a":"\\""}') WITH (a nvarchar(10)))"""
_PING: Final = f"SELECT {_UPDATEABILITY}, {_MAY_EXECUTE}, {_UNESCAPED}"
NO_PROCEDURE: Final = (
    f"the procedure {PROCEDURE} is missing, or this login may not execute it: run `rudder-worker migrate`, and then "
    "what `rudder-worker migrate --grants` prints"
)
WRONG_JSON: Final = (
    "the server's OPENJSON returns texts with the escapes of JSON, as Babelfish for PostgreSQL 4 does: every text that "
    "is written would be wrong; use SQL Server or Azure SQL Database"
)

T = TypeVar("T")


def _uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)


def _aware(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC)


def _same(value: Any) -> Any:
    return value


class MssqlSession:
    """`worker.db.session.Session`, in autocommit: each call is one turn in a thread.

    One connection and its one cursor; closing a cursor would cost a round trip, in which the server forgets its
    statement, while the next statement on the same cursor does that by the way. `timeout_seconds`: of a turn, longer
    than the driver's of a statement.
    """

    reader = Reader(uuid=_uuid, time=_aware, date=_same)

    def __init__(
        self, connection: Any, *, executor: ThreadPoolExecutor, errors: type[Exception], timeout_seconds: float
    ) -> None:
        self._connection = connection
        self._timeout_seconds = timeout_seconds
        self._executor = executor
        self._errors = errors
        self._cursor = connection.cursor()
        self._running: Future[Any] | None = None
        self.made_at_seconds = time.monotonic()
        self.failed = False
        """Whether its server cannot be written to any more, as after a failover."""

    async def fetch(self, statement: Statement, values: Sequence[object]) -> Sequence[Row]:
        [rows] = await self.fetch_each([(statement, values)])
        return rows

    async def fetch_each(self, statements: Sequence[tuple[Statement, Sequence[object]]]) -> Sequence[Sequence[Row]]:
        """One turn for all; each is a round trip."""
        return await self._call(lambda: [self._rows(statement.sql, values) for statement, values in statements])

    async def execute(self, statement: Statement, values: Sequence[object]) -> None:
        await self._call(lambda: self._execute(statement.sql, values))

    async def write(self, write_sets: Sequence[WriteSet], *, patient: bool) -> Sequence[Exception | None]:
        """One turn, and one round trip for each 64 sets."""
        errors: list[Exception | None] = [None] * len(write_sets)
        messages: dict[int, str] = {}
        for position, write_set in enumerate(write_sets):
            try:
                messages[position] = message_text(write_set)
            except Unprocessable as error:
                errors[position] = error
        if messages:
            to_send = list(batches([*messages.values()], patient=patient))
            found = await self._call(lambda: [error for batch in to_send for error in self._written(batch)])
            for position, result in zip(messages, found, strict=True):
                errors[position] = result
        return errors

    async def ping(self, pointers: Pointers | None) -> None:
        tables = presence(pointers=pointers is not None)
        rows = await self._call(lambda: self._rows(f"{_PING} WHERE NOT EXISTS ({tables})", ()))
        updateability, may_execute, unescaped = rows[0]
        if updateability == "READ_ONLY":
            raise Unavailable("SQL Server: the database is read-only, as a secondary is after a failover")
        if may_execute != 1:
            raise ConfigurationError(f"SQL Server: {NO_PROCEDURE}")
        if unescaped != '"':
            raise ConfigurationError(f"SQL Server: {WRONG_JSON}")

    @property
    def unanswered(self) -> bool:
        """Whether the server has not answered the last call."""
        return self._running is not None and not self._running.done()

    def abandon(self) -> None:
        """Stop what it is doing and close it, without waiting for either. What was not committed is undone."""
        running = self._running
        if running is None or running.done() or running.cancel():  # cancelled: no thread had begun it
            self._close_in_a_thread()
            return
        with suppress(self._errors):  # it has just ended by itself
            self._cursor.cancel()
        running.add_done_callback(lambda _ended: self._close_in_a_thread())

    def close(self) -> None:
        """Blocks."""
        with suppress(self._errors):  # closed by the server, or by an error before
            self._connection.close()

    def _close_in_a_thread(self) -> None:
        try:
            self._executor.submit(self.close)
        except RuntimeError:  # there are no threads any more: all is closed
            self.close()

    def _rows(self, sql: str, values: Sequence[object]) -> Sequence[Row]:
        """The rows of the only result. Blocks."""
        self._execute(
            with_nulls(sql, tuple(value is None for value in values)),
            [value for value in values if value is not None],
        )
        found: Sequence[Row] = self._cursor.fetchall()
        return found

    def _written(self, batch: Batch) -> list[Exception | None]:
        """The error of each message. Blocks. Raises where the batch ended early: any message may have been written."""
        self._cursor.setinputsizes([UNBOUNDED] * len(batch.parameters))
        self._cursor.execute(batch.sql, batch.parameters)
        rows: list[Row] = []
        while True:
            if self._cursor.description is not None:
                rows.extend(self._cursor.fetchall())
            # An error behind a result shows only when that is passed.
            if not self._cursor.nextset():
                break
        found = failures(rows, messages=batch.messages)
        if found is None:
            raise Unavailable("SQL Server: the answer to a batch ended before its last call")
        self.failed |= any(failure is not None and kind_of_number(*failure).elsewhere for failure in found)
        return [None if failure is None else error_of(*failure) for failure in found]

    def _execute(self, sql: str, parameters: Sequence[object]) -> None:
        self._cursor.setinputsizes(sizes(parameters))
        self._cursor.execute(sql, bound(parameters))

    async def _call(self, work: Callable[[], T]) -> T:
        self._running = future = self._executor.submit(work)
        # The driver's own time-out is of statements; a COMMIT to a peer that fell silent would wait for TCP to give up.
        async with asyncio.timeout(self._timeout_seconds):
            return await asyncio.wrap_future(future)


class MssqlConnections:
    """`worker.db.session.Connections`. Nothing is connected to before it is needed.

    `connect` blocks and gives a connection of pyodbc's, ready for messages; `errors` are those that it raises.
    """

    def __init__(
        self, connect: Callable[[], Any], *, errors: type[Exception], connections_max: int, timeout_seconds: float
    ) -> None:
        self._connect = connect
        self._errors = errors
        self._connection_limit = ConnectionLimit(
            database="SQL Server", connections_max=connections_max, timeout_seconds=timeout_seconds
        )
        # A thread a connection: a COMMIT must never wait for a thread that waits for its lock. And as many again for
        # what was abandoned and has not ended yet.
        self._executor = ThreadPoolExecutor(2 * connections_max, thread_name_prefix="odbc")
        self._idle: list[MssqlSession] = []
        self._closed = False
        self._turn_timeout_seconds = timeout_seconds + _BEYOND_THE_DRIVER_SECONDS

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[MssqlSession]:
        await self._connection_limit.take()
        try:
            session = await self._session()
            try:
                yield session
            except BaseException as error:
                # What a failed batch or an unanswered commit left behind is not to be trusted with a roll back.
                if session.unanswered or self._is_elsewhere(error):
                    self._abandon_idle()  # connected to the same server, which is gone or no longer the primary
                session.abandon()
                raise
            if self._closed or session.failed:
                session.abandon()
            else:
                self._idle.append(session)
        finally:
            self._connection_limit.give_back()

    async def close(self) -> None:
        """Say goodbye to a server that listens, for a while."""
        self._closed = True
        idle, self._idle = self._idle, []
        closing = [asyncio.wrap_future(self._executor.submit(session.close)) for session in idle]
        if closing:
            await asyncio.wait(closing, timeout=_CLOSE_TIMEOUT_SECONDS)
        self._executor.shutdown(wait=False)

    def _is_elsewhere(self, error: BaseException) -> bool:
        return isinstance(error, TimeoutError | Unavailable) or (
            isinstance(error, self._errors) and kind_of(error).elsewhere
        )

    def _abandon_idle(self) -> None:
        idle, self._idle = self._idle, []
        for session in idle:
            session.abandon()

    async def _session(self) -> MssqlSession:
        while self._idle:
            session = self._idle.pop()
            if time.monotonic() - session.made_at_seconds < _AGE_MAX_SECONDS:
                return session
            session.abandon()
        connecting = self._executor.submit(self._connect)
        try:
            async with asyncio.timeout(self._turn_timeout_seconds):
                connection = await asyncio.wrap_future(connecting)
        except TimeoutError as error:
            connecting.add_done_callback(_close_unwanted)
            raise Unavailable(
                f"SQL Server: no connection after {self._turn_timeout_seconds:g} s; the host name may not resolve"
            ) from error
        except asyncio.CancelledError:
            connecting.add_done_callback(_close_unwanted)
            raise
        return MssqlSession(
            connection, executor=self._executor, errors=self._errors, timeout_seconds=self._turn_timeout_seconds
        )


def _close_unwanted(connecting: Future[Any]) -> None:
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().close()
