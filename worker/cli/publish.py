"""`rudder-worker publish`: events from flags, a file or standard input, validated before they are sent."""

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from schemas.event import Event
from worker.cli.exits import EXIT_PROBLEM, clear_errors, complain, note, warn_of_unknown_names
from worker.cli.sending import DEFAULT_SOURCE, Identity, InvalidEvent, Sending
from worker.cli.standard_input import opened, standard_input
from worker.publishing.event_input import Problem, decider, doubts, unsendable, with_id
from worker.publishing.event_texts import EventInput, event_inputs
from worker.rules.allowed_sources import AllowedSources
from worker.rules.errors import ConfigurationError
from worker.service import log_setup
from worker.settings import Settings, load, topic_name
from worker.sources_file import allowed_sources


def publish(
    context: typer.Context,
    event_type: Annotated[
        str | None, typer.Option("--type", help="One event from flags: its type, e.g. deployment.succeeded.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="One event from flags: its data, a JSON object.")] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option(
            "--file",
            metavar="<path>",
            help="Events as JSON lines, JSON texts or an array; `-`, or no --type: standard input.",
        ),
    ] = None,
    event_id: Annotated[
        str | None,
        typer.Option("--id", help="One event from flags: its id; else made from the CI job's variables or --run."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(help=f"The source of events that name none; else the CI system's project, or {DEFAULT_SOURCE}."),
    ] = None,
    event_time: Annotated[
        str | None, typer.Option("--time", help="One event from flags: its time, RFC 3339; now if not given.")
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            help="The name of this run of a pipeline: ids are made from it, and a repeated call repeats them."
        ),
    ] = None,
    topic: Annotated[str | None, typer.Option(help="The topic; the first of RUDDER_INPUT_TOPICS if not given.")] = None,
    mode: Annotated[Literal["binary", "structured"], typer.Option(help="The CloudEvents content mode.")] = "binary",
    redrive: Annotated[
        bool,
        typer.Option("--redrive", help="Send rejected events again, to be decided afresh (header rudder-redrive)."),
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse an event with a name that looks misspelt.")] = False,
    allow_empty: Annotated[bool, typer.Option("--allow-empty", help="An input without events is no error.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per event.")] = False,
) -> None:
    """Send events and wait until each is acknowledged. How many were sent is on standard error.

    A file is checked whole before its first event is sent; standard input is sent as it comes, until one is invalid.
    """
    with clear_errors():
        file = _only(files or [], event_type)
        _check_flags(id=event_id, type=event_type, data=data, source=source, time=event_time, run=run)
        settings = load()
        log_setup.configure(level="warning", log_format=context.obj or "console")
        warn_of_unknown_names()
        try:
            topic = topic_name(settings.input_topics[0] if topic is None else topic)
        except ValueError as error:
            raise ConfigurationError(f"--topic: {error}") from error
        sources = allowed_sources(settings.sources_file)
        identity = Identity.of(source=source, run=run, environment=os.environ, redrive=redrive)
        sending = Sending(topic=topic, mode=mode, redrive=redrive, as_json=as_json)
        stopped, streamed = threading.Event(), event_type is None and file is None
        with _drafts(event_type, data, event_id, event_time, file, stopped) as found, sending.counted():
            events = _checked(found, identity, settings, sources=sources, strict=strict, stopped=stopped)
            if not streamed:
                checked = list(events)  # all of it, before a broker is asked
                events = iter(checked)
            if streamed or checked:
                asyncio.run(sending.send(events, settings, stopped))
        if not sending.count and not allow_empty:
            complain(f"{file or 'standard input'} has no event; nothing was sent; --allow-empty makes that no error")
            raise typer.Exit(EXIT_PROBLEM)
        note(f"{sending.summary()}{identity.note()}")
        if sending.results.failed:
            raise typer.Exit(EXIT_PROBLEM)


def _only(files: list[Path], event_type: str | None) -> Path | None:
    """The file that is given; None for standard input."""
    if len(files) > 1:  # the last one would win, and the others be left out without a word
        raise ConfigurationError("--file is given more than once: publish one file after the other")
    if files and event_type is not None:
        raise ConfigurationError("--type and --file exclude each other")
    return next((file for file in files if str(file) != "-"), None)


def _check_flags(**flags: str | None) -> None:
    for name, text in flags.items():
        try:
            (text or "").encode()
        except UnicodeEncodeError as error:  # how Python keeps a byte that is no UTF-8
            raise ConfigurationError(f"--{name} is no text in UTF-8") from error
    run = flags["run"]
    if run is not None and not run.strip():
        # As where a variable is not set: all runs would have one name, and all but the first be duplicates.
        raise ConfigurationError("--run is empty: it needs a name that each run of the pipeline has for itself")


@contextmanager
def _drafts(
    event_type: str | None,
    data: str | None,
    event_id: str | None,
    event_time: str | None,
    file: Path | None,
    stopped: threading.Event,
) -> Iterator[Iterator[EventInput]]:
    if event_type is not None:
        yield iter([_from_flags(event_type, data, event_id, event_time)])
        return
    if data is not None or event_id is not None or event_time is not None:
        raise ConfigurationError("--data, --id and --time describe one event, which needs --type")
    if file is None:
        yield event_inputs("-", standard_input(stopped))
        return
    with opened(file) as lines:
        yield event_inputs(str(file), lines)


def _from_flags(event_type: str, data: str | None, event_id: str | None, event_time: str | None) -> EventInput:
    if data is None:
        raise ConfigurationError("--type needs --data, a JSON object")
    try:
        json.loads(data)
    except ValueError as error:
        raise ConfigurationError(f"--data is no JSON: {error}") from error
    said = {"id": event_id, "type": event_type, "time": event_time}
    given = {name: value for name, value in said.items() if value is not None}
    # The data's own text: parsed and written again it would lose a member that is named twice.
    text = f'{json.dumps(given, ensure_ascii=False)[:-1]}, "data": {data}}}'
    return EventInput(place="the event", value=text.encode())


def _checked(
    found: Iterator[EventInput],
    identity: Identity,
    settings: Settings,
    *,
    sources: AllowedSources | None,
    strict: bool,
    stopped: threading.Event,
) -> Iterator[tuple[EventInput, Event]]:
    """The events as they will be sent.

    Raises:
        InvalidEvent: at the first that will not be sent.
    """
    places: dict[str, str] = {}
    for event_input in found:
        if stopped.is_set():
            return  # what is left of the input ends within an event
        whole, derived = with_id(event_input, identity.id_of, source=identity.source, time=datetime.now(UTC))
        verdict = decider(
            whole,
            bytes_max=settings.event_bytes_max,
            ahead_seconds_max=settings.event_ahead_max_seconds,
            timestamp_ms=time.time_ns() // 1_000_000,
            sources=sources,
        )
        if isinstance(verdict, Problem):
            raise InvalidEvent(verdict)
        if problem := unsendable(whole):
            raise InvalidEvent(problem)
        if derived and (first := places.setdefault(verdict.id, event_input.place)) != event_input.place:
            detail = f"the id made for it is that of {first}; give the event an id or an attempt of its own"
            raise InvalidEvent(Problem(place=event_input.place, reason="same_id", detail=detail))
        for doubt in doubts(event_input, verdict):
            if strict:
                raise InvalidEvent(Problem(place=event_input.place, reason="strict", detail=doubt))
            note(f"{event_input.place}: warning: {doubt}")
        yield whole, verdict
