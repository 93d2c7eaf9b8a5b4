"""`rudder-worker replay`: read input topics again, through the worker's own handling."""

import asyncio
import json
import logging
import shlex
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.detail import printable
from worker.cli import signals
from worker.cli.exits import (
    EXIT_INTERRUPTED,
    EXIT_PROBLEM,
    clear_errors,
    complain,
    note,
    warn_of_unknown_names,
)
from worker.replay.scope import Filters, Scope, filters_from, offsets_from, time_from
from worker.rules.errors import ConfigurationError
from worker.service import log_setup
from worker.settings import Settings, load, topic_name

if TYPE_CHECKING:
    from worker.kafka.topic_reader import KafkaTopicReader
    from worker.ports import Partition
    from worker.replay.execution import Report
    from worker.replay.plan import Publishing, ReplayPlan

OUTAGE_SECONDS_MAX = 300.0
_PROGRESS_SECONDS = 5.0
_NAMES = "worker.delivery"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """The options that are not part of the scope."""

    execute: bool
    publishing: "Publishing"
    rate: float | None
    rows_max: int
    output: Path | None
    plan: Path | None
    as_json: bool


def replay(
    context: typer.Context,
    topics: Annotated[
        list[str] | None, typer.Option("--topic", help="Topic to read. Default: the input topics.")
    ] = None,
    begin: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="Records from this time on: ISO 8601 with a zone, or 2h."),
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Records before this time.")] = None,
    offsets: Annotated[
        list[str] | None,
        typer.Option(metavar="TOPIC/PARTITION@FIRST-LAST", help="Offsets of one partition, both inclusive."),
    ] = None,
    releases: Annotated[list[str] | None, typer.Option("--release", help="Only events of this release.")] = None,
    environments: Annotated[list[str] | None, typer.Option("--environment", help="Only events of this one.")] = None,
    types: Annotated[
        list[str] | None, typer.Option("--type", help="Only events of this type, for example deployment.succeeded.")
    ] = None,
    sources: Annotated[list[str] | None, typer.Option("--source", help="Only events of this source.")] = None,
    event_ids: Annotated[list[str] | None, typer.Option("--event-id", help="Only the event with this id.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All records of the input topics.")] = False,
    execute: Annotated[bool, typer.Option("--execute", help="Execute the plan. Default: print it.")] = False,
    publish: Annotated[
        bool, typer.Option("--publish", help="Publish status events and dead letters to their topics.")
    ] = False,
    publish_to: Annotated[
        str | None, typer.Option(metavar="TOPIC", help="Publish all of them to this topic, for one subscriber.")
    ] = None,
    rate: Annotated[
        str | None, typer.Option(metavar="N/s", help="At most this many events a second. Default: no limit.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write the plan to this new file.")] = None,
    plan: Annotated[Path | None, typer.Option(help="Execute the plan of this file, or print it.")] = None,
    continue_at: Annotated[
        list[str] | None,
        typer.Option(metavar="TOPIC/PARTITION@OFFSET", help="With --plan: continue at this offset of the partition."),
    ] = None,
    into: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Rebuild this empty database from the input topics. Publishes nothing."),
    ] = None,
    rows_max: Annotated[int, typer.Option(min=0, help="List at most this many changed rows; all are counted.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Read input topics again, and handle their events as the worker does.

    Without --execute only a plan is made: events by outcome, rows that would be added or changed, and records that
    would be published. Known events change nothing. Workers may run meanwhile; their group is not touched. Only what
    the group has committed is replayed.
    """
    from worker.replay.plan import Publishing

    with clear_errors():
        settings = load()
        log_setup.configure(level="warning", log_format=context.obj or "console")
        logging.getLogger(_NAMES).setLevel(logging.ERROR)  # the report has each rejected event
        warn_of_unknown_names()
        if publish and publish_to is not None:
            raise ConfigurationError("--publish and --publish-to cannot be used together; one names the topics")
        request = _Request(
            execute=execute,
            publishing=Publishing(enabled=publish or publish_to is not None, topic=_topic(publish_to, settings)),
            rate=_rate(rate),
            rows_max=rows_max,
            output=output,
            plan=plan,
            as_json=as_json,
        )
        filters = filters_from(
            releases=releases or (),
            environments=environments or (),
            types=types or (),
            sources=sources or (),
            event_ids=event_ids or (),
        )
        named = bool(topics or begin or end or offsets or filters or everything)
        if continue_at and plan is None:
            raise ConfigurationError("--continue-at requires --plan; without a plan file use --offsets")
        if into is not None:
            if named or publish or publish_to or output or plan:
                raise ConfigurationError(
                    "--into reads all records of the input topics and publishes nothing; use it only with --execute, "
                    "--rate and --json"
                )
            _rebuild(settings, into, request)
            return
        if plan is not None:
            if named or publish or publish_to or output:
                raise ConfigurationError(
                    "--plan has the scope and the topics of a plan; use it only with --execute, --continue-at, --rate, "
                    "--rows-max and --json"
                )
            _exit(asyncio.run(_of_file(settings, plan, continue_at or (), request)))
            return
        now = datetime.now(UTC)
        scope = Scope(
            topics=tuple(_topic(name, settings) or "" for name in topics or ()),
            begin_ms=None if begin is None else time_from(begin, option="--from", now=now),
            end_ms=None if end is None else time_from(end, option="--to", now=now),
            offsets=tuple(map(offsets_from, offsets or ())),
            filters=filters,
            everything=everything,
        )
        _exit(asyncio.run(_of_scope(settings, scope, request)))


def _exit(code: int) -> None:
    if code:
        raise typer.Exit(code)


def _topic(name: str | None, settings: Settings) -> str | None:
    del settings
    if name is None:
        return None
    try:
        return topic_name(name)
    except ValueError as error:
        raise ConfigurationError(f"topic {name}: {error}") from error


def _rate(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        rate = float(text.removesuffix("/s"))
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise ConfigurationError(f"--rate {text}: write a number of events a second, for example 100/s")
    return rate


async def _of_scope(settings: Settings, scope: Scope, request: _Request) -> int:
    from worker import assembly
    from worker.replay.plan import Planner, target

    async with AsyncExitStack() as closing:
        tables = assembly.table_reader(settings)
        closing.push_async_callback(tables.close)
        await tables.check()
        records = await _started(settings, closing)
        planner = Planner(
            records,
            tables,
            read=assembly.reader(settings),
            decider=assembly.decider(settings),
            progress=_Progress("read"),
        )
        plan = await planner.plan(scope, input_topics=settings.input_topics, publishing=request.publishing)
        file = plan.file(await target(records, tables, group=settings.group_id))
        if request.output is not None:
            file.write(request.output)
            note(f"the plan is in {request.output}; execute it: rudder-worker replay --plan {request.output} --execute")
        if not request.execute or plan.changes_nothing:
            _print_plan(plan, request, sha256=file.sha256)
            return 0
        if not request.as_json:
            _print_plan(plan, request, sha256=file.sha256)

        def continuing(report: "Report") -> str:
            return _command(_scope_arguments(plan, report.remaining), request)

        return await _executed(settings, plan, request, file.sha256, continuing)


async def _of_file(settings: Settings, path: Path, continue_at: Sequence[str], request: _Request) -> int:
    from worker import assembly
    from worker.plan_file import read_plan
    from worker.replay.plan import KIND, ReplayPlan, require_records, target

    file = read_plan(path, kind=KIND)
    plan = ReplayPlan.from_json(file.content)
    async with AsyncExitStack() as closing:
        tables = assembly.table_reader(settings)
        closing.push_async_callback(tables.close)
        await tables.check()
        records = await _started(settings, closing)
        file.require(await target(records, tables, group=settings.group_id))
        if continue_at:
            positions = {one.partition: one.first for one in map(offsets_from, continue_at)}
            plan = plan.continued(positions)
        await require_records(plan, records)
        if not request.execute:
            _print_plan(plan, request, sha256=file.sha256)
            return 0

        def continuing(report: "Report") -> str:
            at = [f"{topic}/{number}@{left.start}" for (topic, number), left in sorted(report.remaining.items())]
            arguments = [("--plan", str(path)), *(("--continue-at", one) for one in at)]
            return _command([part for pair in arguments for part in pair], request, publishing=False)

        return await _executed(settings, plan, request, file.sha256, continuing)


async def _started(settings: Settings, closing: AsyncExitStack) -> "KafkaTopicReader":
    from worker import assembly

    records = assembly.topic_reader(settings)
    closing.push_async_callback(records.stop)
    await records.start()
    return records


async def _executed(
    settings: Settings,
    plan: "ReplayPlan",
    request: _Request,
    sha256: str,
    continuing: Callable[["Report"], str],
    *,
    command: str = "replay",
    compare: bool = True,
    arguments: dict[str, object] | None = None,
) -> int:
    from worker import assembly
    from worker.operator_actions import Operator, Result, recorded
    from worker.replay.execution import Replay
    from worker.service.clock import SystemClock

    stop = asyncio.Event()
    async with AsyncExitStack() as closing:
        log = assembly.action_log(settings)
        closing.push_async_callback(log.close)
        tables = assembly.table_reader(settings)
        closing.push_async_callback(tables.close)
        database = assembly.store(settings)
        closing.push_async_callback(database.close)
        await database.check()
        producer = None
        if plan.publishing.enabled:
            producer = assembly.publisher(settings)
            closing.push_async_callback(producer.stop)
            await producer.start()
            await _require_topics(settings, plan, closing)
        records = await _started(settings, closing)
        replaying = Replay(
            plan,
            records,
            tables,
            assembly.replay_handling(settings, database, producer, publish_to=plan.publishing.topic),
            compare=compare,
            rate=request.rate,
            outage_seconds_max=OUTAGE_SECONDS_MAX,
            clock=SystemClock(),
            progress=_Progress("replayed"),
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
        return _finish(plan, report, request, continuing, seconds=time.monotonic() - began_seconds)


_NOT_RECORDED = frozenset({"rows", "predicted", "counts", "outcomes", "changed", "notes"})


async def _require_topics(settings: Settings, plan: "ReplayPlan", closing: AsyncExitStack) -> None:
    """Raises ConfigurationError if a topic to publish to does not exist: nothing would be done."""
    from worker import assembly

    topics = assembly.output_topics(settings)
    named = (
        [(plan.publishing.topic, "--publish-to")]
        if plan.publishing.topic is not None
        else [
            (topics.deployment_status, "RUDDER_DEPLOYMENT_STATUS_TOPIC"),
            (topics.release_status, "RUDDER_RELEASE_STATUS_TOPIC"),
            (topics.dead_letters, "RUDDER_DEAD_LETTER_TOPIC"),
        ]
    )
    existing = {at.topic for at in await (await _started(settings, closing)).begins([topic for topic, _ in named])}
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


def _finish(
    plan: "ReplayPlan",
    report: "Report",
    request: _Request,
    continuing: Callable[["Report"], str],
    *,
    seconds: float,
) -> int:
    events = sum(report.outcomes.values())
    if request.as_json:
        _print_json(plan, request, report=_report_json(report, None if not report.remaining else continuing(report)))
    else:
        for difference in report.differences:
            print(printable(difference.line()))
        if (more := report.differences_total - len(report.differences)) > 0:
            print(f"… and {more:,} more differences")
        _print_counts(report.outcomes)
        for topic, count in sorted(report.published.items()):
            print(f"{count:>12,} records published to {topic}")
        print(f"{report.differences_total:>12,} outcomes that differ from the plan")
    note(f"{events:,} events replayed in {seconds:.1f} s ({events / max(seconds, 0.001):,.0f}/s)")
    if report.remaining:
        if report.stopped:
            complain(report.stopped)
        note(f"to continue: {continuing(report)}")
        return EXIT_INTERRUPTED if report.interrupted else EXIT_PROBLEM
    return EXIT_PROBLEM if report.differences_total else 0


def _report_json(report: "Report", command: str | None) -> dict[str, Any]:
    return {
        "outcomes": dict(report.outcomes),
        "published": dict(report.published),
        "differences_total": report.differences_total,
        "differences": [
            {"position": str(one.position), "predicted": one.predicted, "outcome": one.outcome}
            for one in report.differences
        ],
        "remaining": [
            f"{topic}/{number}@{left.start}-{left.stop - 1}"
            for (topic, number), left in sorted(report.remaining.items())
        ],
        "stopped": report.stopped,
        "interrupted": report.interrupted,
        "continue": command,
    }


def _print_plan(plan: "ReplayPlan", request: _Request, *, sha256: str) -> None:
    if request.as_json:
        _print_json(plan, request, sha256=sha256)
        return
    for line in plan.notes:
        note(line)
    for (topic, number), offsets in plan.ranges.items():
        note(f"plan: {topic}/{number}, offsets {offsets.start:,} to {offsets.stop - 1:,}")
    events = plan.counts["events"]
    if plan.changes_nothing:
        published = "" if plan.publishing.enabled or not plan.published else _would_publish(plan)
        print(f"nothing would change: {events:,} events in the scope, all known to the database{published}")
        return
    from worker.replay.plan import COUNTS

    for name in ("records", "tombstones", "left_out", "events", "unknown"):
        if plan.counts[name] or name in {"records", "events"}:
            print(f"{plan.counts[name]:>12,} {COUNTS[name]}")
    _print_counts(plan.outcomes)
    for (table, change), count in sorted(plan.changed.items()):
        print(f"{count:>12,} rows of {table} {change}")
    option = f" to {plan.publishing.topic}" if plan.publishing.topic else ""
    suffix = f" published{option}" if plan.publishing.enabled else " not published; --publish and --publish-to do that"
    for name in ("status_events", "dead_letters"):
        print(f"{plan.counts[name]:>12,} {COUNTS[name]}{suffix}")
    for row in plan.rows[: request.rows_max]:
        for line in row.lines():
            print(line)
    if (more := sum(plan.changed.values()) - min(len(plan.rows), request.rows_max)) > 0:
        print(f"… and {more:,} more rows; list them with --rows-max or --json")
    note(f"plan {sha256}")


def _would_publish(plan: "ReplayPlan") -> str:
    return (
        f"; --publish would publish {plan.counts['status_events']:,} status events and "
        f"{plan.counts['dead_letters']:,} dead letters again"
    )


def _print_json(
    plan: "ReplayPlan", request: _Request, *, sha256: str | None = None, report: dict[str, Any] | None = None
) -> None:
    del request
    found: dict[str, Any] = {"changes_nothing": plan.changes_nothing, "plan": plan.as_json(), "report": report}
    if sha256 is not None:
        found["sha256"] = sha256
    print(json.dumps(found, ensure_ascii=False, indent=1))


def _print_counts(outcomes: Any) -> None:
    for code, count in sorted(outcomes.items()):
        print(f"{count:>12,} {code}")


def _scope_arguments(plan: "ReplayPlan", remaining: "dict[Partition, range] | Any") -> list[str]:
    arguments: list[str] = []
    for (topic, number), left in sorted(remaining.items()):
        arguments += ["--offsets", f"{topic}/{number}@{left.start}-{left.stop - 1}"]
    return [*arguments, *_filter_arguments(plan.filters)]


def _filter_arguments(filters: Filters) -> list[str]:
    options = {
        "--release": filters.releases,
        "--environment": filters.environments,
        "--type": filters.types,
        "--source": filters.sources,
        "--event-id": filters.event_ids,
    }
    return [
        part for option, values in options.items() for value in sorted(map(str, values)) for part in (option, value)
    ]


def _command(arguments: Sequence[str], request: _Request, *, publishing: bool = True) -> str:
    """The command line that goes on with these arguments."""
    parts = ["rudder-worker", "replay", *arguments]
    if publishing and request.publishing.topic is not None:
        parts += ["--publish-to", request.publishing.topic]
    elif publishing and request.publishing.enabled:
        parts.append("--publish")
    if request.rate is not None:
        parts += ["--rate", f"{request.rate:g}/s"]
    return shlex.join([*parts, "--execute"])


class _Progress:
    """Prints how far the work is, every few seconds."""

    def __init__(self, verb: str) -> None:
        self._verb = verb
        self._began_seconds = self._printed_seconds = time.monotonic()

    def __call__(self, count: int, total: int) -> None:
        now_seconds = time.monotonic()
        if now_seconds - self._printed_seconds < _PROGRESS_SECONDS:
            return
        self._printed_seconds = now_seconds
        rate = max(count / (now_seconds - self._began_seconds), 0.001)
        left_seconds = round((total - count) / rate)
        left = f"{left_seconds // 60} min {left_seconds % 60} s" if left_seconds >= 60 else f"{left_seconds} s"
        note(f"{count:,} of {total:,} records {self._verb}, {rate:,.0f}/s, about {left} left")


def _rebuild(settings: Settings, url: str, request: _Request) -> None:
    """`--into`: everything from the beginning of the topics to their ends, into another database."""
    from pydantic import SecretStr

    from worker.db import migration
    from worker.db.engine import masked, parse_url

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
            _print_json(plan, request)
            return
        for (topic, number), offsets in plan.ranges.items():
            note(f"plan: {topic}/{number}, offsets {offsets.start:,} to {offsets.stop - 1:,}")
        migrated = "" if tables_exist else "create the tables and "
        print(f"{plan.offsets:>12,} records; --execute would {migrated}process them into {shown}")
        return
    migration.upgrade(url)

    def continuing(_report: "Report") -> str:
        return _command(["--into", "URL"], request)

    arguments: dict[str, object] = {"cluster": cluster, "topics": list(settings.input_topics)}
    arguments["ranges"] = plan.as_json()["ranges"]
    _exit(
        asyncio.run(
            _executed(other, plan, request, "", continuing, command=_REBUILD, compare=False, arguments=arguments)
        )
    )
    note("compare the databases with: rudder-worker verify --against URL")


_REBUILD = "replay --into"


async def _require_empty(settings: Settings, shown: str) -> bool:
    """Whether the database has tables.

    Raises:
        ConfigurationError: it has rows, and not only those of an unfinished rebuild.
    """
    from worker import assembly
    from worker.db.table_reader import Content
    from worker.operator_actions import Result

    tables, log = assembly.table_reader(settings), assembly.action_log(settings)
    try:
        content = await tables.content()
        if content is Content.ROWS:
            await tables.check()
            last = await log.last(_REBUILD)
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
        records = await _started(settings, closing)
        scope = Scope(topics=settings.input_topics)
        found = pinned(scope, await bounds(scope, records, input_topics=settings.input_topics), input_topics=())
        return ReplayPlan(ranges=found.ranges), await records.cluster_id()
