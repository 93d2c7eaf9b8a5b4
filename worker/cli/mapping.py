"""`rudder-worker mapping`: show what a mapping file makes of payloads, and propose one."""

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from schemas.detail import printable
from worker.cli.exits import EXIT_PROBLEM, clear_errors, complain, note, warn_of_unknown_names
from worker.cli.log_format import with_log_format
from worker.rules.errors import ConfigurationError
from worker.settings import Settings, load

if TYPE_CHECKING:
    from schemas.event import Event
    from schemas.mapping import Mapping
    from schemas.record import Record

_DEAD_LETTERS_MAX = 1_000

commands = typer.Typer(
    help="Check or propose the mapping of foreign sources.", no_args_is_help=True, rich_markup_mode=None
)

Payloads = Annotated[
    list[Path],
    typer.Argument(help="JSON files, .jsonl with one payload a line. NAME.headers.json beside NAME.json has headers."),
]
HeaderOption = Annotated[
    list[str] | None, typer.Option("--header", metavar="NAME:VALUE", help="A header of the request. Repeatable.")
]
FormatOption = Annotated[str | None, typer.Option("--format", help="The payloads' format, such as github.")]


def check(
    file: Annotated[Path, typer.Argument(help="The mapping file.")],
    payloads: Payloads,
    header: HeaderOption = None,
    format: FormatOption = None,
    topic: Annotated[str, typer.Option(help="The input topic, for a file that fixes a topic's format.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per payload.")] = False,
) -> None:
    """Show what the worker would make of payloads with this mapping: the event, its release, or why it is rejected.

    Nothing is sent. Which release exists is not looked up. Exit code 1 if a payload is rejected.
    """
    from worker.mapping_file import load_mapping

    with clear_errors():
        mapping, settings = load_mapping(file, setting=""), load()
        rejected = False
        for name, record in _records(payloads, header or (), format, topic):
            shown, is_rejected = _tested(record, mapping, settings)
            rejected |= is_rejected
            if as_json:
                print(json.dumps({"payload": name, **shown}, ensure_ascii=False))
            else:
                _print(name, shown)
        if rejected:
            raise typer.Exit(EXIT_PROBLEM)


def init(
    payloads: Annotated[list[Path] | None, typer.Argument(help="As of `mapping test`.")] = None,
    header: HeaderOption = None,
    format: FormatOption = None,
    dead_letters: Annotated[
        bool, typer.Option("--dead-letters", help="Also read the open dead letters with the reason `unmapped`.")
    ] = False,
    organization: Annotated[str | None, typer.Option(help="The organization's id, for the file.")] = None,
) -> None:
    """Print a mapping file for the repositories, applications and environments that payloads or dead letters name.

    Ids that only you know stand in angle brackets.
    """
    from schemas.adapters.foreign import ForeignEvent, Unreadable
    from schemas.decode import adapt
    from schemas.mapping import Mapping
    from schemas.mapping_rules import MappingFile
    from worker.mapping_file import load_mapping
    from worker.publishing.mapping_proposal import proposed

    with clear_errors():
        if not payloads and not dead_letters:
            raise ConfigurationError("no payload is given; name files, or use --dead-letters")
        settings = load()
        warn_of_unknown_names()
        known = Mapping(MappingFile()) if settings.mapping_file is None else load_mapping(settings.mapping_file)
        records = [*_records(payloads or (), header or (), format, "")]
        if dead_letters:
            records += asyncio.run(_unmapped(settings))
        events: list[ForeignEvent] = []
        for name, record in records:
            try:
                adapted = adapt(record, known, bytes_max=settings.event_bytes_max)
            except Unreadable as error:
                complain(printable(f"{name}: {error.problem}; left out"))
                continue
            if isinstance(adapted, ForeignEvent):
                events.append(adapted)
            elif adapted is None:
                complain(f"{name}: its format is unknown; name it with --format; left out")
            else:
                note(f"{name}: of no interest ({adapted.format}, {adapted.kind}); left out")
        if not events:
            complain("no payload is about a deployment; nothing is proposed")
            raise typer.Exit(EXIT_PROBLEM)
        print(proposed(events, organization=organization), end="")


def _records(
    paths: Sequence[Path], headers: Sequence[str], format: str | None, topic: str
) -> Iterator[tuple[str, "Record"]]:
    from worker.publishing.payloads import payloads

    now_ms = time.time_ns() // 1_000_000
    for path in paths:
        for payload in payloads(path, headers=headers, format=format, topic=topic, timestamp_ms=now_ms):
            yield payload.name, payload.record


def _tested(record: "Record", mapping: "Mapping", settings: Settings) -> tuple[dict[str, Any], bool]:
    """What is shown, and whether the payload is rejected."""
    from schemas.adapters.foreign import NoInterest
    from schemas.decode import decode_mapped
    from schemas.event import Invalid

    content: Event | Invalid | NoInterest = decode_mapped(
        record, mapping, bytes_max=settings.event_bytes_max, ahead_seconds_max=settings.event_ahead_max_seconds
    )
    if isinstance(content, NoInterest):
        return {"outcome": "no interest", "format": content.format, "kind": content.kind}, False
    if isinstance(content, Invalid):
        shown = {"outcome": "rejected", "reason": content.reason, "detail": content.detail}
        return shown | {"source": content.source, "id": content.id}, True
    return _event(content), False


def _event(event: "Event") -> dict[str, Any]:
    from schemas.times import format_time
    from schemas.types import short_type

    shown: dict[str, Any] = {
        "outcome": "event",
        "type": short_type(event.type),
        "source": event.source,
        "id": event.id,
        "time": format_time(event.time),
    }
    foreign, data = event.foreign, event.data.model_dump(mode="json", exclude_none=True)
    release = data.pop("release", None) or {}
    shown |= {name: value for name, value in data.items() if value not in (None, {}, [])}
    shown |= {name: value for name, value in release.items() if value not in (None, {}, [])}
    if foreign is None:
        return shown
    shown |= {"format": foreign.format, "original": foreign.original.type, "status": foreign.original.status}
    shown["run"] = foreign.run
    if foreign.reference is not None:
        looked_up = {
            "commit": foreign.reference.commit_hash,
            "image": ", ".join(foreign.reference.image_tags) or None,
            "name": foreign.reference.number and release.get("image_tag"),
        }
        shown["release_found_by"] = ", ".join(name for name, value in looked_up.items() if value) or "its id"
    return {name: value for name, value in shown.items() if value is not None}


def _print(name: str, shown: dict[str, Any]) -> None:
    head = {"event": shown.get("type"), "rejected": f"rejected: {shown.get('reason')}"}
    outcome = head.get(shown["outcome"], f"of no interest ({shown.get('format')}, {shown.get('kind')})")
    print(printable(f"{name}: {outcome}"))
    if shown["outcome"] == "no interest":
        return
    for field, value in shown.items():
        if field not in {"outcome", "type", "reason"} and value is not None:
            print(printable(f"  {field:<22} {value}"))


async def _unmapped(settings: Settings) -> list[tuple[str, "Record"]]:
    """The records of the open dead letters without a mapping, newest first."""
    from schemas.reasons import Reason
    from schemas.record import Record
    from worker.assembly.databases import operators_database
    from worker.assembly.handling import dead_letter_reader
    from worker.assembly.kafka_clients import topic_reader
    from worker.dead_letters import inspection, selection
    from worker.stored_dead_letters import Filters

    database, reader = operators_database(settings), topic_reader(settings)
    async with AsyncExitStack() as closing:
        closing.push_async_callback(database.close)
        await database.check()
        filters = Filters(reason=Reason.UNMAPPED.value)
        dead_letters = await selection.by_filters(database.dead_letters, filters, _DEAD_LETTERS_MAX)
        if len(dead_letters) > _DEAD_LETTERS_MAX:
            complain(f"there are more than {_DEAD_LETTERS_MAX:,} dead letters; the newest are read")
        closing.push_async_callback(reader.stop)
        await reader.start()
        found = await inspection.find_records(
            dead_letters[:_DEAD_LETTERS_MAX],
            reader,
            dead_letter_reader(settings),
            dead_letter_topic=settings.dead_letter_topic,
        )
    records = [(f"dead letter {id_}", one.record) for id_, one in found.items()]
    return [(name, record) for name, record in records if isinstance(record, Record)]


commands.command("test")(with_log_format(check))
commands.command("init")(with_log_format(init))
