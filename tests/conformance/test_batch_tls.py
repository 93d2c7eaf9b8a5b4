"""Batches through TLS: the transport of such a connection is lent as any other."""

import asyncio
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.conformance.release_messages import ReleaseMessages
from tests.conformance.stores import migrate, opened
from tests.conformance.test_batch_connections import each_has_one_effect, loaded, through
from tests.conformance.test_batches import locked, someone_waits
from tests.testkit.availability import unavailable
from tests.testkit.forwarding import read_some, write_some

_REQUEST_BYTES = 8
"""Of an SSLRequest, the first message of a client that asks for TLS."""


@pytest.fixture
def context(tmp_path: Path) -> ssl.SSLContext:
    """A server's, with a certificate of its own."""
    command = shutil.which("openssl")
    if command is None:
        unavailable("postgresql", "there is no openssl to make a certificate")
    key, certificate = tmp_path / "server.key", tmp_path / "server.pem"
    files = ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=127.0.0.1", "-days", "2"]
    made = [command, "req", "-x509", "-newkey", "rsa:2048", "-nodes", *files]
    subprocess.run(made, check=True, capture_output=True, timeout=60, stdin=subprocess.DEVNULL)
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.load_cert_chain(certificate, key)
    return found


@asynccontextmanager
async def encrypting(server_port: int, context: ssl.SSLContext) -> AsyncIterator[int]:
    """The port of a proxy that clients reach by TLS: the test's server is built without it."""

    async def serve(from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        await from_client.readexactly(_REQUEST_BYTES)
        to_client.write(b"S")
        await to_client.drain()
        await to_client.start_tls(context)
        from_server, to_server = await asyncio.open_connection("127.0.0.1", server_port)
        async with asyncio.TaskGroup() as both:
            both.create_task(_forward(from_client, to_server))
            both.create_task(_forward(from_server, to_client))

    connections: set[asyncio.Task[None]] = set()
    server = await asyncio.start_server(_kept(serve, connections), "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.gather(*connections)


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def _kept(serve: Serve, connections: "set[asyncio.Task[None]]") -> Serve:
    async def kept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        await serve(reader, writer)

    return kept


async def _forward(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while some := await read_some(source):
        await write_some(some, sink)
    sink.close()


async def test_batches_are_written_through_tls(postgres_url: str, context: ssl.SSLContext) -> None:
    await migrate(postgres_url)
    port = make_url(postgres_url).port
    assert port
    async with (
        encrypting(port, context) as encrypted,
        opened(f"{through(postgres_url, encrypted)}?sslmode=require") as store,
    ):
        for _ in range(2):
            messages, transactions = await loaded(store)
            assert list(await store.write(transactions)) == [None] * len(transactions)
            await each_has_one_effect(messages, store, postgres_url)
        messages, transactions = await loaded(store)
        release_id = messages[0].release_id
        assert release_id is not None
        async with locked(ReleaseMessages(release_id=release_id), postgres_url):
            writing = asyncio.ensure_future(store.write(transactions))
            await someone_waits(postgres_url)
            writing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing
        await each_has_one_effect(messages, store, postgres_url)
