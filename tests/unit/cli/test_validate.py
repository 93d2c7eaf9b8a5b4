"""`validate` reports for every event whether the worker can read it, with the place and reason of a problem."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from schemas.types import EventType
from tests.unit.cli.command_line import TIMEOUT_SECONDS, CommandLine, command, process_environment, rudder_worker
from tests.unit.schemas.records import ENVELOPE, RELEASE_DATA
from tests.unit.schemas.schema_files import EXAMPLES

VALID = sorted(path for type_ in EventType for path in (EXAMPLES / type_).glob("valid-*.json"))
INVALID = sorted(path for type_ in EventType for path in (EXAMPLES / type_).glob("invalid-*.json"))


def event(**changes: Any) -> bytes:
    """A valid event on one line."""
    return json.dumps({**ENVELOPE, "data": dict(RELEASE_DATA), **changes}).encode()


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def test_valid_examples_pass(command_line: CommandLine) -> None:
    """Each is a pretty-printed JSON text over many lines."""
    ended = command_line("validate", *map(str, VALID))
    assert (ended.code, ended.out, ended.err) == (0, f"{len(VALID)} events, 0 invalid\n", "")


@pytest.mark.parametrize("path", INVALID, ids=name_of)
def test_invalid_example_fails_with_its_reason_and_pointer(command_line: CommandLine, path: Path) -> None:
    """File and line, the reason, and the JSON pointer that the example itself names."""
    reason, _, pointer = json.loads(path.read_bytes())["wrong"].partition(" ")
    ended = command_line("validate", str(path))
    assert (ended.code, ended.err) == (1, "")
    problem, count = ended.out.splitlines()
    assert problem.startswith(f"{path}:1: {reason}: ")
    assert (pointer if reason == "invalid_data" else pointer.removeprefix("/")) in problem
    assert count == "1 events, 1 invalid"


def test_json_lines_are_validated_one_by_one(command_line: CommandLine, tmp_path: Path) -> None:
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


def test_all_problems_of_an_event_are_reported_at_once(command_line: CommandLine) -> None:
    ended = command_line("validate", stdin=event(data={"release_id": "x", "organization_id": "", "actor": 1}))
    assert ended.code == 1
    problem = ended.out.splitlines()[0]
    for pointer in ("/data/release_id: ", "/data/organization_id: ", "/data/actor: "):
        assert pointer in problem


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_stdin_is_read_without_a_file_argument(command_line: CommandLine, arguments: list[str]) -> None:
    ended = command_line("validate", *arguments, stdin=event() + b"\n" + event(id="") + b"\n")
    assert ended.code == 1
    problem, count = ended.out.splitlines()
    assert problem.startswith("-:2: not_a_cloudevent: id: ")
    assert count == "2 events, 1 invalid"


@pytest.mark.parametrize("empty", [b"", b"\n", b" \n\t\n\n"])
def test_empty_input_is_a_problem_unless_allowed(command_line: CommandLine, tmp_path: Path, empty: bytes) -> None:
    """A generator that failed leaves an empty file; a check that passes then checks nothing."""
    (tmp_path / "empty.json").write_bytes(empty)
    ended = command_line("validate", "empty.json")
    assert (ended.code, ended.out) == (1, "0 events, 0 invalid\n")
    assert ended.problem == "no event in empty.json; use --allow-empty to accept that"
    ended = command_line("validate", "--allow-empty", "empty.json")
    assert (ended.code, ended.out, ended.err) == (0, "0 events, 0 invalid\n", "")


def test_empty_file_among_others_is_named(command_line: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_bytes(event())
    (tmp_path / "none.json").write_bytes(b"[]")
    ended = command_line("validate", "one.json", "none.json", "-")
    assert (ended.code, ended.out) == (1, "1 events, 0 invalid\n")
    assert ended.problem.startswith("no event in none.json, standard input;")


def test_json_output_is_one_object_a_line_and_a_count(command_line: CommandLine, tmp_path: Path) -> None:
    """Holds also for names in other scripts and for values with line ends."""
    hostile = event(type='dev.rudder.ü\n\u2028"nope"')
    (tmp_path / "event.json").write_bytes(event() + b"\n" + hostile)
    ended = command_line("validate", "--json", "event.json")
    assert ended.code == 1
    problem, count = map(json.loads, ended.out.splitlines())
    assert problem["location"] == "event.json:2"
    assert problem["reason"] == "not_a_cloudevent"
    assert count == {"events": 2, "invalid": 1, "warnings": 0}


def test_control_characters_of_an_event_are_escaped(command_line: CommandLine) -> None:
    ended = command_line("validate", stdin=event(data={**RELEASE_DATA, "actor": "\x1b[2J", "\x1b]0;x\x07\n": "\u2028"}))
    ended_type = command_line("validate", stdin=event(type="a\x1b[2J\u2028b"))
    for out in (ended.out, ended_type.out):
        assert "\x1b" not in out
        assert "\u2028" not in out


def test_event_size_limit_is_the_workers(command_line: CommandLine) -> None:
    command_line.environment(RUDDER_EVENT_BYTES_MAX="100")
    ended = command_line("validate", stdin=event())
    assert ended.code == 1
    assert ended.out.startswith("-:1: too_large: ")


def test_undecodable_input_is_a_problem_without_a_traceback(command_line: CommandLine) -> None:
    ended = command_line("validate", stdin=event() + b"\n\xff\xfe\n\x00\n")
    assert ended.code == 1
    assert [line.split(": ")[:2] for line in ended.out.splitlines()[:2]] == [
        ["-:2", "malformed_json"],
        ["-:3", "malformed_json"],
    ]


@pytest.mark.parametrize(("name", "why"), [("missing.json", "No such file"), (".", "directory")])
def test_unreadable_file_is_one_line(command_line: CommandLine, name: str, why: str) -> None:
    ended = command_line("validate", name)
    assert (ended.code, ended.out) == (2, "")
    assert name in ended.problem
    assert why in ended.problem


def test_validation_is_independent_of_the_environment(command_line: CommandLine) -> None:
    """Settings of database and broker are checked, not used: there is neither here."""
    command_line.environment(
        RUDDER_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1", RUDDER_DATABASE_URL="postgresql+asyncpg://x/"
    )
    assert command_line("validate", stdin=event()).code == 0


def test_broken_first_line_does_not_hide_the_others(command_line: CommandLine) -> None:
    ended = command_line("validate", stdin=b"\n".join([event()[:40], event(), event(id="")]))
    assert ended.code == 1
    *problems, count = ended.out.splitlines()
    assert [problem.split(": ")[:2] for problem in problems] == [["-:1", "malformed_json"], ["-:3", "not_a_cloudevent"]]
    assert count == "3 events, 2 invalid"


def test_stdin_cannot_be_named_twice(command_line: CommandLine) -> None:
    ended = command_line("validate", "-", "-", stdin=event())
    assert (ended.code, ended.out) == (2, "")
    assert "only once" in ended.problem


def test_misspelt_field_is_a_warning(command_line: CommandLine) -> None:
    given = event(data={**RELEASE_DATA, "coment": "x", "pipeline": "ours"})
    ended = command_line("validate", stdin=given)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "-:1: warning: /data/coment: is not a field, and is ignored; did you mean comment?",
        "1 events, 0 invalid, 1 warnings",
    ]
    ended = command_line("validate", "--json", stdin=given)
    warning, count = map(json.loads, ended.out.splitlines())
    assert (warning["location"], warning["reason"]) == ("-:1", "warning")
    assert count == {"events": 1, "invalid": 0, "warnings": 1}


def test_strict_makes_a_warning_a_problem(command_line: CommandLine) -> None:
    ended = command_line("validate", "--strict", stdin=event(data={**RELEASE_DATA, "coment": "x"}) + b"\n" + event())
    assert ended.code == 1
    assert ended.out.splitlines()[0].startswith("-:1: strict: /data/coment: ")
    assert ended.out.splitlines()[1] == "2 events, 1 invalid, 1 warnings"


def test_unknown_type_lists_the_accepted_types(command_line: CommandLine) -> None:
    ended = command_line("validate", stdin=event(type="dev.rudder.release.submited.v1"))
    assert "did you mean dev.rudder.release.submitted.v1? Accepted types: " in ended.out
    for event_type in EventType:
        assert event_type in ended.out


def test_short_type_is_accepted_with_a_warning(command_line: CommandLine) -> None:
    ended = command_line("validate", stdin=event(type="release.submitted"))
    assert ended.code == 0
    assert "other publishers must write dev.rudder.release.submitted.v1" in ended.out


def test_attribute_that_publish_refuses_is_a_warning(command_line: CommandLine) -> None:
    ended = command_line("validate", stdin=event(my_own="x"))
    assert ended.code == 0
    assert "-:1: warning: my_own: is not an attribute name" in ended.out


def test_ascii_terminal_changes_no_result(tmp_path: Path) -> None:
    """An id outside the terminal's encoding once ended the command with a traceback."""
    given = b"\n".join([event(type="dev.rudder.gr\u00fc\u00dfe"), event(), event(id="")])
    (tmp_path / "events.jsonl").write_bytes(given)
    for arguments in ([], ["--json"]):
        ended = rudder_worker(
            "validate", *arguments, "events.jsonl", folder=tmp_path, environment={"PYTHONIOENCODING": "ascii"}
        )
        assert (ended.code, ended.err) == (1, "")
        assert ended.out.isascii()
        assert len(ended.out.splitlines()) == 3
    assert [json.loads(line) for line in ended.out.splitlines()][-1]["events"] == 3


@pytest.mark.parametrize(("event_id", "code"), [("1", 0), ("", 1)])
def test_exit_code_is_right_when_stdout_is_closed(tmp_path: Path, event_id: str, code: int) -> None:
    """As with `| head -1`: the last event decides the exit code, although the reader has closed the pipe."""
    (tmp_path / "events.jsonl").write_bytes(b"\n".join([event(coment="x")] * 3 + [event(id=event_id)]))
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            command(["validate", "events.jsonl"]), stdout=writing, stderr=subprocess.PIPE, cwd=tmp_path,
            env=process_environment({}), timeout=TIMEOUT_SECONDS, check=False,
        )  # fmt: skip
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (code, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_full_device_is_one_line_and_a_failure(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(event())
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command(["validate", "events.jsonl"]), stdout=full, stderr=subprocess.PIPE, cwd=tmp_path,
            env=process_environment({}), timeout=TIMEOUT_SECONDS, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert b"standard output cannot be written" in done.stderr
    assert b"Traceback" not in done.stderr


def test_closed_stdin_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"exec {sys.executable} -m worker validate <&-"], capture_output=True, cwd=tmp_path,
        env=process_environment({}), timeout=TIMEOUT_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode in {1, 2}
    assert b"standard input" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("command", [["validate"], ["publish"], ["migrate", "--sql"]], ids=lambda command: command[0])
def test_misspelt_setting_is_a_warning_of_every_command(command_line: CommandLine, command: list[str]) -> None:
    """The command uses the default of the misspelt setting, and warns."""
    command_line.environment(RUDDER_SOURCE_FILE="sources.toml", RUDDER_DATABASE_URL="postgresql+asyncpg://x/y")
    ended = command_line(*command, stdin=b"{}")
    assert "warning: RUDDER_SOURCE_FILE is not a setting; did you mean RUDDER_SOURCES_FILE?" in ended.err
