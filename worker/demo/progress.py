"""The day's progress: bars on a terminal, a line a second anywhere else."""

import time
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

LINE_EVERY_SECONDS: Final = 1.0


class DayProgress:
    """Shows how many records are published, and how many the worker's group has committed."""

    def __init__(self, *, console: Console, records_count: int) -> None:
        self._console = console
        self._records_count = records_count
        self._line_due_at_seconds = 0.0
        self._bars: Progress | None = None
        if console.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=console,
            )
            self._published = self._bars.add_task("published", total=records_count)
            self._committed = self._bars.add_task("committed", total=records_count)

    def __enter__(self) -> Self:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def show(self, *, published: int, committed: int) -> None:
        if self._bars:
            self._bars.update(self._published, completed=published)
            self._bars.update(self._committed, completed=committed)
        elif (now := time.monotonic()) >= self._line_due_at_seconds:
            self._line_due_at_seconds = now + LINE_EVERY_SECONDS
            self._console.print(f"published {published}, committed {committed} of {self._records_count}")
