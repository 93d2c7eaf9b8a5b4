"""RUDDER_SOURCES_FILE on the command line: refused in one line by whatever would use it, and used by what judges."""

import json
from pathlib import Path

import pytest

from tests.unit.cli.command_line import CommandLine, rudder_worker
from tests.unit.schemas.records import ENVELOPE, RELEASE_DATA

BROKEN = "[organizations]\nacme = ['/ci/*/main']\n"
LISTED = "[organizations]\nacme = ['https://ci.example.com/*']\n'*' = ['https://ci.example.com']\n"


def named(folder: Path, text: str) -> str:
    path = folder / "sources.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    "arguments",
    [
        ["check-config"],
        ["run"],
        ["run", "--processes", "2"],
        ["validate"],
        ["publish", "--type", "release.submitted", "--data", "{}"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
@pytest.mark.parametrize(("text", "words"), [(BROKEN, "last character"), (None, "No such file")])
def test_unusable_sources_file_is_one_line(tmp_path: Path, arguments: list[str], text: str | None, words: str) -> None:
    """Before a broker or a database is asked, and with the exit code of every other misconfiguration."""
    path = named(tmp_path, text) if text else str(tmp_path / "sources.toml")
    settings = {
        "RUDDER_SOURCES_FILE": path,
        "RUDDER_DATABASE_URL": "postgresql+asyncpg://nobody@127.0.0.1:1/none",
        "RUDDER_HTTP_PORT": "0",
    }
    ended = rudder_worker(*arguments, folder=tmp_path, environment=settings)
    assert (ended.code, ended.out) == (2, "")
    assert ended.problem.startswith("RUDDER_SOURCES_FILE=")
    assert words in ended.problem


def test_check_config_prints_the_sources_file(command_line: CommandLine, tmp_path: Path) -> None:
    path = named(tmp_path, LISTED)
    command_line.environment(RUDDER_SOURCES_FILE=path)
    ended = command_line("check-config")
    assert (ended.code, ended.err) == (0, "")
    assert f"RUDDER_SOURCES_FILE={path}" in ended.out.splitlines()


def test_validate_applies_the_sources_file(command_line: CommandLine, tmp_path: Path) -> None:
    """An organization with sources of its own has no others."""
    command_line.environment(RUDDER_SOURCES_FILE=named(tmp_path, LISTED))
    events = [
        {**ENVELOPE, "data": dict(RELEASE_DATA)},
        {**ENVELOPE, "source": "https://ci.example.com/main", "data": dict(RELEASE_DATA)},
        {**ENVELOPE, "data": {**RELEASE_DATA, "organization_id": "other"}},
    ]
    ended = command_line("validate", stdin=b"\n".join(json.dumps(event).encode() for event in events))
    assert ended.code == 1
    assert ended.out.splitlines() == [
        "-:1: source_not_allowed: https://ci.example.com is not an allowed source of organization acme",
        "3 events, 1 invalid",
    ]


def test_publish_refuses_a_source_that_is_not_allowed(tmp_path: Path) -> None:
    """Its own default source included; no broker is asked."""
    ended = rudder_worker(
        "publish",
        "--type",
        "release.submitted",
        "--data",
        json.dumps(dict(RELEASE_DATA)),
        folder=tmp_path,
        environment={"RUDDER_SOURCES_FILE": named(tmp_path, LISTED), "RUDDER_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"},
    )
    assert (ended.code, ended.out) == (1, "")
    assert "source_not_allowed: /rudder-worker/publish is not an allowed source of organization acme" in ended.problem
