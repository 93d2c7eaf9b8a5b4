"""`rudder-worker validate`: would the worker accept these events?"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from worker.cli.exits import EXIT_PROBLEM, clear_errors
from worker.domain.errors import Misconfigured
from worker.handling.drafts import Problem, drafts, judge
from worker.settings import load
from worker.sources_file import allowed_sources


def validate(
    files: Annotated[
        list[Path] | None, typer.Argument(help="JSON or JSON lines, each a CloudEvent; none or `-`: standard input.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per problem, and one at the end.")
    ] = False,
) -> None:
    """Check events against the schemas without sending them. Exit code 1 if the worker would reject any."""
    with clear_errors():
        settings = load()
        sources = allowed_sources(settings.sources_file)
        count = problems = 0
        for path in files or [Path("-")]:
            with opened(path) as lines:
                for draft in drafts(str(path), lines):
                    count += 1
                    verdict = judge(draft, bytes_max=settings.event_bytes_max, sources=sources)
                    if isinstance(verdict, Problem):
                        problems += 1
                        _print_problem(verdict, as_json=as_json)
        if as_json:
            print(json.dumps({"events": count, "invalid": problems}))
        else:
            print(f"{count} events, {problems} invalid")
        if problems:
            raise typer.Exit(EXIT_PROBLEM)


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file, or standard input for `-`.

    Raises:
        Misconfigured: it cannot be read.
    """
    if str(path) == "-":
        yield sys.stdin.buffer
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise Misconfigured(f"{path} cannot be read: {error.strerror}") from error
    with file:
        yield file


def _print_problem(problem: Problem, *, as_json: bool) -> None:
    if as_json:
        said = {"place": problem.place, "reason": problem.reason, "detail": problem.detail}
        print(json.dumps(said, ensure_ascii=False))
    else:
        print(f"{problem.place}: {problem.reason}: {problem.detail}")
