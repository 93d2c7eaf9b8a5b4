"""The HTTP server, and the endpoints for orchestrators and Prometheus. The process's event loop serves them, so that a
blocked loop does not answer.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, cast

import structlog
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from worker.rules.errors import ConfigurationError
from worker.telemetry import LogEvent

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.service")


_BACKLOG = 128
_GRACE_SECONDS = 3
"""For responses in progress when the worker stops; longer than the timeouts of /readyz."""


_KEEP_ALIVE_SECONDS = 5


class Health(Protocol):
    """The source of the endpoints' responses."""

    def alive(self) -> bool:
        """Whether the consuming loop makes progress; independent of dependencies."""
        ...

    async def unready(self) -> dict[str, str]:
        """The current problems, by name; empty: the worker is ready."""
        ...


def application(health: Health, registry: CollectorRegistry) -> Starlette:
    async def livez(_request: Request) -> Response:
        return _response({} if health.alive() else {"loop": "makes no progress"})

    async def readyz(_request: Request) -> Response:
        return _response(await health.unready())

    async def metrics(_request: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/livez", livez), Route("/readyz", readyz), Route("/metrics", metrics)])


class Server:
    """A service. `serves`: for the log. `protocol`: makes the protocol of a connection; None: uvicorn's own.
    `grace_seconds`: for requests in progress at the stop. `keep_alive_seconds`: of an idle connection.
    """

    def __init__(
        self,
        app: Starlette,
        *,
        host: str,
        port: int,
        serves: str = "/livez, /readyz, /metrics",
        protocol: Callable[..., asyncio.Protocol] | None = None,
        grace_seconds: int = _GRACE_SECONDS,
        keep_alive_seconds: int = _KEEP_ALIVE_SECONDS,
    ) -> None:
        self._host = host
        self._port = port
        self._serves = serves
        self._server = _SignalFreeServer(
            uvicorn.Config(
                app,
                http="h11" if protocol is None else cast("type[asyncio.Protocol]", protocol),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=grace_seconds,
                timeout_keep_alive=keep_alive_seconds,
            )
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop`.

        Raises:
            ConfigurationError: the server cannot listen on the address.
        """
        listening = self._listen()
        _log.info(LogEvent.HTTP_LISTENING, host=self._host, port=listening.getsockname()[1], serves=self._serves)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._server.serve(sockets=[listening]), name="http")
            await stop.wait()
            self._server.should_exit = True

    def _listen(self) -> socket.socket:
        try:
            family = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)[0][0]
            with contextlib.ExitStack() as unless_listening:
                listening = unless_listening.enter_context(socket.socket(family, socket.SOCK_STREAM))
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listening.bind((self._host, self._port))
                listening.listen(_BACKLOG)
                unless_listening.pop_all()
        except OSError as error:
            raise ConfigurationError(f"HTTP cannot listen on {self._host}:{self._port}: {error.strerror}") from error
        return listening


class _SignalFreeServer(uvicorn.Server):
    """The command handles signals, not the web server."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _response(problems: dict[str, str]) -> Response:
    body = json.dumps({"status": "unavailable" if problems else "ok", **problems})
    return Response(body, status_code=503 if problems else 200, media_type="application/json")
