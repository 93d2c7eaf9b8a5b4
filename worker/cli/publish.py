"""`rudder-worker publish`: events from flags, a file or standard input, validated before they are sent."""

import asyncio
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

import typer

from schemas.event import Event
from worker.cli.correction import Correction, publish_correction
from worker.cli.exits import EXIT_PROBLEM, clear_errors, complain, note, warn_of_unknown_names
from worker.cli.sending import DEFAULT_SOURCE, Identity, InvalidEvent, Sending
from worker.cli.standard_input import opened, standard_input
from worker.publishing.event_input import Problem, decode_input, envelope_problem, spelling_warnings, with_id
from worker.publishing.event_texts import EventInput, event_inputs
from worker.rules.allowed_sources import AllowedSources
from worker.rules.errors import ConfigurationError
from worker.service import log_setup
from worker.settings import Settings, load, topic_name
from worker.sources_file import allowed_sources


@dataclass(frozen=True, slots=True, kw_only=True)
class _EventFlags:
    """One event, given by flags; `type` is None if the events are in a file or on standard input."""

    type: str | None
    data: str | None
    id: str | None
    time: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checks:
    """What each event is checked against before it is sent."""

    settings: Settings
    sources: AllowedSources | None
    strict: bool


def publish(
    context: typer.Context,
    event_type: Annotated[
        str | None, typer.Option("--type", help="Type of one event from flags, for example deployment.succeeded.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Data of that event: a JSON object.")] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option("--file", metavar="<path>", help="JSON lines, JSON texts or an array. Default: standard input."),
    ] = None,
    event_id: Annotated[
        str | None,
        typer.Option("--id", help="Id of that event. Default: derived from the CI job or --run."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(help=f"Source of events without one. Default: the CI system's project, or {DEFAULT_SOURCE}."),
    ] = None,
    event_time: Annotated[
        str | None, typer.Option("--time", help="Time of that event, as in RFC 3339. Default: now.")
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(help="Name of this pipeline run. Ids are derived from it, so a repeated call repeats them."),
    ] = None,
    topic: Annotated[str | None, typer.Option(help="Topic. Default: the first of RUDDER_INPUT_TOPICS.")] = None,
    mode: Annotated[Literal["binary", "structured"], typer.Option(help="CloudEvents content mode.")] = "binary",
    redrive: Annotated[
        bool, typer.Option("--redrive", help="Have rejected events decided again (header rudder-redrive).")
    ] = False,
    corrects: Annotated[
        UUID | None,
        typer.Option(help="Id of the dead letter that the one event in --file corrects; needs the database."),
    ] = None,
    wait_seconds: Annotated[
        float, typer.Option("--wait", min=0, max=3600, help="Seconds to wait for the decision on a correction.")
    ] = 30,
    strict: Annotated[bool, typer.Option("--strict", help="Reject an event with a probably misspelt name.")] = False,
    allow_empty: Annotated[bool, typer.Option("--allow-empty", help="Succeed if the input has no event.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per event.")] = False,
) -> None:
    """Send events, and wait until the broker has acknowledged each of them.

    A file is checked completely before its first event is sent. Standard input is sent as it arrives, up to the first
    invalid event. The number of sent events is printed on standard error.
    """
    with clear_errors():
        file = _only(files or [], event_type)
        _check_flags(id=event_id, type=event_type, data=data, source=source, time=event_time, run=run)
        settings = load()
        log_setup.configure(level="warning", log_format=context.obj or "console")
        warn_of_unknown_names()
        sources = allowed_sources(settings.sources_file)
        if corrects is not None:
            others = {"topic": topic, "source": source, "run": run, "redrive": redrive or None}
            file = _correction_file(file, others)
            publish_correction(
                Correction(
                    rejection_id=corrects,
                    file=file,
                    mode=mode,
                    strict=strict,
                    wait_seconds=wait_seconds,
                    as_json=as_json,
                ),
                settings,
                sources,
            )
            return
        flags = _EventFlags(type=event_type, data=data, id=event_id, time=event_time)
        checks = _Checks(settings=settings, sources=sources, strict=strict)
        identity = Identity.of(source=source, run=run, environment=os.environ, redrive=redrive)
        sending = Sending(topic=_topic(topic, settings), mode=mode, redrive=redrive, as_json=as_json)
        _send(flags, file, identity, checks, sending)
        if not sending.count and not allow_empty:
            complain(f"{file or 'standard input'} has no event; nothing was sent; use --allow-empty to accept that")
            raise typer.Exit(EXIT_PROBLEM)
        note(f"{sending.summary()}{identity.note()}")
        if sending.results.failed:
            raise typer.Exit(EXIT_PROBLEM)


def _correction_file(file: Path | None, others: Mapping[str, object]) -> Path:
    """Raises ConfigurationError without a file, and for options that have no meaning for a correction."""
    if file is None:
        raise ConfigurationError("--corrects requires --file, with the one corrected event")
    if given := next((name for name, value in others.items() if value is not None), None):
        raise ConfigurationError(f"--corrects and --{given} cannot be used together")
    return file


def _send(flags: _EventFlags, file: Path | None, identity: Identity, checks: _Checks, sending: Sending) -> None:
    stopped, streamed = threading.Event(), flags.type is None and file is None
    with _event_inputs(flags, file, stopped) as inputs, sending.counted():
        events = _checked(inputs, identity, checks, stopped=stopped)
        if streamed:
            asyncio.run(sending.send(events, checks.settings, stopped))
        elif checked := list(events):  # all of them are valid: only now connect to a broker
            asyncio.run(sending.send(iter(checked), checks.settings, stopped))


def _topic(name: str | None, settings: Settings) -> str:
    try:
        return topic_name(settings.input_topics[0] if name is None else name)
    except ValueError as error:
        raise ConfigurationError(f"--topic: {error}") from error


def _only(files: list[Path], event_type: str | None) -> Path | None:
    """The file; None for standard input."""
    if len(files) > 1:  # Typer would silently use the last one
        raise ConfigurationError("--file occurs more than once; publish one file after the other")
    if files and event_type is not None:
        raise ConfigurationError("--type and --file cannot be used together")
    return next((file for file in files if str(file) != "-"), None)


def _check_flags(**flags: str | None) -> None:
    for name, text in flags.items():
        try:
            (text or "").encode()
        except UnicodeEncodeError as error:  # Python reads a byte that is not UTF-8 as a surrogate
            raise ConfigurationError(f"--{name} is not UTF-8 text") from error
    run = flags["run"]
    if run is not None and not run.strip():
        # As with an unset variable: all runs would have one name, and all but the first would be duplicates.
        raise ConfigurationError("--run is empty; give each run of the pipeline a name of its own")


@contextmanager
def _event_inputs(flags: _EventFlags, file: Path | None, stopped: threading.Event) -> Iterator[Iterator[EventInput]]:
    if flags.type is not None:
        yield iter([_from_flags(flags)])
        return
    if flags.data is not None or flags.id is not None or flags.time is not None:
        raise ConfigurationError("--data, --id and --time require --type; together they describe one event")
    if file is None:
        yield event_inputs("-", standard_input(stopped))
        return
    with opened(file) as lines:
        yield event_inputs(str(file), lines)


def _from_flags(flags: _EventFlags) -> EventInput:
    if flags.data is None:
        raise ConfigurationError("--type requires --data, a JSON object")
    try:
        json.loads(flags.data)
    except ValueError as error:
        raise ConfigurationError(f"--data is not JSON: {error}") from error
    attributes = {"id": flags.id, "type": flags.type, "time": flags.time}
    given = {name: value for name, value in attributes.items() if value is not None}
    # The text of --data is kept: parsing and writing it would drop a member that occurs twice.
    text = f'{json.dumps(given, ensure_ascii=False)[:-1]}, "data": {flags.data}}}'
    return EventInput(location="the event", value=text.encode())


def _checked(
    inputs: Iterator[EventInput], identity: Identity, checks: _Checks, *, stopped: threading.Event
) -> Iterator[tuple[EventInput, Event]]:
    """The events as they will be sent.

    Raises:
        InvalidEvent: at the first that will not be sent.
    """
    locations: dict[str, str] = {}
    for event_input in inputs:
        if stopped.is_set():
            return  # the rest of the input may end within an event
        whole, derived = with_id(event_input, identity.id_of, source=identity.source, time=datetime.now(UTC))
        decoded = decode_input(
            whole,
            bytes_max=checks.settings.event_bytes_max,
            ahead_seconds_max=checks.settings.event_ahead_max_seconds,
            timestamp_ms=time.time_ns() // 1_000_000,
            sources=checks.sources,
        )
        if isinstance(decoded, Problem):
            raise InvalidEvent(decoded)
        if problem := envelope_problem(whole):
            raise InvalidEvent(problem)
        if derived and (first := locations.setdefault(decoded.id, event_input.location)) != event_input.location:
            detail = f"its derived id equals that of {first}; give the event an id or an attempt of its own"
            raise InvalidEvent(Problem(location=event_input.location, reason="same_id", detail=detail))
        for warning in spelling_warnings(event_input, decoded):
            if checks.strict:
                raise InvalidEvent(Problem(location=event_input.location, reason="strict", detail=warning))
            note(f"{event_input.location}: warning: {warning}")
        yield whole, decoded
