"""The report says what came and what became of it, and never hides a difference."""

import io
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from tests.unit.demo.imitation import imitate, in_topic
from worker.demo.contract_model import ContractModel
from worker.demo.latency import Quantiles
from worker.demo.recount import Recount, compare
from worker.demo.report import Figures, eventful_release, figures_table, print_report, release_timeline
from worker.demo.stream import a_day

FIGURES = Figures(
    backlog_records=600,
    backlog_seconds=2.0,
    backlog_latency=Quantiles(count=500, p50_ms=410.4, p99_ms=900.0),
    steady_rate_per_second=150.0,
    steady_latency=None,
)


def printed(path: Path, *, differences: tuple[str, ...] = (), failures: tuple[str, ...] = ()) -> str:
    events = in_topic(a_day(seed=12, releases=30))
    with closing(sqlite3.connect(path)) as connection, connection:
        done = imitate(events, connection=connection)
        counted = compare(
            events=events,
            deployment_statuses=done.deployment_statuses,
            release_statuses=done.release_statuses,
            dead_letters=done.dead_letters,
            connection=connection,
        )
    counted = Recount(differences=differences, model=counted.model, records=counted.records)
    console = Console(file=io.StringIO(), width=100)
    print_report(console, recount=counted, figures=FIGURES, database_path=path, failures=failures)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_report_shows_a_whole_day(tmp_path: Path) -> None:
    """Outcomes, reasons, throughput, latency, a timeline, and where to look."""
    text = printed(tmp_path / "rudder.sqlite3")
    for expected in ("release_not_deployable", "300/s", "410.4 ms", "∅ → DRAFT", "sqlite3 ", "The recount agrees"):
        assert expected in text


def test_steady_figure_comes_before_the_initial_burst() -> None:
    """The first figure read was the waiting time of a burst into a worker that had just started."""
    figures = replace(FIGURES, steady_latency=Quantiles(count=60, p50_ms=5.5, p99_ms=9.9))
    console = Console(file=io.StringIO(), width=120)
    console.print(figures_table(figures))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert text.index("steady load") < text.index("5.5 ms") < text.index("cold start, 600 records at once")
    assert text.index("cold start") < text.index("410.4 ms")


def test_differences_are_shown_as_text_and_counted(tmp_path: Path) -> None:
    """Markup in a difference is text; beyond the first twenty they are counted."""
    text = printed(
        tmp_path / "rudder.sqlite3",
        differences=tuple(f"t/0/{offset}: [bold] is 1" for offset in range(23)),
        failures=("the exit code [1]",),
    )
    assert "t/0/19: [bold] is 1" in text
    assert "3 more" in text
    assert "the exit code [1]" in text
    assert "recount agrees" not in text
    assert "disagrees in 23 places" in text


def test_timeline_is_in_the_order_of_arrival() -> None:
    """A late event stands where it arrived, and a superseded attempt before its successor."""
    events = in_topic(a_day(seed=2026, releases=80))
    with closing(sqlite3.connect(":memory:")) as connection:
        imitate(events, connection=connection)
        model = ContractModel()
        for record in events:
            model.apply(record)
        release_id = eventful_release(model)
        assert release_id is not None
        timeline = release_timeline(connection, release_id=release_id)
    told = [activity for judged in model.judged if judged.release_id == release_id for activity in judged.activities]
    expected = [
        f"{activity.previous or '∅'} → {activity.status}" if activity.status else activity.activity_type
        for activity in told
    ]
    assert [activity.change for activity in timeline] == expected
