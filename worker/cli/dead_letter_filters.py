"""The options of `dead-letters` commands that select dead letters."""

import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Annotated, Any
from uuid import UUID

import typer

from schemas.reasons import Reason
from schemas.types import full_type
from worker.cli.moments import moment
from worker.rules.errors import ConfigurationError
from worker.stored_dead_letters import DeadLetterState, Filters


def filter_options(
    *,
    reason: Annotated[str | None, typer.Option(help="Only this reason, for example release_not_found.")] = None,
    source: Annotated[str | None, typer.Option(help="Only events of this source.")] = None,
    event_type: Annotated[
        str | None, typer.Option("--type", help="Only events of this type, for example deployment.succeeded.")
    ] = None,
    release: Annotated[UUID | None, typer.Option(help="Only events of the release with this id.")] = None,
    topic: Annotated[str | None, typer.Option(help="Only records of this input topic.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Only events from this time on: 2026-03-01T09:30:00Z, or 2h for two hours ago.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Only events before this time.")] = None,
    detail_contains: Annotated[str | None, typer.Option(help="Only with this text in the detail, in any case.")] = None,
    only_open: Annotated[
        bool, typer.Option("--open", help="Only open ones: neither resolved nor dismissed. The default.")
    ] = False,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Only those resolved by a redrive or a correction.")
    ] = False,
    dismissed: Annotated[bool, typer.Option("--dismissed", help="Only dismissed ones.")] = False,
    every_state: Annotated[bool, typer.Option("--all", help="Dead letters in any state.")] = False,
) -> Filters:
    """The filters that the options mean.

    Raises:
        ConfigurationError: a value is none, or two states are chosen.
    """
    for name, text in {"source": source, "topic": topic, "detail-contains": detail_contains}.items():
        try:
            (text or "").encode()
        except UnicodeEncodeError as error:  # Python reads a byte that is not UTF-8 as a surrogate
            raise ConfigurationError(f"--{name} is not UTF-8 text") from error
    if reason is not None and reason not in set(Reason):
        raise ConfigurationError(f"--reason: {reason} is no reason; reasons are {', '.join(Reason)}")
    now = datetime.now(UTC)
    begin = None if since is None else moment(since, option="since", now=now)
    end = None if until is None else moment(until, option="until", now=now)
    if begin is not None and end is not None and begin >= end:
        raise ConfigurationError("--until is not after --since, so no dead letter can match")
    return Filters(
        reason=reason,
        source=source,
        type=None if event_type is None else full_type(event_type),
        release=release,
        topic=topic,
        since=begin,
        until=end,
        detail_contains=detail_contains or None,
        state=_state(
            {
                DeadLetterState.OPEN: only_open,
                DeadLetterState.RESOLVED: resolved,
                DeadLetterState.DISMISSED: dismissed,
                DeadLetterState.ALL: every_state,
            }
        ),
    )


def with_filters(*omitted: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options of `filter_options` to a command, which gets a function `filters` that makes the Filters.
    `omitted`: names of parameters that the command does not have.
    """

    def decorated(command: Callable[..., None]) -> Callable[..., None]:
        options = {
            name: parameter
            for name, parameter in inspect.signature(filter_options).parameters.items()
            if name not in omitted
        }

        @wraps(command)
        def wrapped(*arguments: Any, **given: Any) -> None:
            values = {name: given.pop(name) for name in options if name in given}
            command(*arguments, filters=lambda: filter_options(**values), **given)

        signature = inspect.signature(command)
        own = [parameter for name, parameter in signature.parameters.items() if name != "filters"]
        wrapped.__signature__ = signature.replace(parameters=[*own, *options.values()])  # type: ignore[attr-defined]  # what `inspect` and Typer read
        wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *options.values())}
        return wrapped

    return decorated


def _state(chosen: dict[DeadLetterState, bool]) -> DeadLetterState:
    states = [state for state, given in chosen.items() if given]
    if len(states) > 1:
        raise ConfigurationError(f"{' and '.join(f'--{state}' for state in states)} cannot be used together")
    return states[0] if states else DeadLetterState.OPEN
