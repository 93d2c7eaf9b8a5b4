"""The endpoints over a real socket, as an orchestrator and Prometheus request them."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import httpx
import pytest
from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.parser import text_string_to_metric_families
from starlette.applications import Starlette
from structlog.testing import capture_logs

from worker.rules.errors import ConfigurationError
from worker.service.http import Server, application
from worker.telemetry import METRICS, PUBLISHED, LogEvent, Metrics

SAFETY_SECONDS = 10.0
"""The timeout after which a waiting test fails."""


class FakeHealth:
    def __init__(self) -> None:
        self.living = True
        self.problems: dict[str, str] = {}
        self.error: Exception | None = None
        self.asked = asyncio.Event()
        self.answering = asyncio.Event()
        self.answering.set()

    def alive(self) -> bool:
        return self.living

    async def unready(self) -> dict[str, str]:
        self.asked.set()
        await self.answering.wait()
        if self.error is not None:
            raise self.error
        return self.problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A listening server, its task, the health that it reports, and a client."""

    health: FakeHealth
    metrics: Metrics
    client: httpx.AsyncClient
    stop: asyncio.Event
    serving: asyncio.Task[None]


@asynccontextmanager
async def serving(app: Starlette, stop: asyncio.Event) -> AsyncIterator[tuple[int, asyncio.Task[None]]]:
    """A server on a free port; yields the port, from the log, and the task of the server."""
    server = Server(app, host="127.0.0.1", port=0)
    with capture_logs() as logs:
        task = asyncio.create_task(server.run(stop))
        async with asyncio.timeout(SAFETY_SECONDS):
            while not server._server.started and not task.done():  # uvicorn has no notification of its start
                await asyncio.sleep(0)
    (listening,) = [log for log in logs if log["event"] == LogEvent.HTTP_LISTENING]
    try:
        yield listening["port"], task
    finally:
        stop.set()
        async with asyncio.timeout(SAFETY_SECONDS):
            await task


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    health, metrics, stop = FakeHealth(), Metrics(), asyncio.Event()
    async with (
        serving(application(health, metrics.registry), stop) as (port, task),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", verify=False, timeout=SAFETY_SECONDS) as client,
    ):
        yield Site(health=health, metrics=metrics, client=client, stop=stop, serving=task)


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
async def test_healthy_worker_answers_200(site: Site, path: str) -> None:
    answer = await site.client.get(path)
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert answer.headers["content-type"] == "application/json"


async def test_blocked_event_loop_is_not_alive(site: Site) -> None:
    site.health.living = False
    answer = await site.client.get("/livez")
    assert answer.status_code == 503
    assert answer.json() == {"status": "unavailable", "loop": "makes no progress"}


async def test_missing_dependency_is_in_the_body(site: Site) -> None:
    """The body names the dependency, whatever characters the cause has."""
    site.health.problems = {"database": 'says "ü"\n', "partitions": "none assigned yet"}
    answer = await site.client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"status": "unavailable", **site.health.problems}
    assert (await site.client.get("/livez")).status_code == 200


async def test_liveness_answers_while_readiness_waits(site: Site) -> None:
    site.health.answering.clear()
    waiting = asyncio.ensure_future(site.client.get("/readyz"))
    await site.health.asked.wait()
    assert (await site.client.get("/livez")).status_code == 200
    site.health.answering.set()
    assert (await waiting).status_code == 200


async def test_metrics_are_prometheus_text_with_every_metric(site: Site) -> None:
    site.metrics.count(PUBLISHED, "topic", by=3)
    answer = await site.client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == CONTENT_TYPE_LATEST
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert families.keys() >= {metric.name for metric in METRICS}
    values = {sample.name: sample.value for sample in families[PUBLISHED.name].samples}
    assert values["rudder_published_total"] == 3


async def test_unknown_path_is_not_found(site: Site) -> None:
    for path in ("/", "/docs", "/livez/x", "/metrics/x"):
        assert (await site.client.get(path)).status_code == 404
    assert (await site.client.post("/livez")).status_code == 405
    assert (await site.client.head("/livez")).status_code == 200


async def test_unexpected_error_of_a_check_is_unready(site: Site) -> None:
    """An unexpected error of the check makes the worker unready; the server keeps responding."""
    site.health.error = LookupError("a fault")
    assert (await site.client.get("/readyz")).status_code == 500
    assert (await site.client.get("/livez")).status_code == 200


async def test_stop_ends_the_server_with_a_connected_client(site: Site) -> None:
    """Probes keep their connections open, and must not delay the stop."""
    assert (await site.client.get("/livez")).status_code == 200
    site.stop.set()
    async with asyncio.timeout(SAFETY_SECONDS):
        await site.serving
    with pytest.raises(httpx.ConnectError):
        await site.client.get("/livez")


async def test_request_in_progress_is_finished(site: Site) -> None:
    site.health.answering.clear()
    waiting = asyncio.ensure_future(site.client.get("/readyz"))
    await site.health.asked.wait()
    site.stop.set()
    await asyncio.sleep(0)
    site.health.answering.set()
    assert (await waiting).status_code == 200


class Noted(socket.socket):
    """Records every new socket, for the tests that check whether it was closed."""

    made: ClassVar[list["Noted"]] = []

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.made.append(self)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Noted]]:
    """The sockets that a server opened; sockets that it leaves open are closed here, so that later tests pass."""
    with monkeypatch.context() as patch:
        patch.setattr(Noted, "made", [])
        patch.setattr(socket, "socket", Noted)
        yield Noted.made
        for each in Noted.made:
            each.close()


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_port_in_use_is_a_configuration_error(taken_port: int, opened: list[Noted], host: str) -> None:
    """The error is one line with the address."""
    server = Server(application(FakeHealth(), Metrics().registry), host=host, port=taken_port)
    with pytest.raises(ConfigurationError) as raised:
        await server.run(asyncio.Event())
    assert str(raised.value) == f"HTTP cannot listen on {host}:{taken_port}: Address already in use"


@pytest.mark.parametrize("host", ["192.0.2.1", "nosuch.invalid"])
async def test_foreign_address_is_refused(opened: list[Noted], host: str) -> None:
    server = Server(application(FakeHealth(), Metrics().registry), host=host, port=0)
    with pytest.raises(ConfigurationError, match=f"HTTP cannot listen on {host}:0: "):
        await server.run(asyncio.Event())


async def test_socket_that_cannot_listen_is_closed(opened: list[Noted]) -> None:
    server = Server(application(FakeHealth(), Metrics().registry), host="192.0.2.1", port=0)
    with pytest.raises(ConfigurationError):
        await server.run(asyncio.Event())
    assert opened
    assert [each for each in opened if each.fileno() != -1] == []


async def test_server_that_ends_by_itself_ends_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service ends when uvicorn ends, and the worker ends with it."""
    server = Server(application(FakeHealth(), Metrics().registry), host="127.0.0.1", port=0)

    async def die(sockets: list[socket.socket]) -> None:
        sockets[0].close()
        raise LookupError("a fault")

    monkeypatch.setattr(server._server, "serve", die)
    with pytest.raises((LookupError, ExceptionGroup)) as raised:
        async with asyncio.timeout(SAFETY_SECONDS):
            await server.run(asyncio.Event())
    assert "a fault" in repr(raised.value)
