"""The demo: a broker, a database, the worker as a child process, one day of CI/CD, and a recount of it all.

It proves on a visitor's machine, in under a minute, that what goes in comes out as the contract says.
"""

import asyncio
import json
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape

from worker.demo.broker import EmbeddedBroker
from worker.demo.child import Child
from worker.demo.company import app_environments
from worker.demo.contract_model import ContractModel
from worker.demo.demo_stage import DemoStage, fresh_stage, seed_app_environments
from worker.demo.performance import RECORD_BYTES_MAX, DemoFailedError, Performance
from worker.demo.record import RawRecord
from worker.demo.recount import TopicNames, recount
from worker.demo.report import print_report
from worker.demo.stream import RELEASES, a_day
from worker.demo.topics import create_topics

SEED: Final = 2026
PARTITIONS: Final = 4
START_TIMEOUT_SECONDS: Final = 30.0
GLANCE_SECONDS: Final = 0.1


async def run_demo(
    *,
    seed: int = SEED,
    releases: int = RELEASES,
    serve: bool = False,
    output_path: Path = Path("demo-output"),
    console: Console | None = None,
) -> int:
    """Play a day and recount it; return 0 if everything agrees, else 1. `serve` keeps it all up until Ctrl-C."""
    console = console or Console()
    try:
        async with EmbeddedBroker() as broker:
            stage = fresh_stage(output_path, bootstrap_servers=broker.bootstrap_servers)
            day = tuple(a_day(seed=seed, releases=releases))
            return await _play(stage, day=day, seed=seed, serve=serve, console=console)
    except DemoFailedError as failure:
        console.print(f"[bold red]The demo failed:[/] {escape(str(failure))}", soft_wrap=True)
        return 1


async def _play(stage: DemoStage, *, day: Sequence[RawRecord], seed: int, serve: bool, console: Console) -> int:
    topics = TopicNames()
    await _create_topics(stage, topics)
    console.print(f"broker at {stage.bootstrap_servers}; {len(day):,} records to come")
    await _migrate(stage)
    seed_app_environments(stage.database_path, app_environments(seed=seed))
    async with Child("run", settings=stage.settings, log_path=stage.log_path) as child:
        await _ready(stage, child)
        console.print(f"database migrated, worker ready; its log is {stage.log_path}", soft_wrap=True)
        performance = Performance(
            bootstrap_servers=stage.bootstrap_servers, topics=topics, child=child, day=day, console=console
        )
        await performance.run()
        failures = [] if serve else await _stop(child)
        counted = await recount(
            bootstrap_servers=stage.bootstrap_servers, database_path=stage.database_path, topics=topics
        )
        print_report(
            console,
            recount=counted,
            figures=performance.figures(),
            database_path=stage.database_path,
            failures=failures,
        )
        if serve:
            _print_addresses(console, stage, counted.model)
            await _interrupted()
            failures = await _stop(child)
            console.print(*failures or ("stopped",))
    return 1 if failures or counted.differences else 0


async def _create_topics(stage: DemoStage, topics: TopicNames) -> None:
    names = (topics.events, topics.deployment_status, topics.release_status, topics.dead_letters)
    configs = {
        "max.message.bytes": str(RECORD_BYTES_MAX),  # some of the day's records are too large on purpose
        "retention.ms": "-1",  # the day lies in the past, and brokers judge a record's age by its own timestamp
    }
    await create_topics(stage.bootstrap_servers, dict.fromkeys(names, PARTITIONS), configs=configs)


async def _migrate(stage: DemoStage) -> None:
    async with Child("migrate", settings=stage.settings, log_path=stage.log_path) as child:
        exit_code = await child.wait(timeout_seconds=START_TIMEOUT_SECONDS)
        if exit_code:
            raise DemoFailedError(f"migrate ended with {exit_code}:\n{child.last_words()}")


async def _ready(stage: DemoStage, child: Child) -> None:
    give_up_at_seconds = time.monotonic() + START_TIMEOUT_SECONDS
    while not await asyncio.to_thread(stage.is_ready):
        if child.exit_code is not None:
            raise DemoFailedError(f"the worker ended with {child.exit_code}:\n{child.last_words()}")
        if time.monotonic() > give_up_at_seconds:
            raise DemoFailedError(f"not ready after {START_TIMEOUT_SECONDS:.0f} s:\n{child.last_words()}")
        await asyncio.sleep(GLANCE_SECONDS)


async def _stop(child: Child) -> list[str]:
    exit_code = await child.stop()
    return [] if exit_code == 0 else [f"the worker's exit code is {exit_code}, expected 0:\n{child.last_words()}"]


def _print_addresses(console: Console, stage: DemoStage, model: ContractModel) -> None:
    """Say where everything listens, and how to send one event more."""
    release = next(iter(model.releases.values()))
    data = {
        "release_id": release.id,
        "organization_id": release.organization_id,
        "environment_id": "development",
        "actor": "you@example.com",
    }
    command = f"rudder-worker publish --type dev.rudder.deployment.requested.v1 --data '{json.dumps(data)}'"
    console.print("All of it stays up until Ctrl-C:")
    for line in (
        f"  {stage.url('/readyz')}",
        f"  {stage.url('/metrics')}",
        f"  RUDDER_KAFKA_BOOTSTRAP_SERVERS={stage.bootstrap_servers} {command}",
    ):
        console.print(line, highlight=False, soft_wrap=True, markup=False)


async def _interrupted() -> None:
    """Wait for Ctrl-C or SIGTERM."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for number in signals:
        loop.add_signal_handler(number, stop.set)
    try:
        await stop.wait()
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
