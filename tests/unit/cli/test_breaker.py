"""`breaker status` and `breaker close` on SQLite: output, exit codes, one line for each problem."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.unit.cli.command_line import CommandLine
from tests.unit.pipeline.test_breaker import an_opening
from worker.db.store import SqlStore
from worker.group_breaker import Opening


@pytest.fixture
def migrated(command_line: CommandLine) -> CommandLine:
    command_line.environment(RUDDER_GROUP_ID="group", RUDDER_OPERATOR="maria")
    assert command_line("migrate").code == 0
    return command_line


def record(folder: Path, opening: Opening) -> None:
    async def recorded() -> None:
        store = SqlStore.open(f"sqlite+aiosqlite:///{folder}/rudder.sqlite3", connections_max=1, timeout_seconds=5)
        try:
            assert await store.openings().record(opening) == opening
        finally:
            await store.close()

    asyncio.run(recorded())


def test_closed_breaker_is_one_line(migrated: CommandLine) -> None:
    ended = migrated("breaker", "status")
    assert (ended.code, ended.out) == (0, "the breaker of group group is closed\n")
    as_json = migrated("breaker", "status", "--json")
    assert json.loads(as_json.out) == {"group": "group", "open": False, "opening": None, "past": []}


def test_closing_a_closed_breaker_is_an_error(migrated: CommandLine) -> None:
    ended = migrated("breaker", "close", "--note", "x")
    assert (ended.code, ended.out) == (2, "")
    assert ended.problem == "the breaker of group group (RUDDER_GROUP_ID) is not open; nothing to close"


def test_open_breaker_is_shown_closed_and_listed(migrated: CommandLine, tmp_path: Path) -> None:
    opening = an_opening()
    record(tmp_path, opening)
    ended = migrated("breaker", "status")
    assert ended.code == 1
    assert ended.out.splitlines() == [
        "the breaker of group group is OPEN since 2026-03-01T12:30:00Z",
        "  opened by  worker on host",
        "  rejected   6 of the last 10 events",
        "  reasons    invalid_data 6",
        "  sources    /ci 6",
        "  positions  in/0@1 to in/0@10",
        "close it with rudder-worker breaker close --note TEXT",
    ]
    shown = migrated("breaker", "status", "--json")
    assert shown.code == 1
    assert json.loads(shown.out)["opening"] == {
        "id": str(opening.id),
        "opened_at": "2026-03-01T12:30:00Z",
        "opened_by": "worker on host",
        "events": 10,
        "rejected": 6,
        "reasons": {"invalid_data": 6},
        "sources": {"/ci": 6},
        "first": {"topic": "in", "partition": 0, "offset": 1},
        "last": {"topic": "in", "partition": 0, "offset": 10},
        "closed_at": None,
        "closed_by": None,
        "note": None,
    }
    ended = migrated("breaker", "close", "--note", "the publisher is corrected")
    assert (ended.code, ended.out) == (0, "the breaker of group group is closed; it was opened by worker on host\n")
    ended = migrated("breaker", "status")
    assert ended.code == 0
    assert ended.out.splitlines()[1].endswith("closed by maria: the publisher is corrected")
    assert migrated("breaker", "status", "--past", "0").out == "the breaker of group group is closed\n"
    [past] = json.loads(migrated("breaker", "status", "--json").out)["past"]
    assert (past["closed_by"], past["note"]) == ("maria", "the publisher is corrected")


def test_close_requires_a_note(migrated: CommandLine, tmp_path: Path) -> None:
    record(tmp_path, an_opening())
    assert migrated("breaker", "close").code == 2
    ended = migrated("breaker", "close", "--note", "  ")
    assert ended.code == 2
    assert ended.problem.startswith("--note: the note is empty")
    assert migrated("breaker", "status").code == 1


def test_database_that_is_not_migrated_is_one_line(command_line: CommandLine) -> None:
    for arguments in (("status",), ("close", "--note", "x")):
        ended = command_line("breaker", *arguments)
        assert ended.code == 2
        assert "rudder-worker migrate" in ended.problem
