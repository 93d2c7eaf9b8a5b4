"""`validate` says of every event whether the worker would accept it, and if not where and why."""

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.types import EventType
from tests.unit.cli.command_line import CommandLine
from tests.unit.schemas.records import ENVELOPE, RELEASE_DATA
from tests.unit.schemas.schema_files import EXAMPLES

VALID = sorted(path for type_ in EventType for path in (EXAMPLES / type_).glob("valid-*.json"))
INVALID = sorted(path for type_ in EventType for path in (EXAMPLES / type_).glob("invalid-*.json"))


def event(**changes: Any) -> bytes:
    """A sound event on one line."""
    return json.dumps({**ENVELOPE, "data": dict(RELEASE_DATA), **changes}).encode()


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def test_the_valid_examples_pass_in_one_go(command_line: CommandLine) -> None:
    """Each is a pretty-printed JSON text over many lines."""
    ended = command_line("validate", *map(str, VALID))
    assert (ended.code, ended.out, ended.err) == (0, f"{len(VALID)} events, 0 invalid\n", "")


@pytest.mark.parametrize("path", INVALID, ids=name_of)
def test_an_invalid_example_fails_for_what_is_wrong_with_it(command_line: CommandLine, path: Path) -> None:
    """File and line, the reason, and the JSON pointer that the example itself names."""
    reason, _, pointer = json.loads(path.read_bytes())["wrong"].partition(" ")
    ended = command_line("validate", str(path))
    assert (ended.code, ended.err) == (1, "")
    problem, count = ended.out.splitlines()
    assert problem.startswith(f"{path}:1: {reason}: ")
    assert (pointer if reason == "invalid_data" else pointer.removeprefix("/")) in problem
    assert count == "1 events, 1 invalid"


def test_json_lines_are_judged_one_by_one(command_line: CommandLine, tmp_path: Path) -> None:
    """Blank lines do not count as events, but as lines."""
    bad_type, bad_data = event(type="dev.rudder.nope.v1"), event(data={"organization_id": ""})
    (tmp_path / "events.jsonl").write_bytes(b"\n".join([event(), b"", bad_type, b"  ", bad_data, b"not json", event()]))
    ended = command_line("validate", "events.jsonl")
    assert ended.code == 1
    *problems, count = ended.out.splitlines()
    assert [problem.split(": ")[:2] for problem in problems] == [
        ["events.jsonl:3", "unsupported_type"],
        ["events.jsonl:5", "invalid_data"],
        ["events.jsonl:6", "malformed_json"],
    ]
    assert count == "5 events, 3 invalid"


def test_everything_wrong_with_one_event_is_said_at_once(command_line: CommandLine) -> None:
    ended = command_line("validate", stdin=event(data={"release_id": "x", "organization_id": "", "actor": 1}))
    assert ended.code == 1
    problem = ended.out.splitlines()[0]
    for pointer in ("/data/release_id: ", "/data/organization_id: ", "/data/actor: "):
        assert pointer in problem


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_standard_input_is_read_where_no_file_is_named(command_line: CommandLine, arguments: list[str]) -> None:
    ended = command_line("validate", *arguments, stdin=event() + b"\n" + event(id="") + b"\n")
    assert ended.code == 1
    problem, count = ended.out.splitlines()
    assert problem.startswith("-:2: not_a_cloudevent: id: ")
    assert count == "2 events, 1 invalid"


@pytest.mark.parametrize("empty", [b"", b"\n", b" \n\t\n\n"])
def test_an_empty_file_holds_no_events_and_no_problem(command_line: CommandLine, tmp_path: Path, empty: bytes) -> None:
    (tmp_path / "empty.json").write_bytes(empty)
    ended = command_line("validate", "empty.json")
    assert (ended.code, ended.out, ended.err) == (0, "0 events, 0 invalid\n", "")


def test_json_output_is_one_object_a_line_and_a_count_at_the_end(command_line: CommandLine, tmp_path: Path) -> None:
    """Also where the event names things in other scripts, or tries to write lines of its own."""
    hostile = event(type='dev.rudder.ü\n\u2028"nope"')
    (tmp_path / "event.json").write_bytes(event() + b"\n" + hostile)
    ended = command_line("validate", "--json", "event.json")
    assert ended.code == 1
    problem, count = map(json.loads, ended.out.splitlines())
    assert problem["place"] == "event.json:2"
    assert problem["reason"] == "not_a_cloudevent"
    assert count == {"events": 2, "invalid": 1}


def test_an_event_cannot_steer_the_terminal(command_line: CommandLine) -> None:
    ended = command_line("validate", stdin=event(data={**RELEASE_DATA, "actor": "\x1b[2J", "\x1b]0;x\x07\n": "\u2028"}))
    ended_type = command_line("validate", stdin=event(type="a\x1b[2J\u2028b"))
    for out in (ended.out, ended_type.out):
        assert "\x1b" not in out
        assert "\u2028" not in out


def test_the_limit_on_an_event_is_the_worker_s_own(command_line: CommandLine) -> None:
    command_line.environment(RUDDER_EVENT_BYTES_MAX="100")
    ended = command_line("validate", stdin=event())
    assert ended.code == 1
    assert ended.out.startswith("-:1: too_large: ")


def test_what_is_no_text_is_a_problem_and_no_traceback(command_line: CommandLine) -> None:
    ended = command_line("validate", stdin=event() + b"\n\xff\xfe\n\x00\n")
    assert ended.code == 1
    assert [line.split(": ")[:2] for line in ended.out.splitlines()[:2]] == [
        ["-:2", "malformed_json"],
        ["-:3", "malformed_json"],
    ]


@pytest.mark.parametrize(("name", "why"), [("missing.json", "No such file"), (".", "directory")])
def test_a_file_that_cannot_be_read_is_one_clear_line(command_line: CommandLine, name: str, why: str) -> None:
    ended = command_line("validate", name)
    assert (ended.code, ended.out) == (2, "")
    assert name in ended.complaint
    assert why in ended.complaint


def test_what_the_worker_accepts_does_not_depend_on_where_it_runs(command_line: CommandLine) -> None:
    """Settings of database and broker are checked, not used: there is neither here."""
    command_line.environment(
        RUDDER_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1", RUDDER_DATABASE_URL="postgresql+asyncpg://x/"
    )
    assert command_line("validate", stdin=event()).code == 0
