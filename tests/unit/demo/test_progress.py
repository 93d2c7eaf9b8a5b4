"""Progress is a line where there is no terminal."""

import io

from rich.console import Console

from worker.demo.progress import DayProgress


def test_progress_without_a_terminal_is_plain_lines() -> None:
    """A log of the demo stays readable."""
    console = Console(file=io.StringIO(), width=80)
    with DayProgress(console=console, records_count=30) as progress:
        progress.show(published=20, committed=10)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == "published 20, committed 10 of 30\n"
