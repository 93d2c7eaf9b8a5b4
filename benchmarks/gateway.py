"""`python -m benchmarks.gateway`: requests/s and latency of the gateway, its memory, and what a flood does to others.

Apache Kafka, one gateway with its defaults, and the clients on one machine. The clients write prepared bytes to their
sockets, because an HTTP library costs more than the gateway does. A request is answered once Kafka has acknowledged it.
"""

import asyncio
import json
import re
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final
from uuid import uuid4

import httpx
import typer
import uvloop

from benchmarks.machine import this_machine
from benchmarks.quantiles import percentile
from benchmarks.servers import BenchmarkKafka, kafka_description
from benchmarks.usage import usage_of
from tests.conformance.deadlines import until
from tests.end_to_end.gateway_requests import GITHUB_BODY, KEYS, PLATFORM_TOKEN, TOKEN, event, github_headers
from tests.testkit.topic_creation import create_topics
from worker.demo.broker import free_port

_POLITE_PER_SECOND: Final = 20
_BATCH_EVENTS: Final = 100
_SLOW_CONNECTIONS: Final = 2_000
_LENGTH: Final = re.compile(rb"content-length: (\d+)")

MakeRequest = Callable[[], bytes]


@dataclass(slots=True)
class Answers:
    """`taken_ms`: of the answers with 202."""

    statuses: Counter[str] = field(default_factory=Counter)
    taken_ms: list[float] = field(default_factory=list)

    def add(self, status: str, taken_ms: float) -> None:
        self.statuses[status] += 1
        if status == "202":
            self.taken_ms.append(taken_ms)

    def line(self, *, seconds: float) -> str:
        ordered = sorted(self.taken_ms)
        statuses = ", ".join(f"{status}: {count:,}" for status, count in sorted(self.statuses.items()))
        if not ordered:
            return statuses
        p50, p99 = percentile(ordered, 0.5), percentile(ordered, 0.99)
        return f"{len(ordered) / seconds:,.0f}/s accepted, p50 {p50:.1f} ms, p99 {p99:.1f} ms ({statuses})"


def request(path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {path} HTTP/1.1\r\nhost: gateway\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body


def one_event(token: str = TOKEN) -> bytes:
    headers = {"authorization": f"Bearer {token}", "content-type": "application/cloudevents+json"}
    return request("/events", json.dumps(event()).encode(), headers)


def batch() -> bytes:
    headers = {"authorization": f"Bearer {TOKEN}", "content-type": "application/cloudevents-batch+json"}
    return request("/events", json.dumps([event() for _ in range(_BATCH_EVENTS)]).encode(), headers)


def webhook() -> bytes:
    return request("/webhooks/github", GITHUB_BODY, github_headers(GITHUB_BODY))


def forged() -> bytes:
    return request("/webhooks/github", b"x" * 1_000_000, {"x-hub-signature-256": "sha256=" + "0" * 64})


KINDS: Final[Mapping[str, tuple[MakeRequest, int]]] = {
    "one event, 0.3 KB": (one_event, 1),
    f"a batch of {_BATCH_EVENTS} events": (batch, 4),
    f"a GitHub webhook, {len(GITHUB_BODY) / 1000:.0f} KB": (webhook, 1),
}
"""What is sent, and how many times fewer connections send it: one key has at most 500 events in flight."""


async def client(port: int, make: MakeRequest, answers: Answers, until_seconds: float) -> None:
    """One connection, one request after the other; a new connection where the gateway closes it."""
    while time.monotonic() < until_seconds:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                while time.monotonic() < until_seconds:
                    sent = make()
                    began_seconds = time.monotonic()
                    writer.write(sent)
                    head = await reader.readuntil(b"\r\n\r\n")
                    if (length := _LENGTH.search(head)) is not None:
                        await reader.readexactly(int(length[1]))
                    answers.add(head[9:12].decode(), (time.monotonic() - began_seconds) * 1000)
            finally:
                writer.close()
        except (ConnectionError, asyncio.IncompleteReadError):
            answers.statuses["connection closed"] += 1


async def closed_loop(port: int, make: MakeRequest, *, connections: int, seconds: float) -> Answers:
    answers, until_seconds = Answers(), time.monotonic() + seconds
    await asyncio.gather(*(client(port, make, answers, until_seconds) for _ in range(connections)))
    return answers


async def polite_client(port: int, seconds: float) -> Answers:
    """Another key's events on a fixed schedule, each on a connection of its own, timed from when it was due."""
    answers = Answers()

    async def send(due_seconds: float) -> None:
        status = "connection closed"
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(one_event(PLATFORM_TOKEN))
            status = (await reader.readuntil(b"\r\n"))[9:12].decode()
            writer.close()
        answers.add(status, (time.monotonic() - due_seconds) * 1000)

    async with asyncio.TaskGroup() as group:
        due_seconds = time.monotonic()
        until_seconds = due_seconds + seconds
        while due_seconds < until_seconds:
            await asyncio.sleep(max(0.0, due_seconds - time.monotonic()))
            group.create_task(send(due_seconds))
            due_seconds += 1 / _POLITE_PER_SECOND
    return answers


def one_key(port: int, seconds: float) -> Answers:
    return uvloop.run(closed_loop(port, one_event, connections=1_000, seconds=seconds))


def forged_signatures(port: int, seconds: float) -> Answers:
    return uvloop.run(closed_loop(port, forged, connections=100, seconds=seconds))


def slow_heads(port: int, seconds: float) -> Answers:
    """Connections that send the beginning of a request and then nothing; the oldest are replaced by new ones."""
    answers, connections, until_seconds = Answers(), list[socket.socket](), time.monotonic() + seconds
    while time.monotonic() < until_seconds:
        with suppress(OSError):
            connection = socket.create_connection(("127.0.0.1", port), timeout=1)
            connections.append(connection)
            answers.statuses["connections"] += 1
            connection.sendall(b"POST /webhooks/github HTTP/1.1\r\nx-hub-signature-256: x\r\n")
        if len(connections) > _SLOW_CONNECTIONS:
            connections.pop(0).close()
    for connection in connections:
        connection.close()
    return answers


FLOODS: Final[Mapping[str, Callable[[int, float], Answers] | None]] = {
    "none": None,
    "one key, 1,000 connections": one_key,
    "forged signatures, bodies of 1 MB, 100 connections": forged_signatures,
    f"{_SLOW_CONNECTIONS:,} connections that stop within the head": slow_heads,
}
"""In processes of their own: what they cost is not the polite client's delay, apart from the processor's cores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    port: int
    pid: int

    @property
    def peak_mb(self) -> float:
        return usage_of(self.pid).rss_peak_bytes / 1_000_000


@asynccontextmanager
async def gateway(bootstrap_servers: str, folder: Path) -> AsyncIterator[Running]:
    topic, port, http_port = f"events.{uuid4().hex}", free_port(), free_port()
    await create_topics(bootstrap_servers, {topic: 4}, None)
    keys = folder / "keys.toml"
    keys.write_text(KEYS, encoding="utf-8")
    environment = {
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "RUDDER_KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "RUDDER_INPUT_TOPICS": topic,
        "RUDDER_GATEWAY_KEYS_FILE": str(keys),
        "RUDDER_GATEWAY_PORT": str(port),
        "RUDDER_HTTP_PORT": str(http_port),
        "RUDDER_LOG_LEVEL": "warning",
    }
    with (folder / "gateway.err").open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "worker", "gateway", env=environment, cwd=folder, stderr=errors
        )
    try:
        async with httpx.AsyncClient(trust_env=False) as http:

            async def ready() -> bool:
                with suppress(httpx.HTTPError):
                    return (await http.get(f"http://127.0.0.1:{http_port}/readyz")).status_code == httpx.codes.OK
                return False

            await until(ready, what="the gateway is ready")
        yield Running(port=port, pid=process.pid)
    finally:
        process.terminate()
        await process.wait()


async def measure(bootstrap_servers: str, folder: Path, *, seconds: float, connections: Sequence[int]) -> None:
    async with gateway(bootstrap_servers, folder) as running:
        typer.echo(f"idle: {running.peak_mb:.0f} MB")
        for kind, (make, divisor) in KINDS.items():
            typer.echo(kind)
            for count in sorted({max(1, count // divisor) for count in connections}):
                before = usage_of(running.pid).cpu_seconds
                answers = await closed_loop(running.port, make, connections=count, seconds=seconds)
                cpu_us = (usage_of(running.pid).cpu_seconds - before) * 1_000_000 / max(1, answers.statuses.total())
                typer.echo(
                    f"  {count} connections: {answers.line(seconds=seconds)}; {cpu_us:,.0f} µs of processor a request; "
                    f"peak {running.peak_mb:.0f} MB"
                )
    typer.echo(f"floods, beside another key with {_POLITE_PER_SECOND} events/s")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
        processes.submit(time.monotonic).result()  # it has started
        for name, flood in FLOODS.items():
            async with gateway(bootstrap_servers, folder) as running:
                flooding = None if flood is None else processes.submit(flood, running.port, seconds)
                polite = await polite_client(running.port, seconds)
                typer.echo(f"  {name}\n    the other key: {polite.line(seconds=seconds)}")
                if flooding is not None:
                    flooded = await asyncio.wrap_future(flooding)
                    typer.echo(f"    the flood: {flooded.line(seconds=seconds)}")
                typer.echo(f"    peak {running.peak_mb:.0f} MB")


def main(
    *,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of each measurement.")] = 10.0,
    connections: Annotated[
        list[int] | None, typer.Option(help="Numbers of connections. Default: 1, 16, 64, 256.")
    ] = None,
) -> None:
    """Measure, and print."""
    typer.echo(f"{this_machine()}\n{kafka_description()}")
    kafka = BenchmarkKafka()
    try:
        kafka.start()
        with TemporaryDirectory() as folder:
            given = connections or [1, 16, 64, 256]
            uvloop.run(measure(kafka.bootstrap_servers, Path(folder), seconds=seconds, connections=given))
    finally:
        kafka.close()


if __name__ == "__main__":
    typer.run(main)
