"""`check-config` shows what holds, hides what is secret, and refuses what contradicts itself."""

import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.testkit.odbc import require_pyodbc
from tests.unit.cli.command_line import CommandLine
from worker.settings import Settings

SECRET = "s3cr&t;p@ss/w#rd%=?"

NAMES = ["RUDDER_" + name.upper() for name in Settings.model_fields]


def printed_json(text: str) -> dict[str, Any]:
    """Strictly: a standard parser must be able to read it."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    values: dict[str, Any] = json.loads(text, parse_constant=refuse)
    return values


def test_every_setting_is_printed_as_an_environment_line(command_line: CommandLine) -> None:
    command_line.environment(RUDDER_INPUT_TOPICS="first, second", RUDDER_HTTP_PORT="0")
    ended = command_line("check-config")
    assert (ended.code, ended.err) == (0, "")
    lines = dict(line.split("=", 1) for line in ended.out.splitlines())
    assert list(lines) == NAMES
    assert lines["RUDDER_INPUT_TOPICS"] == "first,second"
    assert lines["RUDDER_HTTP_PORT"] == "0"
    assert lines["RUDDER_DATABASE_URL"] == "sqlite+aiosqlite:///rudder.sqlite3"
    assert lines["RUDDER_KAFKA_SASL_USERNAME"] == ""


def test_printed_settings_can_be_read_again(command_line: CommandLine, tmp_path: Path) -> None:
    """Lines with a value, put into a `.env` file, mean the same."""
    command_line.environment(RUDDER_INPUT_TOPICS="first,second", RUDDER_STARTUP_TIMEOUT_SECONDS="inf")
    printed = command_line("check-config").out
    kept = [line for line in printed.splitlines() if not line.endswith("=")]
    (tmp_path / ".env").write_text("\n".join(kept))
    command_line.environment(RUDDER_INPUT_TOPICS="first,second", RUDDER_STARTUP_TIMEOUT_SECONDS="inf")
    assert command_line("check-config").out == printed


def test_json_has_every_setting_with_its_type(command_line: CommandLine) -> None:
    ended = command_line("check-config", "--json")
    assert (ended.code, ended.err) == (0, "")
    values = printed_json(ended.out)
    assert list(values) == NAMES
    assert values["RUDDER_HTTP_PORT"] == 8080
    assert values["RUDDER_DRAIN_TIMEOUT_SECONDS"] == 25.0
    assert values["RUDDER_KAFKA_SASL_PASSWORD"] is None


def test_json_writes_infinity_as_text(command_line: CommandLine) -> None:
    """`inf` is documented for the startup timeout, and JSON has no word for it but a text."""
    command_line.environment(RUDDER_STARTUP_TIMEOUT_SECONDS="inf")
    assert "RUDDER_STARTUP_TIMEOUT_SECONDS" in printed_json(command_line("check-config", "--json").out)


@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RUDDER_DATABASE_URL", f"postgresql+asyncpg://rudder:{quote(SECRET, safe='')}@db:5432/rudder"),
        ("RUDDER_DATABASE_URL", f"postgresql+asyncpg://rudder@db/rudder?password={quote(SECRET, safe='')}"),
        (
            "RUDDER_DATABASE_URL",
            f"mssql+aioodbc:///?odbc_connect={quote(f'Driver=x;Uid=u;Pwd={{{SECRET}}}', safe='')}",
        ),
        ("RUDDER_KAFKA_SASL_PASSWORD", SECRET),
        ("RUDDER_KAFKA_SSL_KEYFILE_PASSWORD", SECRET),
    ],
)
def test_secrets_are_never_printed(
    command_line: CommandLine, tmp_path: Path, options: list[str], name: str, value: str
) -> None:
    """Neither from the environment nor from the file that it names."""
    if value.startswith("mssql"):
        require_pyodbc()
    command_line.environment(
        RUDDER_KAFKA_SECURITY_PROTOCOL="SASL_SSL", RUDDER_KAFKA_SASL_USERNAME="u", RUDDER_KAFKA_SASL_PASSWORD="other"
    )
    command_line.environment(RUDDER_KAFKA_SSL_CERTFILE="cert.pem", RUDDER_KAFKA_SSL_KEYFILE="key.pem", **{name: value})
    ended = command_line("check-config", *options)
    assert ended.code == 0
    assert name in ended.out
    for spelling in (SECRET, quote(SECRET), quote(SECRET, safe=""), json.dumps(SECRET)[1:-1]):
        assert spelling not in ended.out + ended.err
    assert "other" not in ended.out


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_missing_driver_shows_no_secret(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    """As where the driver manager's library is not installed."""
    monkeypatch.setitem(sys.modules, "pyodbc", None)
    connection = quote(f"Driver=x;Uid=u;Pwd={{{SECRET}}}", safe="")
    command_line.environment(RUDDER_DATABASE_URL=f"mssql+aioodbc:///?odbc_connect={connection}")
    ended = command_line("check-config", *options)
    assert (ended.code, ended.out) == (2, "")
    assert "libodbc2" in ended.problem
    for spelling in (SECRET, quote(SECRET), quote(SECRET, safe=""), json.dumps(SECRET)[1:-1]):
        assert spelling not in ended.err


@pytest.mark.parametrize("tail", ["p@ss/t0psecret", "p@ss#t0psecret", "p@ss?t0psecret", "p@:t0psecret/"])
def test_unescaped_password_in_a_url_is_not_printed(command_line: CommandLine, tail: str) -> None:
    """The commonest mistake in a database URL, made by the person who then asks why nothing works."""
    command_line.environment(RUDDER_DATABASE_URL=f"postgresql+asyncpg://rudder:{tail}@db/rudder")
    ended = command_line("check-config")
    assert "t0psecret" not in ended.out + ended.err


def test_unknown_name_is_a_warning_with_the_nearest_one(command_line: CommandLine) -> None:
    """A typing error would else stay silent; it is no reason to refuse."""
    command_line.environment(RUDDER_HTP_PORT="1")
    ended = command_line("check-config", "--json")
    assert ended.code == 0
    assert ended.problem == "warning: RUDDER_HTP_PORT is not a setting; did you mean RUDDER_HTTP_PORT?"
    printed_json(ended.out)


def test_unknown_name_in_the_env_file_is_a_warning(command_line: CommandLine, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("RUDDER_HTP_PORT=1\nOTHER=2\n")
    ended = command_line("check-config")
    assert ended.code == 0
    assert ended.problem == "warning: RUDDER_HTP_PORT is not a setting; did you mean RUDDER_HTTP_PORT?"


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"RUDDER_HTTP_PORT": "-1"}, "RUDDER_HTTP_PORT"),
        ({"RUDDER_CONTENT_MODE": "batch"}, "RUDDER_CONTENT_MODE"),
        ({"RUDDER_DATABASE_URL": "mysql://u:geheim@h/d"}, "RUDDER_DATABASE_URL"),
        ({"RUDDER_DATABASE_URL": "geheim"}, "RUDDER_DATABASE_URL"),
        ({"RUDDER_DATABASE_URL": ""}, "RUDDER_DATABASE_URL"),
        ({"RUDDER_DATABASE_URL_FILE": "missing"}, "RUDDER_DATABASE_URL_FILE"),
        ({"RUDDER_KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "RUDDER_KAFKA_SASL_USERNAME"),
    ],
)
def test_wrong_settings_are_one_line_and_exit_code_2(
    command_line: CommandLine, variables: dict[str, str], named: str
) -> None:
    command_line.environment(**variables)
    ended = command_line("check-config", "--json")
    assert (ended.code, ended.out) == (2, "")
    assert named in ended.problem
    assert "geheim" not in ended.err


def test_env_file_that_is_not_text_is_one_line(command_line: CommandLine, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfeRUDDER")
    ended = command_line("check-config")
    assert ended.code == 2
    assert ".env" in ended.problem


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://u:s3cret@h/d?sslmode=s3cret",
        "postgresql+asyncpg://u:s3cret@h:1/d?port=2",
        "postgresql+asyncpg://u:s3cret@h/d?keepalives=1",
        "sqlite+aiosqlite:///f.db?foo=s3cret",
    ],
)
def test_unsupported_database_url_is_one_line(command_line: CommandLine, url: str) -> None:
    """Before anything connects."""
    command_line.environment(RUDDER_DATABASE_URL=url)
    ended = command_line("check-config")
    assert ended.code == 2
    assert "RUDDER_DATABASE_URL" in ended.problem
    assert "s3cret" not in ended.err


@pytest.mark.parametrize(
    ("module", "setting", "value", "extra"),
    [
        ("worker.service.tracing", "RUDDER_TRACING", "otlp", "otel"),
        ("aioodbc", "RUDDER_DATABASE_URL", "mssql+aioodbc://u:p@127.0.0.1:1/db?driver=x", "mssql"),
    ],
)
def test_missing_extra_is_one_line(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch, module: str, setting: str, value: str, extra: str
) -> None:
    """As `run` refuses it."""
    monkeypatch.setitem(sys.modules, module, None)  # what `import` then raises is what it raises of a missing package
    command_line.environment(**{setting: value})
    for command in ("check-config", "run"):
        ended = command_line(command)
        assert ended.code == 2
        assert f"pip install 'rudder-worker[{extra}]'" in ended.problem
