"""A connection that was reset is found out by whoever reads it, a turn of the loop or two later.

Who writes to it before that is told nothing by asyncio, and by uvloop a RuntimeError, which aiokafka does not expect:
it would end whatever was about to ask, a task of the client's own or one of the worker's.
"""

from typing import Any

from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError

_send = AIOKafkaConnection.send


def install() -> None:
    """Have every client of this process take it for what it is, a broken connection. aiokafka offers no seam for it."""
    AIOKafkaConnection.send = _send_or_close


def _send_or_close(self: AIOKafkaConnection, request: Any, expect_response: bool = True) -> Any:  # noqa: FBT001, FBT002 - as it is called
    writer = self._writer
    try:
        return _send(self, request, expect_response)
    except RuntimeError as error:
        if writer is None or not writer.transport.is_closing():
            raise
        self.close(reason=CloseReason.CONNECTION_BROKEN)
        raise KafkaConnectionError(f"Connection at {self.host}:{self.port} broken: {error}") from error
