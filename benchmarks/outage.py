"""`python -m benchmarks.outage`: how soon work goes on when a database or a broker is back, and what an outage costs.

A real worker with the default settings, a real PostgreSQL and a real Kafka, each behind a proxy that goes down while
events keep coming, and up again. What is measured is from the proxy's return to the next message that is done, as the
worker's own log has it.
"""

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import make_url

from tests.conformance.producers import ToSend
from tests.conformance.stores import migrate
from tests.end_to_end.release_records import ReleaseRecords
from tests.end_to_end.system import QUICK, System, new_topics, partitions_of
from tests.end_to_end.worker_process import WorkerProcess
from tests.testkit.counting_proxy import CountingProxy
from tests.testkit.postgres import PostgresServer
from tests.testkit.proxied_kafka import ProxiedKafka
from tests.testkit.topic_creation import create_topics

_BEFORE, _DURING = 50, 300
"""Events that come before an outage, and while it lasts."""

_NO_TROUBLE = "message.completed"
_HEAD = """\
| away | resumes after, s: at best | median | at worst | connections tried | lines logged | processor, s |
|---|---:|---:|---:|---:|---:|---:|"""


def main(
    *,
    rounds: Annotated[int, typer.Option(min=1, help="Outages of each dependency.")] = 5,
    seconds: Annotated[float, typer.Option(min=0, help="How long each lasts.")] = 10.0,
) -> None:
    """Measure, and print a table."""
    asyncio.run(_measure(rounds, seconds))


async def _measure(rounds: int, seconds: float) -> None:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        kafka, postgres = ProxiedKafka(), PostgresServer()
        for server in (kafka, postgres):
            stack.callback(server.close)
            await asyncio.to_thread(server.start)
        url = postgres.create_database("outage")
        [way] = kafka.ways
        before_kafka = CountingProxy.running(way.behind, port=way.port)
        broker = await stack.enter_async_context(before_kafka)
        database = await stack.enter_async_context(CountingProxy.running(postgres.port))
        await migrate(url)
        topics = new_topics()
        await create_topics(kafka.bootstrap_servers, partitions_of(topics), {})
        system = System(bootstrap_servers=kafka.bootstrap_servers, database_url=url, folder=folder, topics=topics)
        settings = {name: text for name, text in system.settings.items() if name not in QUICK} | {
            "RUDDER_KAFKA_BOOTSTRAP_SERVERS": way.bootstrap_servers,
            "RUDDER_DATABASE_URL": make_url(url).set(port=database.port).render_as_string(hide_password=False),
            "RUDDER_LOG_LEVEL": "debug",
        }
        with WorkerProcess("run", settings=settings, folder=folder) as worker:
            await worker.ready()
            typer.echo(_HEAD)
            for name, proxy in (("database", database), ("broker", broker)):
                found = [await _outage(system, worker, proxy, seconds) for _ in range(rounds)]
                resumed_seconds = [one.resumed_seconds for one in found]
                spread = (min(resumed_seconds), statistics.median(resumed_seconds), max(resumed_seconds))
                costs = (statistics.median(cost) for cost in zip(*(one.costs for one in found), strict=True))
                cells = (
                    f"{name}, {seconds:g} s",
                    *(f"{each:.2f}" for each in spread),
                    *(f"{each:g}" for each in costs),
                )
                typer.echo(f"| {' | '.join(cells)} |")
            await worker.stop()


@dataclass(frozen=True, slots=True)
class _Outage:
    """`costs`: connections tried, lines logged, processor seconds used."""

    resumed_seconds: float
    costs: tuple[int, int, float]


async def _outage(system: System, worker: WorkerProcess, proxy: CountingProxy, seconds: float) -> _Outage:
    await system.send(_events(_BEFORE))
    await system.caught_up(worker)
    told, tried, used = len(_lines(worker)), proxy.turned_away, _cpu_seconds(worker)
    proxy.go_down()
    await system.send(_events(_DURING))
    await asyncio.sleep(seconds)
    cpu_seconds = _cpu_seconds(worker) - used
    tried = proxy.turned_away - tried
    proxy.down, up_at_seconds = False, time.time()
    await system.caught_up(worker)
    lines = _lines(worker)[told:]
    done = [_seconds(line) for line in lines if line["event"] == "message.completed"]
    resumed_seconds = min(at_seconds for at_seconds in done if at_seconds > up_at_seconds) - up_at_seconds
    logged = sum(line["event"] != _NO_TROUBLE for line in lines)
    return _Outage(resumed_seconds, (tried, logged, cpu_seconds))


def _events(number: int) -> Iterator[ToSend]:
    for _ in range(number):
        builder = ReleaseRecords()
        yield builder.deploy("succeeded", release={**builder.fields})


def _lines(worker: WorkerProcess) -> list[dict[str, str]]:
    return [json.loads(line) for line in worker.stderr.splitlines()]


def _seconds(line: dict[str, str]) -> float:
    return datetime.fromisoformat(line["timestamp"]).timestamp()


def _cpu_seconds(worker: WorkerProcess) -> float:
    user, system = Path(f"/proc/{worker.pid}/stat").read_text("ascii").rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / 100


if __name__ == "__main__":
    typer.run(main)
