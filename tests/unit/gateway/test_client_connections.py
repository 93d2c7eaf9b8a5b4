"""Connections of slow clients end, on a real server and real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from structlog.testing import capture_logs

from worker.gateway.client_connections import REFUSALS_MAX, REFUSED, ClientConnections
from worker.service.http import Server
from worker.telemetry import LogEvent, Metrics

SAFETY_SECONDS = 30.0
SHORT_SECONDS = 0.05
REQUEST = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\nab"


class Reader:
    """An application that reads bodies; `disconnected` counts those that ended early."""

    def __init__(self) -> None:
        self.disconnected = self.refusals = 0
        self.answering = asyncio.Event()
        self.answering.set()
        self.reading = asyncio.Event()

    async def post(self, request: Request) -> Response:
        self.reading.set()
        try:
            await request.body()
        except ClientDisconnect:
            self.disconnected += 1
            return Response(status_code=400)
        await self.answering.wait()
        return Response("read")

    async def refuse(self, _request: Request) -> Response:
        return Response("refused", status_code=413)

    async def forbid(self, request: Request) -> Response:
        request.scope["state"][REFUSED] = True
        self.refusals += 1
        return Response("refused", status_code=429)


@asynccontextmanager
async def serving(
    reader: Reader, *, connections_max: int = 10, head_seconds: float = SAFETY_SECONDS, pause_seconds: float = 0.0
) -> AsyncIterator[tuple[int, Metrics]]:
    metrics, stop = Metrics(), asyncio.Event()
    connections = ClientConnections(
        connections_max=connections_max, metrics=metrics, head_seconds=head_seconds, pause_seconds=pause_seconds
    )
    endpoints = {"/": reader.post, "/refused": reader.refuse, "/forbidden": reader.forbid}
    app = Starlette(routes=[Route(path, endpoint, methods=["POST"]) for path, endpoint in endpoints.items()])
    server = Server(app, host="127.0.0.1", port=0, protocol=connections.protocol())
    with capture_logs() as logs:
        task = asyncio.create_task(server.run(stop))
        async with asyncio.timeout(SAFETY_SECONDS):
            while not server._server.started and not task.done():  # uvicorn has no notification of its start
                await asyncio.sleep(0)
    [listening] = [log for log in logs if log["event"] == LogEvent.HTTP_LISTENING]
    try:
        yield listening["port"], metrics
    finally:
        stop.set()
        async with asyncio.timeout(SAFETY_SECONDS):
            await task


async def ended(reader: asyncio.StreamReader) -> bytes:
    """What the server sends until it closes the connection."""
    received = b""
    async with asyncio.timeout(SAFETY_SECONDS):
        with suppress(ConnectionError):
            while part := await reader.read(65_536):
                received += part
    return received


async def endless(writer: asyncio.StreamWriter) -> None:
    """Chunks of a body until the server ends the connection."""
    async with asyncio.timeout(SAFETY_SECONDS):
        while True:
            writer.write(b"10000\r\n" + b" " * 65_536 + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0)


def closed(metrics: Metrics, cause: str) -> float:
    value = metrics.registry.get_sample_value("rudder_gateway_connections_closed_total", {"cause": cause})
    return value or 0.0


@pytest.mark.parametrize("sent", [b"", b"P", b"POST / HTTP/1.1\r\nhost: x\r\n", REQUEST + b"POST / HT"])
async def test_head_that_is_not_complete_in_time_ends_the_connection(sent: bytes) -> None:
    async with serving(Reader(), connections_max=10, head_seconds=SHORT_SECONDS) as (port, metrics):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        received = await ended(reader)
        assert (b"read" in received) is sent.startswith(REQUEST)
        assert closed(metrics, "slow") == 1
        writer.close()


async def test_idle_connection_stays_for_the_next_request() -> None:
    """A proxy would meet the end of a connection that it reuses with a request."""
    async with serving(Reader(), connections_max=10, head_seconds=SHORT_SECONDS) as (port, metrics):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(2):
            writer.write(REQUEST)
            async with asyncio.timeout(SAFETY_SECONDS):
                assert b"200" in await reader.readuntil(b"\r\n\r\nread")
            idle, idle_writer = await asyncio.open_connection("127.0.0.1", port)
            assert await ended(idle) == b""  # it began later, and its deadline is over
            idle_writer.close()
        assert closed(metrics, "slow") == 2
        writer.close()


async def test_deadline_of_the_head_does_not_end_a_body() -> None:
    """A body has a longer deadline of its own, and so has the answer."""
    application = Reader()
    async with serving(application, connections_max=10, head_seconds=SHORT_SECONDS) as (port, metrics):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST[:-1])
        await application.reading.wait()
        idle, idle_writer = await asyncio.open_connection("127.0.0.1", port)
        assert await ended(idle) == b""  # it began later, and its deadline is over
        application.answering.clear()
        writer.write(REQUEST[-1:])
        another, another_writer = await asyncio.open_connection("127.0.0.1", port)
        assert await ended(another) == b""
        application.answering.set()
        async with asyncio.timeout(SAFETY_SECONDS):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        for one in (writer, idle_writer, another_writer):
            one.close()
        assert closed(metrics, "slow") >= 2


async def test_endless_body_after_the_answer_ends() -> None:
    async with serving(Reader(), connections_max=10, head_seconds=SHORT_SECONDS) as (port, metrics):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /refused HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        with pytest.raises(ConnectionError):
            await endless(writer)
        assert closed(metrics, "slow") == 1
        writer.close()


@pytest.mark.parametrize("sent", [b"", REQUEST[:10], REQUEST[:-1]])
async def test_oldest_waiting_connection_makes_way(sent: bytes) -> None:
    """One that waits within its body has not begun to wait anew."""
    application = Reader()
    async with serving(application, connections_max=2, head_seconds=SAFETY_SECONDS) as (port, metrics):
        oldest, oldest_writer = await asyncio.open_connection("127.0.0.1", port)
        oldest_writer.write(sent)
        if sent == REQUEST[:-1]:
            await application.reading.wait()
        second, second_writer = await asyncio.open_connection("127.0.0.1", port)
        second_writer.write(REQUEST)
        async with asyncio.timeout(SAFETY_SECONDS):
            assert (await second.readline()).startswith(b"HTTP/1.1 200 ")
        async with httpx.AsyncClient(trust_env=False, timeout=SAFETY_SECONDS) as client:
            answer = await client.post(f"http://127.0.0.1:{port}/", content=b"ab")
        assert answer.status_code == 200
        assert await ended(oldest) == b""
        assert closed(metrics, "too_many") == 1
        assert application.disconnected == (sent == REQUEST[:-1])
        for writer in (oldest_writer, second_writer):
            writer.close()


async def test_connection_with_a_request_in_progress_stays() -> None:
    """If all have one, the new connection is closed."""
    application = Reader()
    application.answering.clear()
    async with serving(application, connections_max=1, head_seconds=SAFETY_SECONDS) as (port, metrics):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(REQUEST)
        await application.reading.wait()
        with socket.create_connection(("127.0.0.1", port)) as other:
            other.setblocking(False)
            async with asyncio.timeout(SAFETY_SECONDS):
                with suppress(ConnectionError):
                    assert await asyncio.get_running_loop().sock_recv(other, 1) == b""
        application.answering.set()
        async with asyncio.timeout(SAFETY_SECONDS):
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
        assert closed(metrics, "too_many") == 1
        writer.close()


async def test_connection_with_many_refusals_is_not_read_for_a_while() -> None:
    """A client that repeats refused requests at once is slowed down; another connection is not."""
    application = Reader()
    forbidden = b"POST /forbidden HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
    async with serving(application, pause_seconds=SAFETY_SECONDS) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(REFUSALS_MAX + 1):
            writer.write(forbidden)
            await reader.readuntil(b"refused")
        writer.write(forbidden)
        await writer.drain()
        async with httpx.AsyncClient(trust_env=False, timeout=SAFETY_SECONDS) as client:
            for _ in range(3):
                assert (await client.post(f"http://127.0.0.1:{port}/", content=b"ab")).status_code == 200
        assert application.refusals == REFUSALS_MAX + 1
        writer.close()


async def test_accepted_request_ends_a_sequence_of_refusals() -> None:
    application = Reader()
    forbidden = b"POST /forbidden HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
    async with serving(application, pause_seconds=SAFETY_SECONDS) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(3):
            for _ in range(REFUSALS_MAX):
                writer.write(forbidden)
                await reader.readuntil(b"refused")
            writer.write(REQUEST)
            await reader.readuntil(b"read")
        assert application.refusals == 3 * REFUSALS_MAX
        writer.close()


async def test_paused_connection_is_read_again() -> None:
    application = Reader()
    forbidden = b"POST /forbidden HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
    async with serving(application, pause_seconds=SHORT_SECONDS) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(SAFETY_SECONDS):
            for _ in range(3 * REFUSALS_MAX):
                writer.write(forbidden)
                await reader.readuntil(b"refused")
        writer.close()
