"""One log event is one line, whatever its values: log shippers and people read logs line by line."""

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from tests.unit.cli.command_line import TIMEOUT_SECONDS, process_environment, run_module

MODULE = "tests.unit.service.log_program"


STYLE = re.compile(r"\x1b\[(?!8m)[0-9;]*m")
"""The console's own colours."""


def lines_of(
    statement: str, log_format: str, folder: Path, variables: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    """The lines that the statement logs, split at every kind of line end; standard output must be empty."""
    done = run_module(MODULE, log_format, statement, folder=folder, environment=variables)
    assert done.code == 0, done.err
    assert done.out == ""
    return done.err.splitlines()


HOSTILE_STATEMENTS = [
    "log.info('message.completed', value=HOSTILE)",
    "log.info('message.completed', values=[HOSTILE], named={HOSTILE: 1})",
    "log.info('message.completed', value=HOSTILE.encode('utf-8', 'replace'))",
    "log.info('message.completed', cause=ValueError(HOSTILE))",
    "logging.getLogger('library').warning('it said %s', HOSTILE)",
    "logging.getLogger('library').warning(HOSTILE)",
    "log.info(HOSTILE)",
    "structlog.contextvars.bind_contextvars(process=HOSTILE); log.info('message.completed')",
    "log.info('message.completed', detail=HOSTILE * 100, headers=((HOSTILE, HOSTILE.encode('utf-8', 'replace')),))",
]


@pytest.mark.parametrize("statement", HOSTILE_STATEMENTS)
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_log_event_is_one_line_for_any_values(tmp_path: Path, statement: str, log_format: str) -> None:
    """Line ends of every script and escape sequences are escaped, also in a library's message."""
    lines = lines_of(statement, log_format, tmp_path)
    assert len(lines) == 1, lines
    assert STYLE.sub("", lines[0]).isprintable(), lines
    if log_format == "json":
        assert lines[0].isascii()
        assert json.loads(lines[0])["level"] in {"info", "warning"}


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_library_loggers_pass_warnings_only(tmp_path: Path, log_format: str) -> None:
    statement = "for name in ('aiokafka.conn', 'uvicorn.error', 'alembic'): \n"
    statement += " logging.getLogger(name).info('quiet'); logging.getLogger(name).warning('heard')"
    lines = lines_of(statement, log_format, tmp_path)
    assert len(lines) == 3
    assert all("heard" in line for line in lines)


def test_json_line_has_event_level_logger_time_and_values(tmp_path: Path) -> None:
    (line,) = lines_of("log.warning('message.completed', text='ü\\n', count=1, nothing=None)", "json", tmp_path)
    content = json.loads(line)
    assert content.pop("timestamp").endswith("Z")
    assert content == {
        "event": "message.completed",
        "level": "warning",
        "logger": "worker.test",
        "text": "ü\n",
        "count": 1,
    }


def test_library_line_has_the_same_fields(tmp_path: Path) -> None:
    (line,) = lines_of("logging.getLogger('library').error('it said %s', 'this')", "json", tmp_path)
    content = json.loads(line)
    assert content.pop("timestamp").endswith("Z")
    assert content == {"event": "it said this", "level": "error", "logger": "library"}


@pytest.mark.parametrize("level", ["exception", "error"])
def test_traceback_stays_within_its_json_line(tmp_path: Path, level: str) -> None:
    statement = f"try: raise ValueError(HOSTILE)\nexcept ValueError: log.{level}('failed', exc_info=True)"
    lines = lines_of(statement, "json", tmp_path)
    assert len(lines) == 1, lines
    assert "Traceback" in json.loads(lines[0])["exception"]


def test_traceback_lines_are_marked_on_the_console(tmp_path: Path) -> None:
    """The traceback has several lines; the error's message cannot end it and begin a line of the log."""
    statement = "try: raise ValueError(HOSTILE)\nexcept ValueError: log.exception('failed')"
    first, *others = lines_of(statement, "console", tmp_path)
    assert "failed" in first
    assert any("Traceback" in line for line in others)
    assert any("forged" in line for line in others)
    for line in others:
        assert line.startswith("  | ")
        assert line.isprintable()


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_error_quoting_an_event_is_cut_in_the_log(tmp_path: Path, log_format: str) -> None:
    """The place of the error and the end of its message are kept."""
    statement = "try: raise ValueError('first' + 'x' * 1_000_000 + 'last')\nexcept ValueError: log.exception('failed')"
    text = "\n".join(lines_of(statement, log_format, tmp_path))
    assert len(text) < 30_000
    assert all(word in text for word in ("Traceback", "first", "last"))


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_traceback_shows_no_variables(tmp_path: Path, log_format: str) -> None:
    """A local variable may hold a password: the frame of a failed connection has one."""
    statement = (
        "def connect(password):\n raise OSError('refused')\n"
        "try: connect(''.join(['ge', 'heim']))\nexcept OSError: log.exception('failed')"
    )
    text = "\n".join(lines_of(statement, log_format, tmp_path))
    assert "refused" in text
    assert "geheim" not in text


@pytest.mark.parametrize(("level", "logged"), [("debug", 1), ("info", 1), ("warning", 0), ("error", 0)])
def test_level_applies_to_the_workers_own_lines(tmp_path: Path, level: str, logged: int) -> None:
    statement = f"log_setup.configure(level={level!r}, log_format='json')\nlog.info('message.completed')"
    assert len(lines_of(statement, "json", tmp_path)) == logged


def test_json_is_the_default_without_a_terminal(tmp_path: Path) -> None:
    (line,) = lines_of(
        "log_setup.configure(level='info', log_format=None)\nlog.info('message.completed')", "console", tmp_path
    )
    assert json.loads(line)["event"] == "message.completed"


AN_OUTAGE = """
client = logging.getLogger("aiokafka.conn")
def chatter():
    for number in range(1000):
        client.error("Unable to connect to node %s", number)
        client.warning("No metadata")
chatter()
log.warning("dependency.unavailable", dependency="DEPENDENCY", cause="down")
for _ in range(10):
    chatter()
    log_setup._SILENCE_SECONDS = 0.0
log.warning("dependency.available", dependency="DEPENDENCY")
chatter()
"""


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_client_lines_of_an_outage_are_logged_once_and_counted(tmp_path: Path, log_format: str) -> None:
    """22,000 client lines of an outage become four; after the outage the client's lines are logged again."""
    statement = AN_OUTAGE.replace("DEPENDENCY", "broker").replace(
        'log.warning("dependency.available"', 'log_setup._SILENCE_SECONDS = 60.0\nlog.warning("dependency.available"'
    )
    lines = lines_of(statement, log_format, tmp_path)
    kinds = ("Unable to connect to node 0", "No metadata", "dependency.unavailable", "dependency.available")
    assert len(lines) == 6
    for line, kind in zip(lines, (*kinds, *kinds[:2]), strict=True):
        assert kind in line
    assert "20000" in STYLE.sub("", lines[3])


def test_database_outage_does_not_silence_the_kafka_client(tmp_path: Path) -> None:
    lines = lines_of(AN_OUTAGE.replace("DEPENDENCY", "database"), "json", tmp_path)
    assert len(lines) > 10_000
    assert "lines_left_out" not in json.loads(next(line for line in lines if "dependency.available" in line))


def test_repeated_client_line_passes_once_a_minute(tmp_path: Path) -> None:
    statement = "client = logging.getLogger('aiokafka.conn')\nfor number in range(99): client.error('lost %s', number)"
    assert len(lines_of(statement, "json", tmp_path)) == 1


LEFT_BEHIND = """
import asyncio, gc
async def leave(error):
    asyncio.get_running_loop().create_future().set_exception(error)
    gc.collect()
for error in (ConnectionResetError(104, "reset by peer"), ValueError("a fault")):
    asyncio.run(leave(error))
"""


def test_idle_connection_error_is_dropped_and_others_are_logged(tmp_path: Path) -> None:
    [line] = lines_of(LEFT_BEHIND, "json", tmp_path)
    told = json.loads(line)
    assert (told["logger"], told["level"]) == ("asyncio", "error")
    assert "ValueError: a fault" in told["exception"]


COLOURS = [
    ({}, False),
    ({"NO_COLOR": "1"}, False),
    ({"TERM": "dumb"}, False),
    ({"FORCE_COLOR": "1"}, True),
    ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
]


@pytest.mark.parametrize(("variables", "coloured"), COLOURS, ids=str)
def test_redirected_console_logs_have_no_escape_codes(
    tmp_path: Path, variables: dict[str, str], coloured: bool
) -> None:
    text = "\n".join(lines_of("log.warning('message.completed', outcome='rejected')", "console", tmp_path, variables))
    assert ("\x1b" in text) == coloured


TERMINALS = [({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False), ({"TERM": "xterm"}, True)]


@pytest.mark.parametrize(("variables", "coloured"), TERMINALS, ids=str)
def test_terminal_logs_have_colours_where_wanted(tmp_path: Path, variables: dict[str, str], coloured: bool) -> None:
    text = at_terminal(["-m", MODULE, "console", "log.warning('x')"], variables)
    assert (b"\x1b" in text) == coloured


@pytest.mark.parametrize("arguments", [["run", "--help"], ["--nope"]])
@pytest.mark.parametrize(
    "variables", [{"TERM": "xterm-256color"}, {"FORCE_COLOR": "1", "GITHUB_ACTIONS": "true"}], ids=str
)
def test_help_and_usage_errors_have_no_escape_codes(arguments: list[str], variables: dict[str, str]) -> None:
    """Holds for a terminal as for a pipe."""
    text = at_terminal(["-m", "worker", *arguments], variables)
    assert b"Usage: rudder-worker" in text
    assert b"\x1b" not in text


def at_terminal(arguments: list[str], variables: dict[str, str]) -> bytes:
    """The output of Python with these arguments on a terminal."""
    own, its = os.openpty()
    try:
        environment = process_environment({"TERM": "xterm", **variables})
        with subprocess.Popen(
            [sys.executable, *arguments], stdin=its, stdout=its, stderr=its, env=environment
        ) as process:
            os.close(its)
            text = b""
            with contextlib.suppress(OSError):  # Linux raises EIO once no process has the terminal open
                while read := os.read(own, 65_536):
                    text += read
            process.wait(TIMEOUT_SECONDS)
    finally:
        os.close(own)
    return text


def test_console_line_of_a_rejection_begins_with_its_reason(tmp_path: Path) -> None:
    statement = "log.warning('message.completed', outcome='rejected', reason='invalid_data', attempts=1, detail='x')"
    (line,) = lines_of(statement, "console", tmp_path)
    assert re.search(
        r"message\.completed +\[worker\.test\] outcome='rejected' reason='invalid_data' attempts=1", line
    ), line


@pytest.mark.parametrize(
    ("statement", "level", "words"),
    [
        ("import warnings; warnings.warn('old way')", "warning", "old way"),
        ("import threading; t = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()", "critical", "division"),
        ("class C:\n def __del__(self): 1 / 0\nC()", "error", "division"),
        ("1 / 0", "critical", "division"),
    ],
    ids=["warning", "thread", "ignored", "uncaught"],
)
def test_faults_and_warnings_are_json_lines(tmp_path: Path, statement: str, level: str, words: str) -> None:
    """Each is one JSON line, since the stream must contain JSON lines only."""
    (line,) = run_module(MODULE, "json", statement, folder=tmp_path).err.splitlines()
    content = json.loads(line)
    assert content["level"] == level
    assert words in content["event"] + content.get("exception", "")


def test_kafka_client_error_without_a_traceback_is_a_warning(tmp_path: Path) -> None:
    """The client retries by itself; a fault of the client, with a traceback, stays an error."""
    statement = "k = logging.getLogger('aiokafka.conn'); k.error('Unable connect to %s', 'x')\n"
    statement += "try: raise ValueError\nexcept ValueError: k.exception('Unexpected error in fetcher')"
    levels = [json.loads(line)["level"] for line in lines_of(statement, "json", tmp_path)]
    assert levels == ["warning", "error"]
