"""`rudder-worker dead-letters export`: rejected events as files, for correction by hand."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from schemas.record import Record
from worker.cli.exits import EXIT_PROBLEM, clear_errors, complain, note, warn_of_unknown_names
from worker.rules.errors import ConfigurationError
from worker.service import log_setup
from worker.settings import Settings, load
from worker.stored_dead_letters import DeadLetter

if TYPE_CHECKING:
    from worker.dead_letters.originals import Missing

_IDS_MAX = 100


def export(
    context: typer.Context,
    ids: Annotated[list[UUID], typer.Argument(metavar="<id>...", help="Ids of dead letters.")],
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="<path>", help="File, or for several events a folder. Default: <id>.json in the current folder."
        ),
    ] = None,
) -> None:
    """Write rejected events to files, for correction by hand; `publish --corrects` sends them.

    A file has the event as CloudEvents JSON, with a new id. No file is overwritten.
    """
    with clear_errors():
        log_setup.configure(level="error", log_format=context.obj or "console")
        wanted = list(dict.fromkeys(ids))
        paths = _paths(wanted, output)
        settings = load()
        warn_of_unknown_names()
        missing = False
        for dead_letter, record in asyncio.run(_read(settings, wanted)):
            missing |= not _write(dead_letter, record, paths[dead_letter.id])
        if missing:
            raise typer.Exit(EXIT_PROBLEM)


def _paths(ids: Sequence[UUID], output: Path | None) -> Mapping[UUID, Path]:
    """Raises ConfigurationError: a file exists, or several events would be written to one."""
    if len(ids) > _IDS_MAX:
        raise ConfigurationError(f"more than {_IDS_MAX} ids; export them in parts")
    if output is not None and not output.is_dir():
        if len(ids) > 1:
            raise ConfigurationError(f"--output: {output} is not a folder; create it: several events need one")
        paths = {ids[0]: output}
    else:
        paths = {id_: (output or Path()) / f"{id_}.json" for id_ in ids}
    for path in paths.values():
        if path.exists():
            raise ConfigurationError(f"{path} exists; remove it or name another with --output")
    return paths


async def _read(settings: Settings, ids: Sequence[UUID]) -> Sequence[tuple[DeadLetter, "Record | Missing"]]:
    from worker.assembly.databases import operators_database
    from worker.assembly.handling import dead_letter_reader as record_decoder
    from worker.assembly.kafka_clients import topic_reader
    from worker.dead_letters import inspection, selection

    database, reader = operators_database(settings), topic_reader(settings)
    async with AsyncExitStack() as closing:
        closing.push_async_callback(database.close)
        await database.check()
        dead_letters = await selection.by_ids(database.dead_letters, ids)
        closing.push_async_callback(reader.stop)
        await reader.start()
        decode, topic = record_decoder(settings), settings.dead_letter_topic
        found = await inspection.find_records(dead_letters, reader, decode, dead_letter_topic=topic)
        return [(one, found[one.id].record) for one in dead_letters]


def _write(dead_letter: DeadLetter, record: "Record | Missing", path: Path) -> bool:
    """Whether there was a record to write."""
    from worker.dead_letters.export import exported

    if not isinstance(record, Record):
        complain(
            f"{dead_letter.id} was not written: its record is {record} and the dead-letter topic has no complete copy"
        )
        return False
    made = exported(dead_letter, record)
    try:
        with path.open("xb") as file:
            file.write(made.content)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror or error}") from error
    note("; ".join([f"{path} written", *made.notes]))
    note(f"after the correction: rudder-worker publish --corrects {dead_letter.id} --file {path}")
    return True
