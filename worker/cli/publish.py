"""`rudder-worker publish`: events from flags, a file or standard input, validated before they are sent."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal
from uuid import uuid4

import typer

from schemas.detail import printable
from schemas.event import Event
from worker.cli import logs
from worker.cli.exits import EXIT_PROBLEM, clear_errors, complain
from worker.cli.standard_input import standard_input
from worker.cli.validate import opened
from worker.domain.errors import Misconfigured
from worker.domain.sources import AllowedSources
from worker.handling.drafts import Draft, Problem, complete, drafts, judge, publication
from worker.settings import Settings, load, topic_name
from worker.sources_file import allowed_sources

_TYPE_PREFIX, _TYPE_SUFFIX = "dev.rudder.", ".v1"


def publish(
    context: typer.Context,
    event_type: Annotated[
        str | None, typer.Option("--type", help="One event from flags: its type, `dev.rudder.` and `.v1` optional.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="One event from flags: its data, a JSON object.")] = None,
    file: Annotated[
        Path | None, typer.Option(help="Events as JSON or JSON lines; `-`, or no --type: standard input.")
    ] = None,
    event_id: Annotated[str | None, typer.Option("--id", help="The event's id; a new one if not given.")] = None,
    source: Annotated[str, typer.Option(help="The source of events that name none.")] = "/rudder-worker/publish",
    event_time: Annotated[
        str | None, typer.Option("--time", help="The event's time, RFC 3339; now if not given.")
    ] = None,
    topic: Annotated[str | None, typer.Option(help="The topic; the first of RUDDER_INPUT_TOPICS if not given.")] = None,
    mode: Annotated[Literal["binary", "structured"], typer.Option(help="The CloudEvents content mode.")] = "binary",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per event.")] = False,
) -> None:
    """Send events and wait until each is acknowledged.

    A file is checked whole before its first event is sent; standard input is sent as it comes, until one is invalid.
    """
    with clear_errors():
        settings = load()
        logs.configure(level="warning", log_format=context.obj)
        try:
            topic = topic_name(topic or settings.input_topics[0])
        except ValueError as error:
            raise Misconfigured(f"--topic: {error}") from error
        sources = allowed_sources(settings.sources_file)
        stopped = threading.Event()
        with _drafts(event_type, data, event_id, event_time, file, stopped) as found:
            judged = _judged(found, source=source, bytes_max=settings.event_bytes_max, sources=sources)
            if event_type is not None or (file is not None and str(file) != "-"):
                judged = iter(list(judged))  # all of it, before a broker is asked
            asyncio.run(_send(judged, settings, stopped, topic=topic, mode=mode, as_json=as_json))


class _InvalidEvent(Exception):
    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.place}: {problem.reason}: {problem.detail}")


@contextmanager
def _drafts(
    event_type: str | None,
    data: str | None,
    event_id: str | None,
    event_time: str | None,
    file: Path | None,
    stopped: threading.Event,
) -> Iterator[Iterator[Draft]]:
    try:
        if event_type is None:
            if data is not None or event_id is not None or event_time is not None:
                raise Misconfigured("--data, --id and --time describe one event, which needs --type")
            if file is None or str(file) == "-":
                yield drafts("-", standard_input(stopped))
                return
            with opened(file) as lines:
                yield drafts(str(file), lines)
            return
        if file is not None:
            raise Misconfigured("--type and --file exclude each other")
        yield iter([_from_flags(event_type, data, event_id, event_time)])
    except _InvalidEvent as error:
        streamed = event_type is None and (file is None or str(file) == "-")
        complain(f"{error}; {'nothing after it' if streamed else 'nothing'} was sent")
        raise typer.Exit(EXIT_PROBLEM) from error


def _from_flags(event_type: str, data: str | None, event_id: str | None, event_time: str | None) -> Draft:
    if data is None:
        raise Misconfigured("--type needs --data, a JSON object")
    try:
        data.encode()
        body = json.loads(data)
    except UnicodeEncodeError as error:
        raise Misconfigured("--data is no text in UTF-8") from error
    except ValueError as error:
        raise Misconfigured(f"--data is no JSON: {error}") from error
    full = event_type if event_type.startswith(_TYPE_PREFIX) else f"{_TYPE_PREFIX}{event_type}{_TYPE_SUFFIX}"
    said = {"id": event_id, "type": full, "time": event_time, "data": body}
    event = {name: value for name, value in said.items() if value is not None}
    return Draft(place="the event", value=json.dumps(event, ensure_ascii=False).encode())


def _judged(
    found: Iterator[Draft], *, source: str, bytes_max: int, sources: AllowedSources | None
) -> Iterator[tuple[Draft, Event]]:
    for draft in found:
        whole = complete(draft, id=str(uuid4()), source=source, time=datetime.now(UTC))
        verdict = judge(whole, bytes_max=bytes_max, sources=sources)
        if isinstance(verdict, Problem):
            raise _InvalidEvent(verdict)
        yield whole, verdict


async def _send(
    judged: Iterator[tuple[Draft, Event]],
    settings: Settings,
    stopped: threading.Event,
    *,
    topic: str,
    mode: Literal["binary", "structured"],
    as_json: bool,
) -> None:
    from worker.assembly import publisher

    producer = publisher(settings)
    try:
        await producer.start()
        # Standard input blocks; another thread waits for it, so that the producer's connection stays alive.
        while (pair := await asyncio.to_thread(next, judged, None)) is not None:
            draft, event = pair
            partition, offset = await producer.produce(publication(draft, event, topic=topic, content_mode=mode))
            if as_json:
                written = {"id": event.id, "topic": topic, "partition": partition, "offset": offset}
                print(json.dumps(written, ensure_ascii=False), flush=True)
            else:
                print(f"{printable(event.id)} {topic}/{partition}@{offset}", flush=True)
    finally:
        stopped.set()  # the thread first: the loop's end waits for it
        await producer.stop()
