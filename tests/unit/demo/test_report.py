"""The report shows the outcomes of the records and every finding."""

import io
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from tests.oracle.oracle import Oracle
from tests.unit.demo.published_records import decided, in_topic
from worker.demo.event_stream import event_stream
from worker.demo.report import print_report, print_verification

RECORDS = in_topic(event_stream(seed=12, releases=60))


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return decided(RECORDS)


@pytest.fixture(scope="module")
def database_path(oracle: Oracle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tables that the report reads, as the oracle has them."""
    path: Path = tmp_path_factory.mktemp("report") / "rudder.sqlite3"
    with closing(sqlite3.connect(path)) as connection, connection:
        for table in ("release_activity_logs", "release_event_rejections"):
            rows = oracle.content.tables()[table]
            connection.execute(f"CREATE TABLE {table} ({', '.join(rows[0])})")
            marks = ", ".join("?" * len(rows[0]))
            connection.executemany(f"INSERT INTO {table} VALUES ({marks})", map(_as_text, rows))
    return path


def _as_text(row: dict[str, object]) -> list[object]:
    return [json.dumps(value) if isinstance(value, dict) else value and str(value) for value in row.values()]


def console() -> Console:
    return Console(file=io.StringIO(), width=120)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_outcomes_are_those_of_the_records(oracle: Oracle, database_path: Path) -> None:
    """Holds also for duplicates, which have no row of their own."""
    shown = console()
    print_report(shown, records=len(RECORDS), database_path=database_path)
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in printed(shown).splitlines() if "│" in line]
    counts = {
        (outcome, reason.split(" ")[0]): count for outcome, reason, count in (row for row in rows if len(row) == 3)
    }
    expected = {}
    for name, count in oracle.outcomes.items():
        outcome, _, reason = name.partition(" ")
        expected[outcome.lower(), reason] = f"{count:,}"
    assert counts == expected
    assert "applied after a redrive" in printed(shown)
    assert f"sqlite3 {database_path}" in printed(shown)


def test_history_is_in_the_order_of_the_log(oracle: Oracle, database_path: Path) -> None:
    """A late event is listed in the order of its arrival, and a superseded attempt before its successor."""
    shown = console()
    print_report(shown, records=len(RECORDS), database_path=database_path)
    text = printed(shown)
    release_id = text.split("Activity log of release ")[1].split()[0]
    activities = [row for row in oracle.content.activity_logs.values() if row["release_mgt_id"] == release_id]
    expected = []
    for row in activities:
        change = row["activity_data"]["change"]
        expected.append(f"{change['from'] or '∅'} → {change['to']}" if change else row["activity_type"])
    lines = [line.split("│") for line in text.splitlines() if line.count("│") == 5]
    assert [cells[3].strip() for cells in lines] == expected
    assert any("→" in change for change in expected)


@pytest.mark.parametrize("verified", [True, False])
def test_findings_are_printed_as_they_are(tmp_path: Path, verified: bool) -> None:
    """Markup in a finding is printed as text."""
    path = tmp_path / "verify.txt"
    path.write_text("lost t/0@3: expected [bold] 1\n")
    shown = console()
    print_verification(shown, path, verified=verified)
    text = printed(shown)
    assert "lost t/0@3: expected [bold] 1" in text
    assert ("Verified:" in text, "Not verified:" in text) == (verified, not verified)
