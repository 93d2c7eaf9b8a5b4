"""`rudder-worker validate`: check events without sending them."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.exits import EXIT_PROBLEM, clear_errors, complain, warn_of_unknown_names
from worker.cli.results import Results
from worker.cli.standard_input import opened
from worker.publishing.event_input import Problem, decode_input, publish_differences, spelling_warnings, with_full_type
from worker.publishing.event_texts import EventInput, event_inputs
from worker.rules.allowed_sources import AllowedSources
from worker.rules.errors import ConfigurationError
from worker.settings import load
from worker.sources_file import allowed_sources


def validate(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="CloudEvents as JSON lines, JSON texts or an array. Default, and `-`: standard input."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Treat warnings as problems.")] = False,
    allow_empty: Annotated[bool, typer.Option("--allow-empty", help="Succeed if an input has no event.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per problem or warning, and a summary object.")
    ] = False,
) -> None:
    """Check events without sending them: JSON, envelope, type, data, and the allowed sources (RUDDER_SOURCES_FILE).

    The exit code is 1 if an event is invalid, or if an input has no event. Rules that depend on the database are not
    checked: for example an unknown release, a taken release number, or an invalid transition.
    """
    with clear_errors():
        settings = load()
        warn_of_unknown_names()
        paths = files or [Path("-")]
        if paths.count(Path("-")) > 1:
            raise ConfigurationError("standard input (-) occurs more than once; it can be read only once")
        report = _Report(
            bytes_max=settings.event_bytes_max,
            ahead_seconds_max=settings.event_ahead_max_seconds,
            sources=allowed_sources(settings.sources_file),
            strict=strict,
            as_json=as_json,
        )
        empty: list[str] = []
        for path in paths:
            before = report.events
            with opened(path) as lines:
                for event_input in event_inputs(str(path), lines):
                    report.add(event_input)
            if report.events == before:
                empty.append("standard input" if str(path) == "-" else str(path))
        report.end()
        if empty and not allow_empty:
            complain(f"no event in {', '.join(empty)}; use --allow-empty to accept that")
        if report.invalid or report.results.failed or (empty and not allow_empty):
            raise typer.Exit(EXIT_PROBLEM)


@dataclass(slots=True, kw_only=True)
class _Report:
    bytes_max: int
    ahead_seconds_max: int
    sources: AllowedSources | None
    strict: bool
    as_json: bool
    events: int = 0
    invalid: int = 0
    warnings: int = 0
    results: Results = field(default_factory=Results)

    def add(self, event_input: EventInput) -> None:
        self.events += 1
        full = with_full_type(event_input)
        now_ms = time.time_ns() // 1_000_000
        decoded = decode_input(
            full,
            bytes_max=self.bytes_max,
            ahead_seconds_max=self.ahead_seconds_max,
            timestamp_ms=now_ms,
            sources=self.sources,
        )
        if isinstance(decoded, Problem):
            self.invalid += 1
            self._show(decoded)
            return
        found = (*publish_differences(event_input), *spelling_warnings(event_input, decoded))
        self.warnings += len(found)
        self.invalid += bool(found) and self.strict
        for warning in found:
            reason = "strict" if self.strict else "warning"
            self._show(Problem(location=event_input.location, reason=reason, detail=warning))

    def end(self) -> None:
        if self.as_json:
            self.results.json({"events": self.events, "invalid": self.invalid, "warnings": self.warnings})
        else:
            warnings = f", {self.warnings} warnings" if self.warnings else ""
            self.results.line(f"{self.events} events, {self.invalid} invalid{warnings}")

    def _show(self, problem: Problem) -> None:
        if self.as_json:
            self.results.json({"location": problem.location, "reason": problem.reason, "detail": problem.detail})
        else:
            self.results.line(f"{problem.location}: {problem.reason}: {problem.detail}")
