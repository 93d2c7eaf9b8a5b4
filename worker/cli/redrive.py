"""`rudder-worker dead-letters redrive`."""

import asyncio
import re
import shlex
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from worker.cli import signals
from worker.cli.dead_letter_filters import with_filters
from worker.cli.exits import EXIT_INTERRUPTED, EXIT_PROBLEM, clear_errors, complain, note, warn_of_unknown_names
from worker.rules.errors import ConfigurationError, Unavailable
from worker.service import log_setup
from worker.settings import Settings, load
from worker.stored_dead_letters import Filters

if TYPE_CHECKING:
    from worker.db.operators_database import OperatorsDatabase
    from worker.dead_letters.plan import RedrivePlan
    from worker.dead_letters.redrive import Edges, RedriveLimits
    from worker.kafka.publisher import KafkaPublisher
    from worker.kafka.topic_reader import KafkaTopicReader
    from worker.operator_actions import Progress
    from worker.plan_file import PlanFile, Target
    from worker.stored_redrives import JournalRow

_RATE = re.compile(r"(?P<number>[0-9]{1,6}(\.[0-9]{1,3})?)(/(?P<unit>s|min|h))?")
_UNIT_SECONDS = {None: 1, "s": 1, "min": 60, "h": 3600}
_RATE_MAX = 1_000
_LIMIT_MAX = 100_000
_COMMAND = "rudder-worker dead-letters redrive"


@with_filters("only_open", "resolved", "dismissed", "every_state")
def redrive(
    context: typer.Context,
    filters: Callable[[], Filters],
    ids: Annotated[
        list[UUID] | None, typer.Argument(help="Ids of dead letters. Default: those that the options select.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Select all open dead letters.")] = False,
    plan_path: Annotated[
        Path | None, typer.Option("--plan", metavar="<path>", help="Execute the plan in this file.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(metavar="<path>", help="Write the plan to this new file, for --plan.")
    ] = None,
    execute: Annotated[bool, typer.Option("--execute", help="Send the events. Default: only print the plan.")] = False,
    resume: Annotated[
        UUID | None, typer.Option(metavar="<id>", help="Continue the redrive that has this id, as it began.")
    ] = None,
    include_failing: Annotated[
        bool, typer.Option("--include-failing", help="Also send events that would be rejected again or are duplicates.")
    ] = False,
    limit: Annotated[
        int, typer.Option(min=1, max=_LIMIT_MAX, help="Refuse to select more dead letters than this.")
    ] = 1_000,
    expect: Annotated[
        int | None, typer.Option(min=0, help="Refuse to execute unless exactly this many events would be sent.")
    ] = None,
    rate: Annotated[str, typer.Option(metavar="<rate>", help="Events to send: 10/s, 30/min, 600/h.")] = "10/s",
    ramp: Annotated[
        bool, typer.Option("--ramp", help="Send 1, 2, 5, 10, 20, ... events at a time while all of them pass.")
    ] = False,
    max_rejected: Annotated[
        int, typer.Option(min=1, help="Stop when this many events were rejected that the plan expected to pass.")
    ] = 1,
    max_lag: Annotated[int, typer.Option(min=0, help="Stop when the group's lag is above this many records.")] = 10_000,
    wait: Annotated[
        float,
        typer.Option(min=1, max=86_400, help="Seconds to wait for a decision, and for a database or broker."),
    ] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Send rejected events again, to be decided again.

    Without --execute only the plan is printed: which events would pass now, and which would not. Events that would pass
    are sent in their original order; the next event of a release is sent after the decision on the previous one. An
    interrupted redrive continues with --resume, and sends nothing twice. The exit code is 1 unless all sent events were
    settled without a rejection.
    """
    with clear_errors():
        log_setup.configure(level="warning", log_format=context.obj or "console")
        limits = {"rate": rate, "ramp": ramp, "max_rejected": max_rejected, "max_lag": max_lag, "wait": wait}
        _rate(rate)
        selected = filters()
        ways = {
            "ids": bool(ids),
            "filters": selected.narrowed,
            "--all": everything,
            "--plan": plan_path is not None,
            "--resume": resume is not None,
        }
        _check_ways([name for name, given in ways.items() if given])
        _check_options(ways, output=output, include_failing=include_failing)
        if resume is not None:
            _require_no_options(context)
        settings = load()
        warn_of_unknown_names()
        request = _Request(
            settings=settings,
            ids=list(dict.fromkeys(ids or [])),
            filters=selected,
            plan_path=plan_path,
            output=output,
            include_failing=include_failing,
            limit=limit,
            expect=expect,
            limits=limits,
            as_json=as_json,
        )
        if resume is not None:
            asyncio.run(_resumed(request, resume))
        elif execute:
            asyncio.run(_executed(request))
        else:
            asyncio.run(_planned(request))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What the options mean. `limits`: as JSON values, for the audit and for `--resume`."""

    settings: Settings
    ids: Sequence[UUID]
    filters: Filters
    plan_path: Path | None
    output: Path | None
    include_failing: bool
    limit: int
    expect: int | None
    limits: Mapping[str, Any]
    as_json: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Connected:
    """The open clients of one command."""

    database: "OperatorsDatabase"
    reader: "KafkaTopicReader"
    target: "Target"


@dataclass(slots=True)
class _Ended:
    """How the execution ended. `code`: the exit code; None: it did not begin."""

    code: int | None = None

    @asynccontextmanager
    async def reported(self) -> AsyncIterator[None]:
        """Around the audited execution: a database that is unavailable at its end does not hide what was done."""
        try:
            yield
        except Unavailable as error:
            if self.code is None:
                raise
            complain(f"the result is not recorded in operator_actions: {error}")
            self.code = self.code or EXIT_PROBLEM


@asynccontextmanager
async def _connected(settings: Settings) -> AsyncIterator[_Connected]:
    from worker.assembly.databases import operators_database
    from worker.assembly.kafka_clients import topic_reader
    from worker.plan_file import Target

    database, reader = operators_database(settings), topic_reader(settings)
    async with AsyncExitStack() as closing:
        closing.push_async_callback(database.close)
        await database.check()
        closing.push_async_callback(reader.stop)
        await reader.start()
        target = Target(
            database=await database.tables.identity(), cluster=await reader.cluster_id(), group=settings.group_id
        )
        yield _Connected(database=database, reader=reader, target=target)


async def _planned(request: _Request) -> None:
    """Print the plan, and write it to a file."""
    from worker.cli.redrive_report import print_plan

    async with _connected(request.settings) as connected:
        plan, file = await _plan(request, connected)
        if request.output is not None:
            file.write(request.output)
        print_plan(plan, file, per_second=_rate(request.limits["rate"]), as_json=request.as_json)
        _require_expected(request, plan)
        if not plan.sent:
            note("nothing was sent: none of these events would pass now")
        elif request.output is None:
            note("nothing was sent; write the plan to a file with --output, or add --execute to send now")
        else:
            note(f"nothing was sent; to send: {_COMMAND} --plan {shlex.quote(str(request.output))} --execute")


async def _executed(request: _Request) -> None:
    """Make the plan or read it, and execute it."""
    from worker.assembly.operator_commands import redrive_edges
    from worker.cli.redrive_report import print_plan
    from worker.dead_letters.plan import KIND
    from worker.dead_letters.redrive import require_free, require_unchanged, rows_of
    from worker.operator_actions import Operator, recorded

    async with _connected(request.settings) as connected, _producer(request.settings) as producer:
        plan, file = await _plan(request, connected)
        _require_expected(request, plan)
        if request.output is not None:
            file.write(request.output)
        if not plan.sent:
            if request.as_json:
                print_plan(plan, file, per_second=_rate(request.limits["rate"]), as_json=True)
            complain(f"none of {len(plan.records):,} dead letters would pass now; nothing was sent")
            raise typer.Exit(EXIT_PROBLEM)
        edges = redrive_edges(request.settings, connected.database, connected.reader, producer)
        limits = _limits(request.limits)
        await require_free(plan, connected.database.redrives)
        await require_unchanged(plan, edges.originals, edges.decisions)
        if problem := (await edges.workers.state()).problem(max_lag=limits.max_lag):
            raise ConfigurationError(f"nothing was sent: {problem}")
        arguments = {**request.limits, **connected.target.as_json(), **_selection(request)}
        ended = _Ended()
        async with (
            ended.reported(),
            recorded(
                connected.database.actions,
                operator=Operator.current(request.settings.operator),
                command=KIND,
                arguments=arguments,
                plan_sha256=file.sha256,
            ) as progress,
        ):
            note(f"redrive {progress.action.id}: {len(plan.sent):,} events")
            rows = rows_of(plan)
            await connected.database.redrives.plan(progress.action.id, rows)
            unsent = len(plan.records) - len(plan.sent)
            ended.code = await _run(progress, edges, limits, rows, unsent=unsent, as_json=request.as_json)
    if ended.code:
        raise typer.Exit(ended.code)


async def _resumed(request: _Request, action_id: UUID) -> None:
    from worker.assembly.operator_commands import redrive_edges
    from worker.dead_letters.plan import KIND
    from worker.operator_actions import Operator, recorded

    async with _connected(request.settings) as connected, _producer(request.settings) as producer:
        action = await connected.database.redrives.action(action_id)
        rows = await connected.database.redrives.rows(action_id)
        if action is None or action.command != KIND or not rows:
            raise ConfigurationError(f"no redrive has the id {action_id}; `operator_actions` has those that began")
        _require_target(action.arguments, connected.target)
        edges = redrive_edges(request.settings, connected.database, connected.reader, producer)
        ended = _Ended()
        async with (
            ended.reported(),
            recorded(
                connected.database.actions,
                operator=Operator.current(request.settings.operator),
                command=f"{KIND} --resume",
                arguments={"resume": str(action_id)},
                plan_sha256=action.plan_sha256,
            ) as progress,
        ):
            limits = _limits(action.arguments)
            ended.code = await _run(progress, edges, limits, rows, action_id=action_id, as_json=request.as_json)
    if ended.code:
        raise typer.Exit(ended.code)


async def _run(
    progress: "Progress",
    edges: "Edges",
    limits: "RedriveLimits",
    rows: Sequence["JournalRow"],
    *,
    action_id: UUID | None = None,
    unsent: int = 0,
    as_json: bool,
) -> int:
    """Execute what is left of an action, and print each outcome; the exit code. `action_id`: None: this command's."""
    from worker.cli.redrive_report import Report
    from worker.dead_letters.redrive import Redrive
    from worker.operator_actions import Result

    action_id = action_id or progress.action.id
    report = Report(action_id, as_json=as_json)
    redrive = Redrive(action_id, edges, limits=limits, report=report.settled)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def react(_: signal.Signals) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        loop.call_soon_threadsafe(stop.set)

    with signals.handled(react):
        stopped = await redrive.run(rows, stop)
    done = redrive.rows or tuple(rows)
    progress.counts |= report.end(done, stopped=stopped, unsent=unsent)
    left = [row for row in done if row.outcome is None]
    if stopped is not None or (stop.is_set() and left):
        progress.result = Result.STOPPED if stopped is not None else Result.INTERRUPTED
        progress.detail = stopped
        complain(f"{stopped or 'interrupted'}; to continue: {_COMMAND} --resume {action_id}")
    if stop.is_set() and left:
        return EXIT_INTERRUPTED
    if any(row.outcome is None or not row.outcome.resolves for row in done) or report.failed:
        return EXIT_PROBLEM
    return 0


@asynccontextmanager
async def _producer(settings: Settings) -> AsyncIterator["KafkaPublisher"]:
    from worker.assembly.kafka_clients import publisher

    producer = publisher(settings)
    try:
        await producer.start()
        yield producer
    finally:
        await producer.stop()


async def _plan(request: _Request, connected: _Connected) -> tuple["RedrivePlan", "PlanFile"]:
    from worker.assembly.operator_commands import redrive_planning
    from worker.dead_letters import selection
    from worker.dead_letters.plan import KIND, RedrivePlan
    from worker.plan_file import PlanFile, read_plan

    if request.plan_path is not None:
        file = read_plan(request.plan_path, kind=KIND)
        file.require(connected.target)
        plan = RedrivePlan.of_json(file.content)
        await _require_topics(request, connected, [one.pinned.position.topic for one in plan.records])
        return plan, file
    dead_letters = connected.database.dead_letters
    if request.ids:
        found = await selection.by_ids(dead_letters, request.ids)
    else:
        found = await selection.by_filters(dead_letters, request.filters, request.limit)
    if len(found) > request.limit:
        raise ConfigurationError(
            f"more than {request.limit:,} dead letters are selected; narrow the selection, or raise --limit"
        )
    await _require_topics(request, connected, [one.rejection.topic for one in found])
    plan = await redrive_planning(request.settings, connected.database, connected.reader).plan(
        [one.rejection for one in found], now=datetime.now(UTC), include_failing=request.include_failing
    )
    return plan, PlanFile(kind=KIND, target=connected.target, content=plan.as_json())


async def _require_topics(request: _Request, connected: _Connected, topics: Sequence[str]) -> None:
    """Raises ConfigurationError: the group does not consume one of the topics, or it does not exist."""
    inputs = request.settings.input_topics
    if unknown := sorted(set(topics) - set(inputs)):
        raise ConfigurationError(
            f"dead letters are of topic {unknown[0]}, which is none of RUDDER_INPUT_TOPICS ({', '.join(inputs)}), so "
            "nothing would decide them; correct the setting, or select others with --topic"
        )
    existing = {partition.topic for partition in await connected.reader.ends(sorted(set(topics)))}
    if missing := sorted(set(topics) - existing):
        raise ConfigurationError(f"topic {missing[0]} does not exist at {request.settings.kafka_bootstrap_servers}")


def _require_expected(request: _Request, plan: "RedrivePlan") -> None:
    if request.expect is not None and request.expect != len(plan.sent):
        raise ConfigurationError(
            f"{len(plan.sent):,} events would be sent, not {request.expect:,} as --expect says; nothing was sent"
        )


def _require_target(arguments: Mapping[str, Any], target: "Target") -> None:
    settings = {"cluster": "RUDDER_KAFKA_BOOTSTRAP_SERVERS", "group": "RUDDER_GROUP_ID"}
    for name, setting in settings.items():
        began, here = arguments.get(name), target.as_json()[name]
        if began != here:
            raise ConfigurationError(f"the redrive began with another {name} ({began}, not {here}): correct {setting}")


def _check_ways(ways: Sequence[str]) -> None:
    if not ways:
        raise ConfigurationError("nothing is selected: name ids, filters or a plan, or --all for all open dead letters")
    if len(ways) > 1:
        raise ConfigurationError(f"{' and '.join(ways)} cannot be used together")


def _check_options(ways: Mapping[str, bool], *, output: Path | None, include_failing: bool) -> None:
    if ways["--plan"] and (output is not None or include_failing):
        raise ConfigurationError("--plan executes a plan as it is; --output and --include-failing are for a new one")


def _require_no_options(context: typer.Context) -> None:
    """Raises ConfigurationError: an option is given beside --resume."""
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE" and name not in {"resume", "as_json", "log_format"}:
            raise ConfigurationError("--resume continues a redrive as it began; it takes no options but --json")


def _selection(request: _Request) -> Mapping[str, object]:
    """For the audit."""
    if request.plan_path is not None:
        return {"plan": str(request.plan_path)}
    filters = {name: str(value) for name, value in asdict(request.filters).items() if value is not None}
    chosen = {"ids": [str(id_) for id_ in request.ids]} if request.ids else {"filters": filters}
    return {**chosen, "include_failing": request.include_failing}


def _limits(values: Mapping[str, Any]) -> "RedriveLimits":
    from worker.dead_letters.redrive import RedriveLimits

    return RedriveLimits(
        per_second=_rate(values["rate"]),
        ramp=values["ramp"],
        max_rejected=values["max_rejected"],
        max_lag=values["max_lag"],
        wait_seconds=values["wait"],
    )


def _rate(text: str) -> float:
    """Events per second."""
    found = _RATE.fullmatch(text)
    per_second = float(found["number"]) / _UNIT_SECONDS[found["unit"]] if found else 0.0
    if not 0 < per_second <= _RATE_MAX:
        raise ConfigurationError(f"--rate: {text} is no rate; use 10/s, 30/min or 600/h, at most {_RATE_MAX:,}/s")
    return per_second
