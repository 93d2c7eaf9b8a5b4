"""A connection that the server resets, and requests sent before the client notices the reset."""

import asyncio
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.metadata import MetadataRequest

from tests.testkit.counting_proxy import CountingProxy
from worker.kafka import aiokafka_workarounds

TURNS = 8
RESETS = 20
AT_ONCE = struct.pack("ii", 1, 0)
"""SO_LINGER: on, for no time. The end of such a connection is a reset."""


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("bootstrap_servers", ["apache"], indirect=True)
def test_request_during_a_reset_gets_a_connection_error(
    bootstrap_servers: str, run: Callable[[Coroutine[Any, Any, Any]], Any]
) -> None:
    """Holds in every iteration of both event loops; the client gets no error that it does not expect."""
    aiokafka_workarounds.install()
    run(ask_again_and_again(int(bootstrap_servers.rpartition(":")[2])))


async def ask_again_and_again(port: int) -> None:
    async with CountingProxy.running(port) as proxy:
        for _ in range(RESETS):
            connection = await create_conn("127.0.0.1", proxy.port, client_id="tests", request_timeout_ms=10_000)

            async def ask(connection: Any = connection) -> None:
                with pytest.raises(KafkaConnectionError):
                    await connection.send(MetadataRequest([]))

            for writer in proxy._open:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
            proxy.cut()
            async with asyncio.TaskGroup() as group:
                for _ in range(TURNS):
                    group.create_task(ask())
                    await asyncio.sleep(0)
            connection.close()
