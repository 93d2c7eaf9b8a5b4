"""Answers of PostgreSQL to a pipeline, in every possible split of their bytes."""

import asyncio
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from worker.db.postgresql.pipelining import Pipeline, _Answers
from worker.db.statement import Statement
from worker.rules.errors import Unprocessable

TIMEOUT_SECONDS = 5.0


def answer(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def error(sqlstate: str, *, severity: str = "ERROR", kind: bytes = b"E") -> bytes:
    fields = {"S": severity, "V": severity, "C": sqlstate, "M": "a message"}
    return answer(kind, b"".join(f"{key}{value}".encode() + b"\x00" for key, value in fields.items()) + b"\x00")


BOUND, ROW, COMPLETE = answer(b"2"), answer(b"D", b"\x00\x00"), answer(b"C", b"SELECT 1\x00")
READY = answer(b"Z", b"I")
DONE = BOUND + ROW + COMPLETE + READY
NOTICE = error("01000", severity="NOTICE", kind=b"N")
PARAMETER = answer(b"S", b"TimeZone\x00UTC\x00")
NOTIFICATION = answer(b"A", b"\x00\x00\x00\x01channel\x00payload\x00")
REFUSED = BOUND + error("23505") + READY
CLOSING = error("57P01", severity="FATAL")


class Transport:
    """Records what is written, and has a protocol."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        self.protocol = protocol
        self.written: list[bytes] = []
        self.closing = False

    def set_protocol(self, protocol: asyncio.Protocol) -> None:
        self.protocol = protocol

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        self.written.append(data)


class Lent(asyncio.Protocol):
    """What has the transport while the pipeline has not."""

    def __init__(self) -> None:
        self.received = b""
        self.lost = False

    def data_received(self, data: bytes) -> None:
        self.received += data

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


class Connection:
    """The part of asyncpg's connection that a pipeline uses. `types`: of each statement's parameters."""

    def __init__(self, *types: str) -> None:
        self._types = types
        self._protocol = Lent()
        self._transport = Transport(self._protocol)
        self.terminated = self.closed = False
        self.refused: Exception | None = None

    async def prepare(self, sql: str, *, name: str) -> Any:
        if self.refused is not None and "refused" in sql:
            raise self.refused
        return SimpleNamespace(get_parameters=lambda: [SimpleNamespace(name=type_) for type_ in self._types])

    def is_closed(self) -> bool:
        return self.closed

    def terminate(self) -> None:
        self.terminated = True


@asynccontextmanager
async def running(
    connection: Connection, *values: Sequence[object], sql: str = "SELECT"
) -> "AsyncIterator[asyncio.Task[list[Exception | None]]]":
    """A pipeline with a statement for each of the values, which waits for its answers."""
    pipeline = Pipeline(connection, timeout_seconds=TIMEOUT_SECONDS)
    run = asyncio.ensure_future(pipeline.run([(Statement(sql, ()), one) for one in values]))
    while connection._transport.protocol is connection._protocol and not run.done():
        await asyncio.sleep(0)
    yield run
    if not run.done():
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
    assert connection._transport.protocol is connection._protocol, "asyncpg has its transport again"


async def results_of(parts: Sequence[bytes], *, count: int) -> tuple[list[Exception | None], Connection]:
    connection = Connection()
    async with running(connection, *[()] * count) as run:
        for part in parts:
            connection._transport.protocol.data_received(part)
        return await run, connection


ANSWERS = NOTICE + DONE + PARAMETER + REFUSED + NOTIFICATION + DONE
KINDS = [type(None), asyncpg.UniqueViolationError, type(None)]


async def test_answers_are_read_in_every_split_of_their_bytes() -> None:
    """Notices and other messages that may come at any time are between them."""
    for cut in range(len(ANSWERS) + 1):
        results, _ = await results_of([ANSWERS[:cut], ANSWERS[cut:]], count=3)
        assert [type(result) for result in results] == KINDS
    for first, second in combinations(range(0, len(ANSWERS), 7), 2):
        parts = [ANSWERS[:first], ANSWERS[first:second], ANSWERS[second:]]
        results, _ = await results_of(parts, count=3)
        assert [type(result) for result in results] == KINDS
    results, _ = await results_of([bytes((byte,)) for byte in ANSWERS], count=3)
    assert [type(result) for result in results] == KINDS


async def test_message_behind_the_last_answer_is_asyncpgs() -> None:
    """A part of it too: asyncpg reads the rest."""
    for cut in range(len(DONE + NOTICE) + 1):
        whole = DONE + NOTICE
        results, connection = await results_of([whole[:cut], whole[cut:]], count=1)
        assert results == [None]
        assert connection._protocol.received == NOTICE


@pytest.mark.parametrize("ended", [None, ConnectionResetError("reset")])
@pytest.mark.parametrize("before", [b"", DONE, DONE + BOUND, REFUSED, DONE + error("23505")])
async def test_lost_connection_is_no_error_of_a_statement(before: bytes, ended: Exception | None) -> None:
    """Also if it is lost between a statement's error and the end of its answer."""
    connection = Connection()
    async with running(connection, (), ()) as run:
        if before:
            connection._transport.protocol.data_received(before)
        connection._transport.protocol.connection_lost(ended)
        with pytest.raises(ConnectionResetError):
            await run
    assert connection._protocol.lost
    assert connection.terminated


class Deadline:
    """Counts how often it is moved."""

    def __init__(self) -> None:
        self.moved = 0

    def reschedule(self, _when: float) -> None:
        self.moved += 1


async def test_cancelled_statements_do_not_extend_the_time() -> None:
    """Where each waits as long as a statement may, as for a locked table, a batch does not wait for each of them."""
    deadline: Any = Deadline()
    answers = _Answers(Lent(), 4, timeout=deadline, timeout_seconds=TIMEOUT_SECONDS)
    moved = []
    for part in (DONE, REFUSED, BOUND + error("57014") + READY, DONE):
        answers.data_received(part)
        moved.append(deadline.moved)
    assert moved == [1, 2, 2, 2], "the last one completes the batch"
    assert len(await answers.complete) == 4


async def test_end_of_the_session_is_the_error_of_all() -> None:
    connection = Connection()
    async with running(connection, (), ()) as run:
        connection._transport.protocol.data_received(DONE + CLOSING)
        connection._transport.protocol.connection_lost(None)
        with pytest.raises(asyncpg.AdminShutdownError):
            await run


async def test_cancelled_pipeline_terminates_its_connection() -> None:
    connection = Connection()
    async with running(connection, (), ()) as run:
        connection._transport.protocol.data_received(DONE)
        run.cancel()
        connection._transport.protocol.data_received(REFUSED)
        with pytest.raises(asyncio.CancelledError):
            await run
    assert connection.terminated
    assert connection._protocol.received == b"", "an answer that nobody waits for is not asyncpg's"


@pytest.mark.parametrize("closing", [True, False])
async def test_closed_connection_is_not_written_to(closing: bool) -> None:
    """It may close while a statement is prepared; nothing would be reported again."""
    connection = Connection()
    connection.closed, connection._transport.closing = not closing, closing
    async with running(connection, ()) as run:
        with pytest.raises(ConnectionResetError):
            await run
    assert connection._transport.written == []


async def test_statement_that_cannot_be_prepared_is_not_sent() -> None:
    connection = Connection()
    connection.refused = asyncpg.UndefinedFunctionError("function rudder_guard does not exist")
    pipeline = Pipeline(connection, timeout_seconds=TIMEOUT_SECONDS)
    run = asyncio.ensure_future(pipeline.run([(Statement("SELECT", ()), ()), (Statement("refused", ()), ())]))
    while connection._transport.protocol is connection._protocol:
        await asyncio.sleep(0)
    connection._transport.protocol.data_received(DONE)
    assert await run == [None, connection.refused]


async def test_value_of_another_type_is_not_sent() -> None:
    connection = Connection("int2", "text")
    async with running(connection, (1, "a"), (70_000, "a"), (1, "\ud800"), (None, None)) as run:
        connection._transport.protocol.data_received(DONE * 2)
        results = await run
    assert [type(result) for result in results] == [type(None), Unprocessable, Unprocessable, type(None)]
    assert connection._transport.written[0].count(b"S\x00\x00\x00\x04") == 2


async def test_pipeline_of_bad_values_sends_nothing() -> None:
    connection = Connection("int2")
    async with running(connection, (70_000,)) as run:
        results = await run
    assert [type(result) for result in results] == [Unprocessable]
    assert connection._transport.written == []


def test_asyncpg_has_the_private_attributes() -> None:
    """Those that a pipeline uses, and how asyncpg sets them."""
    parameters = asyncpg.Connection.__init__.__code__.co_varnames[:6]
    assert parameters == ("self", "protocol", "transport", "loop", "addr", "config")
    assert {"_protocol", "_transport", "_aborted"} <= set(asyncpg.Connection.__slots__)
    protocol: Any = asyncpg.protocol.Protocol
    for name in ("data_received", "connection_lost", "pause_writing", "resume_writing", "is_connected", "abort"):
        assert callable(getattr(protocol, name)), name
    assert issubclass(protocol, asyncio.Protocol), "its transport gives it bytes, and no buffer"
