"""`rudder-worker state`: fill and repair the topic of the environments' current deployments."""

import asyncio
import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.exits import clear_errors, note, warn, warn_of_unknown_names
from worker.cli.log_format import with_log_format
from worker.rules.errors import ConfigurationError
from worker.service import log_setup
from worker.settings import Settings, load

if TYPE_CHECKING:
    from worker.db.operators_database import OperatorsDatabase
    from worker.state_repair import Differences

commands = typer.Typer(
    help="Fill or repair the topic of the environments' current deployments.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

COMMAND = "state publish"


def publish(
    context: typer.Context,
    execute: Annotated[bool, typer.Option("--execute", help="Publish. Default: list what would be published.")] = False,
    keys_max: Annotated[int, typer.Option(min=0, help="List at most this many keys; all are counted.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Publish the states that RUDDER_DEPLOYMENT_STATE_TOPIC lacks, from the database.

    For a new topic, for one that lost records, and after releases were deleted: their keys get tombstones. Workers may
    run meanwhile.
    """
    with clear_errors():
        log_setup.configure(level="warning", log_format=context.obj or "console")
        settings = load()
        warn_of_unknown_names()
        if not settings.deployment_state_topic:
            raise ConfigurationError("RUDDER_DEPLOYMENT_STATE_TOPIC is empty, so no states are published; set it")
        asyncio.run(_published(settings, execute=execute, keys_max=keys_max, as_json=as_json))


commands.command("publish")(with_log_format(publish))


@commands.callback()
def _group() -> None:
    """One command alone would take the place of its group."""


async def _published(settings: Settings, *, execute: bool, keys_max: int, as_json: bool) -> None:
    from worker import state_repair
    from worker.assembly import databases, handling, kafka_clients

    database, topics = databases.operators_database(settings), kafka_clients.topic_reader(settings)
    outgoing = handling.outgoing_records(settings)
    async with AsyncExitStack() as closing:
        closing.push_async_callback(database.close)
        await database.check()
        closing.push_async_callback(topics.stop)
        await topics.start()
        if not await topics.begins([outgoing.state_topic]):
            raise ConfigurationError(
                f"topic {outgoing.state_topic} of RUDDER_DEPLOYMENT_STATE_TOPIC does not exist; create it with "
                "cleanup.policy=compact"
            )
        found = await state_repair.differences(outgoing, topics, database.tables)
        print_differences(found, outgoing.state_topic, executed=execute, keys_max=keys_max, as_json=as_json)
        for release_id in found.unreadable:
            warn(f"release {release_id}: its rows cannot be read as the worker writes them; its states are left alone")
        if execute and found.found:
            await _execute(settings, found, database)
        elif found.found:
            note("nothing was published; to publish: the same command with --execute")


async def _execute(settings: Settings, found: "Differences", database: "OperatorsDatabase") -> None:
    from worker import state_repair
    from worker.assembly import handling, kafka_clients
    from worker.operator_actions import Operator, recorded

    outgoing, producer = handling.outgoing_records(settings), kafka_clients.publisher(settings)
    arguments = {"topic": outgoing.state_topic, **{fault.value: found.count(fault) for fault in state_repair.Fault}}
    published = 0
    operator = Operator.current(settings.operator)
    async with recorded(database.actions, operator=operator, command=COMMAND, arguments=arguments) as progress:
        try:
            await producer.start()
            async for count in state_repair.publish(found.found, outgoing, producer, database.tables):
                published += count
        finally:
            await producer.stop()
            progress.counts |= {"selected": len(found.found), "published": published}
    note(f"{published:,} of {len(found.found):,} published")


def print_differences(found: "Differences", topic: str, *, executed: bool, keys_max: int, as_json: bool) -> None:
    """Print what the state topic lacks. `executed`: it will be published now."""
    from worker.state_repair import Fault

    counts = {"environments": found.environments, **{fault.name.lower(): found.count(fault) for fault in Fault}}
    shown = found.found[:keys_max]
    if as_json:
        whole = {
            "topic": topic,
            "executed": executed,
            "counts": counts,
            "keys": [{"key": one.key, "fault": one.fault.name.lower()} for one in shown],
            "unreadable": [str(release_id) for release_id in found.unreadable],
        }
        print(json.dumps(whole, ensure_ascii=False, indent=2))
        return
    for one in shown:
        print(f"{one.key}: {one.fault.value}")
    if (unlisted := len(found.found) - len(shown)) > 0:
        print(f"… and {unlisted} more; list them with --keys-max {len(found.found)}")
    meanings = ("environments with a deployment", *(f"of these, {fault.value}" for fault in list(Fault)[:2]))
    meanings = (*meanings, "keys without a deployment, which need a tombstone")
    for count, meaning in zip(counts.values(), meanings, strict=True):
        print(f"{count:>12,} {meaning}")
