"""`dead-letters` on SQLite: what it prints, what it writes, and what it refuses."""

import json
import re
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.unit.cli.command_line import CommandLine, Ended

FILE = "rudder.sqlite3"
HOSTILE = "\x1b]0;owned\x07\x1b[2J\r\nrudder-worker: 0 open \u202edead letters"


def insert(folder: Path, count: int, **values: Any) -> list[UUID]:
    """Rejections, one a second; their ids."""
    ids = [UUID(int=number) for number in range(1, count + 1)]
    with closing(sqlite3.connect(folder / FILE)) as connection, connection:
        for number, id_ in enumerate(ids):
            row = {
                "id": str(id_),
                "created_at": f"2026-03-17 09:{number // 60:02}:{number % 60:02}.000000",
                "reason": "release_not_found",
                "detail": "the release does not exist",
                "event_source": "/ci",
                "event_type": "dev.rudder.deployment.started.v1",
                "topic": "events",
                "topic_partition": 0,
                "topic_offset": number,
                **values,
            }
            names = ", ".join(row)
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO release_event_rejections ({names}) VALUES ({marks})", list(row.values()))
    return ids


def query(folder: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(folder / FILE)) as connection:
        return connection.execute(sql).fetchall()


@pytest.fixture
def letters(command_line: CommandLine) -> CommandLine:
    """The command with a migrated database."""
    assert command_line("migrate").code == 0
    return command_line


def listed(ended: Ended) -> Sequence[str]:
    assert ended.code == 0, ended.err
    return [line.split()[0] for line in ended.out.splitlines()[1:]]


def test_pages_follow_each_other(letters: CommandLine, tmp_path: Path) -> None:
    """By the option that the page before has printed; the last page prints none."""
    ids = insert(tmp_path, 5)
    first = letters("dead-letters", "list", "--limit", "3")
    assert listed(first) == [str(id_) for id_ in ids[:1:-1]]
    assert "5 open dead letters" in first.err
    [key] = re.findall(r"--after (\S+)", first.err)
    second = letters("dead-letters", "list", "--limit", "3", "--after", key)
    assert listed(second) == [str(ids[1]), str(ids[0])]
    assert "--after" not in second.err


def test_groups_are_limited_too(letters: CommandLine, tmp_path: Path) -> None:
    """The largest come first; how many are left out is printed."""
    insert(tmp_path, 3)
    with closing(sqlite3.connect(tmp_path / FILE)) as connection, connection:
        connection.execute("UPDATE release_event_rejections SET event_source = '/other' WHERE topic_offset = 2")
    ended = letters("dead-letters", "list", "--group-by", "source", "--limit", "1")
    assert ended.code == 0
    assert [line.split()[-1] for line in ended.out.splitlines()] == ["SOURCE", "/ci"]
    assert "1 more groups; list them with --limit" in ended.err


def test_unknown_topic_is_named(letters: CommandLine) -> None:
    ended = letters("dead-letters", "list", "--topic", "misspelt")
    assert "misspelt is none of RUDDER_INPUT_TOPICS (rudder.deployment-events)" in ended.err


def test_json_has_all_fields(letters: CommandLine, tmp_path: Path) -> None:
    insert(tmp_path, 2, detail="Zürich")
    ended = letters("dead-letters", "list", "--json", "--limit", "1")
    found = json.loads(ended.out)
    assert (found["count"], found["count_capped"]) == (2, False)
    assert f"--after {found['next']}" in ended.err
    [one] = found["dead_letters"]
    assert (one["state"], one["detail"], one["dismissal"]) == ("open", "Zürich", None)
    assert one["record"] == {"topic": "events", "partition": 0, "offset": 1}


def test_publishers_text_cannot_control_the_terminal(letters: CommandLine, tmp_path: Path) -> None:
    """One line a dead letter, whatever is in its detail, source and type."""
    insert(tmp_path, 2, detail=HOSTILE, event_type=HOSTILE, event_source=HOSTILE)
    for arguments in (["list"], ["dismiss", "--all", "--note", HOSTILE]):
        ended = letters("dead-letters", *arguments)
        assert ended.code == 0, ended.err
        assert len(ended.out.splitlines()) == 3
        assert not set("\x1b\x07\r\u202e") & set(ended.out + ended.err)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["list", "--since", "yesterday"], "--since: yesterday is no time"),
        (["list", "--since", "1h", "--until", "2h"], "--until is not after --since"),
        (["list", "--reason", "not_found"], "--reason: not_found is no reason"),
        (["list", "--open", "--resolved"], "--open and --resolved cannot be used together"),
        (["list", "--after", "7"], "--after: 7 is no key"),
        (["list", "--source", "\udcff"], "--source is not UTF-8 text"),
        (["dismiss", "--note", "n"], "nothing is selected"),
        (["dismiss", "--all"], "--note is required"),
        (["dismiss", "--all", "--note", "x" * 1_001], "more than 1000 characters"),
        (["dismiss", "--all", "--reason", "attempt_gap", "--note", "n"], "cannot be used together"),
        (["dismiss", "--all", "--note", "n", "--execute"], "--execute with filters requires --plan-sha256"),
        (["dismiss", "--reason", "attempt_gap", "--note", "n"], "the filters match no dead letter"),
        (["dismiss", str(UUID(int=99)), "--note", "n"], f"no dead letter has the id {UUID(int=99)}"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], problem: str, letters: CommandLine, tmp_path: Path) -> None:
    """Exit code 2, and nothing is done."""
    insert(tmp_path, 1)
    ended = letters("dead-letters", *arguments)
    assert ended.code == 2
    assert problem in ended.problem
    assert query(tmp_path, "SELECT * FROM release_event_dismissals") == []
    assert query(tmp_path, "SELECT * FROM operator_actions") == []


def test_database_that_is_behind_is_one_line(command_line: CommandLine) -> None:
    ended = command_line("dead-letters", "list")
    assert ended.code == 2
    assert "rudder-worker migrate" in ended.problem


def test_dismissal_without_execute_changes_nothing(letters: CommandLine, tmp_path: Path) -> None:
    insert(tmp_path, 3)
    ended = letters("dead-letters", "dismiss", "--all", "--note", "one bad build")
    assert "plan: 3 to dismiss, 0 left as they are; nothing was changed" in ended.err
    assert query(tmp_path, "SELECT * FROM release_event_dismissals") == []
    assert query(tmp_path, "SELECT * FROM operator_actions") == []


def test_dismissal_is_exactly_the_plan(letters: CommandLine, tmp_path: Path) -> None:
    """A dead letter that arrives after the review stops it; with the hash of the set that is there, it is done."""
    command = ["dead-letters", "dismiss", "--all", "--note", "one bad build"]
    insert(tmp_path, 2)
    [reviewed] = re.findall(r"--plan-sha256 (\S+)", letters(*command).err)
    with closing(sqlite3.connect(tmp_path / FILE)) as connection, connection:
        connection.execute("UPDATE release_event_rejections SET resolved_at = created_at WHERE topic_offset = 1")
    refused = letters(*command, "--execute", "--plan-sha256", reviewed)
    assert refused.code == 2
    assert "the selection is not that of the plan" in refused.problem
    assert query(tmp_path, "SELECT * FROM release_event_dismissals") == []
    [reviewed] = re.findall(r"--plan-sha256 (\S+)", letters(*command).err)
    done = letters(*command, "--execute", "--plan-sha256", reviewed)
    assert (done.code, len(listed(done))) == (0, 1)
    assert query(tmp_path, "SELECT note FROM release_event_dismissals") == [("one bad build",)]
    [(command_name, result, counts, arguments)] = query(
        tmp_path, "SELECT command, result, counts, arguments FROM operator_actions"
    )
    assert (command_name, result) == ("dead-letters dismiss", "completed")
    assert json.loads(counts) == {"selected": 1, "dismissed": 1}
    assert json.loads(arguments)["ids"] == [str(UUID(int=1))]


def test_dismissal_by_ids_is_idempotent(letters: CommandLine, tmp_path: Path) -> None:
    """The second call keeps the first note, and reports who has dismissed the dead letter."""
    letters.environment(RUDDER_OPERATOR="maria")
    [id_, _] = insert(tmp_path, 2)
    command = ["dead-letters", "dismiss", str(id_), "--execute", "--json", "--note"]
    first, second = (json.loads(letters(*command, text).out) for text in ("one bad build", "again"))
    assert [one["outcome"] for one in first["dead_letters"]] == ["dismissed"]
    assert [one["outcome"] for one in second["dead_letters"]] == ["left: dismissed before by maria"]
    assert query(tmp_path, "SELECT dismissed_by, note FROM release_event_dismissals") == [("maria", "one bad build")]
    assert listed(letters("dead-letters", "list", "--dismissed")) == [str(id_)]
    assert len(listed(letters("dead-letters", "list"))) == 1


def test_dead_letter_is_shown_without_a_broker(letters: CommandLine, tmp_path: Path) -> None:
    """What the database has, and one warning."""
    letters.environment(RUDDER_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    [id_] = insert(tmp_path, 1, detail=HOSTILE, event_id=HOSTILE, release_mgt_id=str(UUID(int=9)))
    ended = letters("dead-letters", "show", str(id_), "--payload")
    assert ended.code == 0, ended.err
    assert "warning: the record was not read: " in ended.err
    assert f"id        {id_}" in ended.out
    assert "the event was not read" in ended.out
    assert not set("\x1b\x07\r\u202e") & set(ended.out + ended.err)
    assert json.loads(letters("dead-letters", "show", str(id_), "--json").out)["record_found"] is None


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "--corrects requires --file"),
        (["--file", "event.json", "--topic", "other"], "--corrects and --topic cannot be used together"),
        (["--file", "event.json", "--redrive"], "--corrects and --redrive cannot be used together"),
        (["--file", "event.json"], "event.json has 0 events; --corrects takes one"),
        (["--file", "missing.json"], "missing.json"),
    ],
)
def test_unusable_correction_is_one_line(
    arguments: list[str], problem: str, letters: CommandLine, tmp_path: Path
) -> None:
    (tmp_path / "event.json").write_text("")
    ended = letters("publish", "--corrects", str(UUID(int=1)), *arguments)
    assert ended.code == 2
    assert problem in ended.problem


def test_export_overwrites_no_file(letters: CommandLine, tmp_path: Path) -> None:
    """And writes several events to a folder only; found before anything is read."""
    ids = [str(id_) for id_ in insert(tmp_path, 2)]
    (tmp_path / "event.json").write_text("mine")
    for arguments, problem in (
        ([ids[0], "--output", "event.json"], "event.json exists"),
        ([*ids, "--output", "new.json"], "new.json is not a folder"),
    ):
        ended = letters("dead-letters", "export", *arguments)
        assert ended.code == 2
        assert problem in ended.problem
    assert (tmp_path / "event.json").read_text() == "mine"
