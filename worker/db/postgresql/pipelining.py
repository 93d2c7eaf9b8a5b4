"""Several statements in one round trip, each in a transaction of its own: Bind, Execute and Sync for each of them.

asyncpg waits for the answer to each statement (MagicStack/asyncpg issue 839). Here its connection lends its
transport while it is idle: another protocol sends the messages and reads the answers, then asyncpg has it back in the
state in which it lent it. Connecting, TLS, authentication and preparing stay asyncpg's.

Source: PostgreSQL documentation, "Frontend/Backend Protocol", "Pipelining" and "Message Formats".
"""

import asyncio
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Final

import asyncpg

from worker.db.statement import Statement
from worker.rules.errors import Unprocessable

_STATEMENTS_MAX: Final = 200
"""How many statements a connection keeps prepared; the one that was not used for longest is dropped."""

_SYNC: Final = b"S\x00\x00\x00\x04"
_EXECUTE: Final = b"E\x00\x00\x00\x09\x00\x00\x00\x00\x00"
_NULL: Final = b"\xff\xff\xff\xff"
_TRUE: Final = b"\x00\x00\x00\x01\x01"
_FALSE: Final = b"\x00\x00\x00\x01\x00"
_BINARY: Final = b"\x00\x01"
_TEXT: Final = b"\x00\x00"

_int16: Final = struct.Struct("!H").pack
_int32: Final = struct.Struct("!I").pack
_sized_int2: Final = struct.Struct("!ih").pack
_sized_int4: Final = struct.Struct("!ii").pack
_sized_int8: Final = struct.Struct("!iq").pack
_length_at: Final = struct.Struct("!I").unpack_from

_EPOCH: Final = datetime(2000, 1, 1)  # noqa: DTZ001 - PostgreSQL's, of times without a zone
_EPOCH_DAY: Final = date(2000, 1, 1).toordinal()
_MICROSECOND: Final = timedelta(microseconds=1)
_UUID_LENGTH: Final = _int32(16)

_ERROR, _READY, _HEADER_BYTES = ord("E"), ord("Z"), 5


def _timestamp(value: datetime) -> bytes:
    return _sized_int8(8, (value.replace(tzinfo=None) - _EPOCH) // _MICROSECOND)


def _text(value: str) -> bytes:
    encoded = value.encode()
    return _int32(len(encoded)) + encoded


_ENCODERS: Final[dict[str, Callable[[Any], bytes]]] = {
    "uuid": lambda value: _UUID_LENGTH + value.int.to_bytes(16, "big"),
    "int2": lambda value: _sized_int2(2, value),
    "int4": lambda value: _sized_int4(4, value),
    "int8": lambda value: _sized_int8(8, value),
    "bool": lambda value: _TRUE if value else _FALSE,
    "timestamp": _timestamp,
    "date": lambda value: _sized_int4(4, value.toordinal() - _EPOCH_DAY),
}
"""By the name of the type, in its binary format. A text is the same in both formats; other types take it as text."""


class _Prepared:
    """A statement that the server has prepared on one connection."""

    def __init__(self, kept: "asyncpg.prepared_stmt.PreparedStatement[Any]", name: str) -> None:
        self._kept = kept  # asyncpg closes a statement without references
        types = [parameter.name for parameter in kept.get_parameters()]
        self._encoders = [_ENCODERS.get(name, _text) for name in types]
        formats = b"".join([_BINARY if name in _ENCODERS else _TEXT for name in types])
        self._before = b"\x00" + name.encode() + b"\x00" + _int16(len(types)) + formats + _int16(len(types))

    def messages(self, values: Sequence[object]) -> bytes:
        """Bind, Execute and Sync.

        Raises:
            Unprocessable: a value is not one of its parameter's type.
        """
        try:
            encoded = [
                _NULL if value is None else encode(value) for encode, value in zip(self._encoders, values, strict=True)
            ]
        except (struct.error, UnicodeEncodeError) as error:
            raise Unprocessable(str(error)) from error
        body = b"".join([self._before, *encoded, b"\x00\x00"])
        return b"B" + _int32(len(body) + 4) + body + _EXECUTE + _SYNC


class Pipeline:
    """The statements of one connection that are sent this way."""

    def __init__(self, connection: "asyncpg.Connection", *, timeout_seconds: float) -> None:
        """`timeout_seconds`: the longest time without an answer; each statement has one."""
        self._connection = connection
        self._timeout_seconds = timeout_seconds
        self._prepared: OrderedDict[str, _Prepared] = OrderedDict()
        self._names = 0

    async def run(self, statements: Iterable[tuple[Statement, Sequence[object]]]) -> list[Exception | None]:
        """Run each statement in a transaction of its own, in order; the error of each that failed.

        Raises:
            asyncpg.PostgresError, OSError, TimeoutError: the connection is lost, or its answers do not come: any of the
                statements may have been committed.
        """
        results: list[Exception | None] = []
        messages: list[bytes] = []
        sent: list[int] = []
        for position, (statement, values) in enumerate(statements):
            results.append(None)
            try:
                messages.append((await self._prepare(statement)).messages(values))
            except (Unprocessable, asyncpg.SyntaxOrAccessError) as error:  # a missing function, for example
                results[position] = error
            else:
                sent.append(position)
        if messages:
            for position, result in zip(sent, await self._send(messages), strict=True):
                results[position] = result
        return results

    async def _prepare(self, statement: Statement) -> _Prepared:
        prepared = self._prepared.get(statement.sql)
        if prepared is None:
            self._names += 1
            name = f"rudder_{self._names}"
            prepared = _Prepared(await self._connection.prepare(statement.sql, name=name), name)
            self._prepared[statement.sql] = prepared
            if len(self._prepared) > _STATEMENTS_MAX:
                self._prepared.popitem(last=False)
        else:
            self._prepared.move_to_end(statement.sql)
        return prepared

    async def _send(self, messages: Sequence[bytes]) -> list[Exception | None]:
        connection: Any = self._connection
        if connection.is_closed():  # while a statement was prepared: it is reported only once
            raise ConnectionResetError("PostgreSQL closed the connection")
        # Private: asyncpg has no public way to its transport. tests/unit/db/test_pipelining.py fails if they go.
        transport, protocol = connection._transport, connection._protocol  # noqa: SLF001
        if transport.is_closing():  # nothing would be sent, and no answer come
            raise ConnectionResetError("PostgreSQL closed the connection")
        async with asyncio.timeout(self._timeout_seconds) as timeout:
            answers = _Answers(protocol, len(messages), timeout=timeout, timeout_seconds=self._timeout_seconds)
            transport.set_protocol(answers)
            try:
                transport.write(b"".join(messages))
                return await answers.complete
            except BaseException:
                self._connection.terminate()  # its answers may still come
                raise
            finally:
                transport.set_protocol(protocol)


class _Answers(asyncio.Protocol):
    """Reads the answers to a number of Syncs: for each an error or none."""

    def __init__(
        self, lent_by: asyncio.Protocol, count: int, *, timeout: asyncio.Timeout, timeout_seconds: float
    ) -> None:
        self._lent_by = lent_by
        self._count = count
        self._timeout = timeout
        self._timeout_seconds = timeout_seconds
        self._buffer = b""
        self._error: Exception | None = None
        self._results: list[Exception | None] = []
        self._loop = asyncio.get_running_loop()
        self.complete: asyncio.Future[list[Exception | None]] = self._loop.create_future()

    def data_received(self, data: bytes) -> None:
        if self.complete.done():
            if len(self._results) == self._count:  # or else these are answers of a pipeline that has failed
                self._lent_by.data_received(data)
            return
        buffer = self._buffer + data if self._buffer else data
        at, end, progress = 0, len(buffer), False
        while end - at >= _HEADER_BYTES and len(self._results) < self._count:
            length = _length_at(buffer, at + 1)[0] + 1
            if end - at < length:
                break
            kind = buffer[at]
            if kind == _READY:
                # What waited as long as a statement may does not extend the time: the others may wait for the same.
                progress = progress or not isinstance(self._error, asyncpg.QueryCanceledError)
                self._results.append(self._error)
                self._error = None
            elif kind == _ERROR:
                self._error = _error(buffer[at + _HEADER_BYTES : at + length])
            at += length
        self._buffer = buffer[at:]
        if len(self._results) == self._count:
            self.complete.set_result(self._results)
            if self._buffer:  # an asynchronous message, or the beginning of one
                self._lent_by.data_received(self._buffer)
        elif progress:
            self._timeout.reschedule(self._loop.time() + self._timeout_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.complete.done():
            # An error of a statement is not why the connection ended, and its transaction is not the only one.
            ended = self._error if _ends_the_session(self._error) else None
            self.complete.set_exception(
                ended or exc or ConnectionResetError("PostgreSQL closed the connection before it answered")
            )
        self._lent_by.connection_lost(exc)

    def pause_writing(self) -> None:
        """The server reads on while its answers are read, so nothing has to wait."""

    def resume_writing(self) -> None:
        """As `pause_writing`."""


def _error(fields: bytes) -> Exception:
    """An ErrorResponse as asyncpg raises it."""
    by_kind = {field[:1].decode(): field[1:].decode("utf-8", "replace") for field in fields.split(b"\x00") if field}
    error: Exception = asyncpg.PostgresError.new(by_kind)
    return error


def _ends_the_session(error: Any) -> bool:
    return getattr(error, "severity_en", None) in {"FATAL", "PANIC"}
