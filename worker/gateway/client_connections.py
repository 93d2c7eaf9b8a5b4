"""Connections of clients that send nothing, or send slowly: uvicorn has a timeout only between two requests.

The head of a request must be complete a few seconds after its first byte; the first one, after the connection was made.
When there are too many connections, the one that has waited longest for its client is closed, so that slow clients
cannot keep others out. So an idle connection may stay: a proxy that reuses it would meet its end with a request.

A connection whose requests are refused one after the other, for wrong credentials or too many requests, is not read for
a second after each further refusal: a client that does not wait for Retry-After costs little.

uvicorn reads the rest of a body after the answer, without an end: the deadline of the next head ends that as well.
Upstream: https://github.com/Kludex/uvicorn/issues/157 (timeouts of a request's head and body).
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from worker.telemetry import GATEWAY_CONNECTIONS_CLOSED, Metrics

HEAD_SECONDS: Final = 10.0
REFUSALS_MAX: Final = 3
"""In sequence; a proxy's connection has requests of others in between."""
PAUSE_SECONDS: Final = 1.0
REFUSED: Final = "refused"
"""The member of an ASGI scope's `state` by which the application marks such a refusal."""
KEEP_ALIVE_SECONDS: Final = 75
"""Longer than the proxies' own timeout of idle connections, which usually is 60."""


class ClientConnections:
    """The connections of one server. `connections_max` counts those with a request in progress, too."""

    def __init__(
        self,
        *,
        connections_max: int,
        metrics: Metrics,
        head_seconds: float = HEAD_SECONDS,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self.head_seconds = head_seconds
        self.pause_seconds = pause_seconds
        self._connections_max = connections_max
        self._metrics = metrics
        self._waiting: OrderedDict[_ClientProtocol, None] = OrderedDict()
        self._count = 0

    def protocol(self) -> Callable[..., asyncio.Protocol]:
        """What uvicorn makes a protocol with."""
        return partial(_ClientProtocol, clients=self)

    def opened(self, connection: "_ClientProtocol") -> None:
        self._count += 1
        self._waiting[connection] = None
        if self._count > self._connections_max:
            oldest = next(iter(self._waiting))  # the new one, if all others have a request in progress
            self.close(oldest, cause="too_many")

    def closed(self, connection: "_ClientProtocol") -> None:
        self._count -= 1
        self._waiting.pop(connection, None)

    def set_waiting(self, connection: "_ClientProtocol", *, waiting: bool) -> None:
        """Whether the connection waits for its client; one that still waits keeps its position."""
        if waiting:
            self._waiting.setdefault(connection, None)
        else:
            self._waiting.pop(connection, None)

    def close(self, connection: "_ClientProtocol", *, cause: str) -> None:
        self._waiting.pop(connection, None)
        self._metrics.count(GATEWAY_CONNECTIONS_CLOSED, cause)
        connection.transport.abort()


class _ClientProtocol(H11Protocol):
    def __init__(self, *arguments: Any, clients: ClientConnections, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # Two lines for each request that is no HTTP would let any client fill the log.
        self.logger = logging.getLogger("uvicorn.protocol")
        self.logger.setLevel(logging.ERROR)
        self._clients = clients
        self._deadline: asyncio.TimerHandle | None = None
        self._refusals = 0
        self._pause: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        super().connection_made(transport)
        self._begin_deadline()
        self._clients.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_deadline()
        if self._pause is not None:
            self._pause.cancel()
        self._clients.closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._awaits_head:
            self._begin_deadline()
        super().data_received(data)

    def handle_events(self) -> None:
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._end_deadline()
        self._set_waiting()

    def on_response_complete(self) -> None:
        self._refusals = self._refusals + 1 if self.scope["state"].get(REFUSED) else 0
        super().on_response_complete()
        if self._refusals > REFUSALS_MAX and not self.transport.is_closing():
            self.flow.pause_reading()
            self._pause = self.loop.call_later(self._clients.pause_seconds, self.flow.resume_reading)
        received, _ = self.conn.trailing_data
        if self._awaits_head and (received or self.conn.their_state is h11.SEND_BODY):
            self._begin_deadline()
        self._set_waiting()

    @property
    def _awaits_head(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _set_waiting(self) -> None:
        if self.transport.is_closing():
            return
        self._clients.set_waiting(self, waiting=self._awaits_head or self.cycle.more_body)

    def _begin_deadline(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self._clients.head_seconds, self._too_slow)

    def _too_slow(self) -> None:
        self._deadline = None
        if not self.transport.is_closing():
            self._clients.close(self, cause="slow")

    def _end_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
