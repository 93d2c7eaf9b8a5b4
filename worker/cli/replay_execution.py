"""The executions of `rudder-worker replay`: of a plan, and of a rebuild of a whole database."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from worker.cli import signals
from worker.cli.exits import note
from worker.cli.replay_output import Progress, Request, command_line, finish, print_json
from worker.replay.scope import Scope
from worker.rules.errors import ConfigurationError
from worker.settings import Settings

if TYPE_CHECKING:
    from worker.kafka.topic_reader import KafkaTopicReader
    from worker.replay.execution import Report
    from worker.replay.plan import ReplayPlan

REBUILD = "replay --into"
"""The command's name in `operator_actions`."""

_OUTAGE_SECONDS_MAX = 300.0
_NOT_RECORDED = frozenset({"rows", "predicted", "counts", "outcomes", "changed", "notes"})
"""Parts of a plan that are no arguments of a command."""


async def executed(
    settings: Settings,
    plan: "ReplayPlan",
    request: Request,
    sha256: str | None,
    continuing: Callable[["Report"], str],
    *,
    command: str = "replay",
    compare: bool = True,
    arguments: dict[str, object] | None = None,
) -> int:
    from worker.assembly import databases, kafka_clients, operator_commands
    from worker.operator_actions import Operator, Result, recorded
    from worker.replay.execution import Replay
    from worker.service.clock import SystemClock

    stop = asyncio.Event()
    async with AsyncExitStack() as closing:
        log = databases.action_log(settings)
        closing.push_async_callback(log.close)
        tables = databases.table_reader(settings)
        closing.push_async_callback(tables.close)
        database = databases.store(settings)
        closing.push_async_callback(database.close)
        await database.check()
        producer = None
        if plan.publishing.enabled:
            producer = kafka_clients.publisher(settings)
            closing.push_async_callback(producer.stop)
            await producer.start()
            await _require_topics(settings, plan, closing)
        records = await started(settings, closing)
        replaying = Replay(
            plan,
            records,
            tables,
            operator_commands.replay_handling(settings, database, producer, publish_to=plan.publishing.topic),
            compare=compare,
            rate=request.rate,
            outage_seconds_max=_OUTAGE_SECONDS_MAX,
            clock=SystemClock(),
            progress=Progress("replayed"),
        )
        given = arguments or {name: value for name, value in plan.as_json().items() if name not in _NOT_RECORDED}
        began_seconds = time.monotonic()
        async with recorded(
            log,
            operator=Operator.current(settings.operator),
            command=command,
            arguments=given,
            plan_sha256=sha256,
        ) as progress:
            with _stopped_by_signals(stop):
                report = await replaying.run(stop)
            progress.counts = {**report.outcomes, **{f"published to {at}": n for at, n in report.published.items()}}
            progress.counts["differences"] = report.differences_total
            if report.remaining:
                progress.result = Result.INTERRUPTED if report.interrupted else Result.STOPPED
                progress.detail = report.stopped
        return finish(plan, report, request, continuing, seconds=time.monotonic() - began_seconds)


def rebuild(settings: Settings, url: str, request: Request) -> None:
    """`--into`: everything from the beginning of the topics to their ends, into another database."""
    from pydantic import SecretStr

    from worker.db import migration
    from worker.db.database_url import masked, parse_url

    try:
        parse_url(url)
        shown = masked(url)
    except ConfigurationError as error:
        raise ConfigurationError(str(error).replace("RUDDER_DATABASE_URL", "--into")) from error
    other = settings.model_copy(update={"database_url": SecretStr(url)})
    tables_exist = asyncio.run(_require_empty(other, shown))
    plan, cluster = asyncio.run(_everything(settings))
    if not request.execute:
        if request.as_json:
            print_json(plan)
            return
        for (topic, number), offsets in plan.ranges.items():
            note(f"plan: {topic}/{number}, offsets {offsets.start:,} to {offsets.stop - 1:,}")
        migrated = "" if tables_exist else "create the tables and "
        print(f"{plan.offsets:>12,} records; --execute would {migrated}process them into {shown}")
        return
    migration.upgrade(url)

    def continuing(_report: "Report") -> str:
        return command_line(["--into", "URL"], request)

    arguments: dict[str, object] = {"cluster": cluster, "topics": list(settings.input_topics)}
    arguments["ranges"] = plan.as_json()["ranges"]
    code = asyncio.run(
        executed(other, plan, request, None, continuing, command=REBUILD, compare=False, arguments=arguments)
    )
    if code:
        raise typer.Exit(code)
    note("compare the databases with: rudder-worker verify --against URL")


async def started(settings: Settings, closing: AsyncExitStack) -> "KafkaTopicReader":
    from worker.assembly import kafka_clients

    records = kafka_clients.topic_reader(settings)
    closing.push_async_callback(records.stop)
    await records.start()
    return records


async def _require_topics(settings: Settings, plan: "ReplayPlan", closing: AsyncExitStack) -> None:
    """Raises ConfigurationError if a topic to publish to does not exist: nothing would be done."""
    from worker.assembly import kafka_clients

    topics = kafka_clients.output_topics(settings)
    named = (
        [(plan.publishing.topic, "--publish-to")]
        if plan.publishing.topic is not None
        else [(topic, setting) for setting, topic in replace(topics, deployment_state=None).by_setting.items()]
    )
    existing = {at.topic for at in await (await started(settings, closing)).begins([topic for topic, _ in named])}
    for topic, option in named:
        if topic not in existing:
            raise ConfigurationError(f"topic {topic} of {option} does not exist; create it first; nothing was done")


@contextmanager
def _stopped_by_signals(stop: asyncio.Event) -> Iterator[None]:
    """The first signal stops the replay after the events in flight, the second at once."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def receive() -> None:
        if stop.is_set() and task is not None:
            task.cancel()
        stop.set()

    def wake(number: signal.Signals) -> None:
        del number
        loop.call_soon_threadsafe(receive)

    with signals.handled(wake):
        yield


async def _require_empty(settings: Settings, shown: str) -> bool:
    """Whether the database has tables.

    Raises:
        ConfigurationError: it has rows, and not only those of an unfinished rebuild.
    """
    from worker.assembly import databases
    from worker.db.database_url import database_exists
    from worker.db.table_reader import Content
    from worker.operator_actions import Result

    if not database_exists(settings.database_url.get_secret_value()):
        return False
    tables, log = databases.table_reader(settings), databases.action_log(settings)
    try:
        content = await tables.content()
        if content is Content.ROWS:
            await tables.check()
            last = await log.last(REBUILD)
            if last is None or last[1] == Result.COMPLETED:
                raise ConfigurationError(f"--into {shown}: the database has rows; rebuild an empty one")
            note("the database has rows of an unfinished rebuild, which is continued")
        return content is not Content.NO_TABLES
    finally:
        await tables.close()
        await log.close()


async def _everything(settings: Settings) -> "tuple[ReplayPlan, str]":
    from worker.replay.plan import ReplayPlan
    from worker.replay.reading import bounds
    from worker.replay.scope import pinned

    async with AsyncExitStack() as closing:
        records = await started(settings, closing)
        scope = Scope(topics=settings.input_topics)
        found = pinned(scope, await bounds(scope, records, input_topics=settings.input_topics), input_topics=())
        return ReplayPlan(ranges=found.ranges), await records.cluster_id()
