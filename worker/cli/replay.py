"""`rudder-worker replay`: read input topics again, through the worker's own handling."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.exits import clear_errors, note, warn_of_unknown_names
from worker.cli.replay_execution import executed, rebuild, started
from worker.cli.replay_output import Progress, Request, command_line, print_plan, scope_arguments
from worker.replay.scope import OffsetRange, Scope, filters_from, offsets_from, time_from
from worker.rules.errors import ConfigurationError
from worker.service import log_setup
from worker.settings import Settings, load, topic_name

if TYPE_CHECKING:
    from worker.replay.execution import Report

_NAMES = "worker.delivery"


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
        request = Request(
            execute=execute,
            publishing=Publishing(enabled=publish or publish_to is not None, topic=_target_topic(publish_to, settings)),
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
            rebuild(settings, into, request)
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
            topics=tuple(_input_topic(name, settings) for name in topics or ()),
            begin_ms=None if begin is None else time_from(begin, option="--from", now=now),
            end_ms=None if end is None else time_from(end, option="--to", now=now),
            offsets=tuple(_offsets(text, settings) for text in offsets or ()),
            filters=filters,
            everything=everything,
        )
        _exit(asyncio.run(_of_scope(settings, scope, request)))


def _exit(code: int) -> None:
    if code:
        raise typer.Exit(code)


def _input_topic(name: str, settings: Settings) -> str:
    topic = _topic(name, "--topic")
    if topic in _output_topics(settings):
        raise ConfigurationError(f"--topic {topic} is an output topic of the worker; its records are no input events")
    return topic


def _target_topic(name: str | None, settings: Settings) -> str | None:
    """The topic of --publish-to: one of its own, as the others have other readers."""
    if name is None:
        return None
    topic = _topic(name, "--publish-to")
    if topic in settings.input_topics:
        raise ConfigurationError(f"--publish-to {topic} is an input topic; the worker would reject what is published")
    if topic in _output_topics(settings):
        raise ConfigurationError(f"--publish-to {topic} is an output topic; use --publish to publish to all of them")
    return topic


def _offsets(text: str, settings: Settings) -> OffsetRange:
    found = offsets_from(text)
    _input_topic(found.partition.topic, settings)
    return found


def _output_topics(settings: Settings) -> tuple[str, ...]:
    topics = (settings.deployment_status_topic, settings.release_status_topic, settings.dead_letter_topic)
    return (*topics, settings.deployment_state_topic) if settings.deployment_state_topic else topics


def _topic(name: str, option: str) -> str:
    try:
        return topic_name(name)
    except ValueError as error:
        raise ConfigurationError(f"{option} {name}: {error}") from error


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


async def _of_scope(settings: Settings, scope: Scope, request: Request) -> int:
    from worker.assembly import databases, handling
    from worker.replay.plan import Planner, target

    async with AsyncExitStack() as closing:
        tables = databases.table_reader(settings)
        closing.push_async_callback(tables.close)
        await tables.check()
        records = await started(settings, closing)
        target_topic = request.publishing.topic
        if target_topic is not None and not await records.begins([target_topic]):
            raise ConfigurationError(f"topic {target_topic} of --publish-to does not exist; create it first")
        planner = Planner(
            records,
            tables,
            read=handling.reader(settings),
            decider=handling.decider(settings),
            progress=Progress("read"),
        )
        plan = await planner.plan(scope, input_topics=settings.input_topics, publishing=request.publishing)
        file = plan.file(await target(records, tables, group=settings.group_id))
        if request.output is not None:
            file.write(request.output)
            note(f"the plan is in {request.output}; execute it: rudder-worker replay --plan {request.output} --execute")
        if not request.execute or plan.changes_nothing:
            print_plan(plan, request, sha256=file.sha256)
            return 0
        if not request.as_json:
            print_plan(plan, request, sha256=file.sha256)

        def continuing(report: "Report") -> str:
            return command_line(scope_arguments(plan, report.remaining), request)

        return await executed(settings, plan, request, file.sha256, continuing)


async def _of_file(settings: Settings, path: Path, continue_at: Sequence[str], request: Request) -> int:
    from worker.assembly import databases
    from worker.plan_file import read_plan
    from worker.replay.plan import KIND, ReplayPlan, require_records, target

    file = read_plan(path, kind=KIND)
    plan = ReplayPlan.from_json(file.content)
    async with AsyncExitStack() as closing:
        tables = databases.table_reader(settings)
        closing.push_async_callback(tables.close)
        await tables.check()
        records = await started(settings, closing)
        file.require(await target(records, tables, group=settings.group_id))
        if continue_at:
            positions = {one.partition: one.first for one in map(offsets_from, continue_at)}
            plan = plan.continued(positions)
        await require_records(plan, records)
        if not request.execute:
            print_plan(plan, request, sha256=file.sha256)
            return 0

        def continuing(report: "Report") -> str:
            at = [f"{topic}/{number}@{left.start}" for (topic, number), left in sorted(report.remaining.items())]
            arguments = [("--plan", str(path)), *(("--continue-at", one) for one in at)]
            return command_line([part for pair in arguments for part in pair], request, publishing=False)

        return await executed(settings, plan, request, file.sha256, continuing)
