"""`--watch`: print a result again every few seconds, in place of the one before."""

import asyncio
import shutil
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import TypeVar

from schemas.detail import printable
from worker.cli.tables import cut
from worker.rules.errors import ConfigurationError, Unavailable

_INTERVAL_SECONDS = 2.0
_CLEAR = "\x1b[H\x1b[2J"

_Source = TypeVar("_Source")


def require_terminal(*, as_json: bool) -> None:
    """Raises ConfigurationError where nothing can be drawn again."""
    if as_json:
        raise ConfigurationError("--watch and --json cannot be used together; run the command with --json repeatedly")
    if not sys.stdout.isatty():
        raise ConfigurationError("--watch needs a terminal; leave it out, or use --json for a program")


def run_redrawing(
    opened: AbstractAsyncContextManager[_Source], lines: Callable[[_Source], Awaitable[Sequence[str]]]
) -> None:
    """Print until a signal ends the command. While the source is unavailable, that is printed, and it is read again.

    Raises:
        ConfigurationError, Unavailable: as the first reading does.
    """
    asyncio.run(_redraw(opened, lines))


async def _redraw(
    opened: AbstractAsyncContextManager[_Source], lines: Callable[[_Source], Awaitable[Sequence[str]]]
) -> None:
    async with opened as source:
        shown = await lines(source)
        while True:
            width, height = shutil.get_terminal_size()
            print(drawn(shown, now=datetime.now(UTC), size=(width, height)), end="", flush=True)
            await asyncio.sleep(_INTERVAL_SECONDS)
            try:
                shown = await lines(source)
            except Unavailable as error:
                shown = [printable(" ".join(str(error).split()))]


def drawn(lines: Sequence[str], *, now: datetime, size: tuple[int, int]) -> str:
    """A whole screen of `size` columns and rows: the time, and as many lines as there is space for."""
    width, height = size
    kept = list(lines)
    if len(kept) > height - 2:
        kept = [*kept[: max(0, height - 3)], f"… and {len(kept) - max(0, height - 3)} more lines"]
    head = f"{now:%Y-%m-%d %H:%M:%S}Z, every {_INTERVAL_SECONDS:g} s; Ctrl-C ends it"
    return _CLEAR + "\n".join(cut(line, width) for line in (head, *kept)) + "\n"
