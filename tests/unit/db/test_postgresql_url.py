"""RUDDER_DATABASE_URL for PostgreSQL and SQLite: what is understood, and what is refused before anything connects."""

import asyncio
import re
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from worker.db.database_url import masked, parse_url
from worker.db.engine import connect_arguments as arguments_of
from worker.db.engine import open_engine
from worker.db.postgresql.url import connect_arguments
from worker.rules.errors import ConfigurationError

PREFIX = "postgresql+asyncpg://"


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("u:p@h/d", {"user": "u", "password": "p", "host": ["h"], "database": "d"}),
        ("u:p%40x@h:6432/d", {"user": "u", "password": "p@x", "host": ["h"], "port": 6432, "database": "d"}),
        ("u@h/d?sslmode=require", {"ssl": "require"}),
        ("u@h/d?ssl=disable", {"ssl": "disable"}),
        ("u@h/d?statement_cache_size=0", {"statement_cache_size": 0}),
        ("u@h/d?prepared_statement_cache_size=0", {"statement_cache_size": 0}),
        ("u@h/d?timeout=3", {"timeout": 3.0}),
        ("u@h/d?connect_timeout=3", {"timeout": 3.0}),
        ("u@h/d?command_timeout=2.5", {"command_timeout": 2.5}),
        ("u@h/d?application_name=tool", {"server_settings": {"application_name": "tool"}}),
        ("u@h/d?options=-c%20search_path%3Drudder", {"server_settings": {"options": "-c search_path=rudder"}}),
        ("u@h/d?target_session_attrs=read-write", {"target_session_attrs": "read-write"}),
        ("u@a,b/d", {"host": ["a", "b"]}),
        ("u@a:1,b:2/d", {"host": ["a", "b"], "port": [1, 2]}),
        ("u@a:1,b/d", {"host": ["a", "b"], "port": [1, 5432]}),
        ("u@[::1]:1,b:2/d", {"host": ["::1", "b"], "port": [1, 2]}),
        ("u@[::1]:1/d", {"host": ["::1"], "port": 1}),
        ("u@/d?host=a&port=1", {"host": ["a"], "port": 1}),
        ("u@/d?host=a,b&port=1,2", {"host": ["a", "b"], "port": [1, 2]}),
        ("u@/d?host=a:1&host=b:2", {"host": ["a", "b"], "port": [1, 2]}),
        ("u@/d?host=a&host=b&port=1&port=2", {"host": ["a", "b"], "port": [1, 2]}),
        ("/d?user=u&password=p&host=/run/postgresql", {"user": "u", "password": "p", "host": ["/run/postgresql"]}),
        ("u@h?dbname=d", {"database": "d"}),
        ("u@h/d?connect_timeout=0&channel_binding=prefer&client_encoding=utf8", {"database": "d"}),
    ],
)
def test_url_parameter_reaches_the_driver(rest: str, expected: dict[str, Any]) -> None:
    found = connect_arguments(parse_url(PREFIX + rest))
    assert {name: found.get(name) for name in expected} == expected
    assert not {"sslmode", "connect_timeout", "dbname", "options"} & found.keys()


def test_every_url_parameter_is_a_driver_argument() -> None:
    """Every one of them, so that none ends as a TypeError; nothing listens there, and that is all that is wrong."""
    query = (
        "sslmode=disable&connect_timeout=5&command_timeout=5&statement_cache_size=0&max_cached_statement_lifetime=1"
        "&max_cacheable_statement_size=1&application_name=a&options=-c%20jit%3Doff&target_session_attrs=any"
        "&krbsrvname=p&gsslib=gssapi&sslnegotiation=postgres&ssl_min_protocol_version=TLSv1.2"
        "&ssl_max_protocol_version=TLSv1.3"
    )
    arguments = arguments_of(f"{PREFIX}u:p@127.0.0.1:1/d?{query}")
    with pytest.raises(OSError, match="Connect call failed"):
        asyncio.run(asyncpg.connect(**arguments))
    engine, _ = open_engine(f"{PREFIX}u:p@127.0.0.1:1/d?{query}", timeout_seconds=5)

    async def connect() -> None:
        with pytest.raises(OSError, match="Connect call failed"):
            await engine.connect()

    asyncio.run(connect())


@pytest.mark.parametrize(
    "rest",
    [
        "u@h/d?sslmode=s3cret",
        "u@h/d?statement_cache_size=s3cret",
        "u@h/d?statement_cache_size=-1",
        "u@h/d?timeout=s3cret",
        "u@h/d?timeout=-3",
        "u@h/d?command_timeout=nan",
        "u@h/d?connect_timeout=inf",
        "u@h/d?timeout=3&connect_timeout=3",
        "u@h/d?sslmode=require&sslmode=disable",
        "u@h/d?sslrootcert=/no/such/s3cret.pem",
        "u@h/d?passfile=/no/such/s3cret",
        "u@h/d?s3cret_unknown=1",
        "u@h/d?keepalives=1",
        "u@h/d?channel_binding=require",
        "u@h/d?server_settings=1",
        "u@h/d?prepared_statement_name_func=1",
        "u@h:1/d?port=2",
        "u@h:1/d?host=b&port=2",
        "u@h/d?host=h",
        "u@/d?host=a:1&port=2",
        "u@/d?host=a,b,c&port=1,2",
        "u@/d?host=a&port=s3cret",
        "u@/d?host=a&port=0",
        "u@a:1,b:99999/d",
        "u@h/d?dbname=e",
        "u@h/d?user=v",
        "u@h/d?target_session_attrs=master",
        f"u@{'h' * 64}.example/d",
    ],
)
def test_unusable_url_parameter_is_refused(rest: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        parse_url(PREFIX + rest)
    assert str(refused.value).startswith("RUDDER_DATABASE_URL")
    assert "\n" not in str(refused.value)
    assert "s3cret" not in str(refused.value).replace("s3cret_unknown", "")


def test_certificate_file_without_a_certificate_is_refused(tmp_path: Path) -> None:
    """asyncpg would report it as a connection that failed, and the worker would wait for it to pass."""
    empty = tmp_path / "root.crt"
    empty.write_text("no certificate")
    with pytest.raises(ConfigurationError, match="sslrootcert cannot be used"):
        parse_url(f"{PREFIX}u@h/d?sslmode=verify-full&sslrootcert={empty}")


@pytest.mark.parametrize("name", ["sslrootcert", "sslcrl", "sslcert", "sslkey"])
def test_tls_file_with_byte_order_mark_is_one_line(tmp_path: Path, name: str) -> None:
    """OpenSSL would pass over its first certificate."""
    file = tmp_path / "file.pem"
    file.write_bytes(b"\xef\xbb\xbf-----BEGIN CERTIFICATE-----")
    with pytest.raises(ConfigurationError, match=f"{name} names a file that begins with a byte order mark"):
        parse_url(f"{PREFIX}u@h/d?sslmode=verify-full&{name}={file}")


def test_url_without_a_user_needs_a_system_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may run under a user id that has no name."""

    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr("getpass.getuser", nameless)
    monkeypatch.delenv("PGUSER", raising=False)
    with pytest.raises(ConfigurationError, match="names no user"):
        parse_url(f"{PREFIX}h/d")
    parse_url(f"{PREFIX}u@h/d")


def test_url_is_shown_without_secrets() -> None:
    shown = masked(f"{PREFIX}u:s3cret@a:1,b:2/d?sslpassword=s3cret")
    assert "s3cret" not in shown
    assert re.search("a.*b", shown)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite+aiosqlite:///f.db?timeout=3",
        "sqlite+aiosqlite:///f.db?foo=bar",
        "sqlite+aiosqlite:///f.db?check_same_thread=s",
        "sqlite+aiosqlite:///f.db?mode=ro",
        "sqlite+aiosqlite:///file:f.db?uri=true&mode=rw&mode=ro",
        "sqlite+aiosqlite://host/f.db",
        "sqlite+aiosqlite://user@/f.db",
    ],
)
def test_unusable_sqlite_parameter_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^RUDDER_DATABASE_URL"):
        parse_url(url)


def test_sqlite_uri_keeps_its_parameters() -> None:
    assert parse_url("sqlite+aiosqlite:///file:f.db?uri=true&mode=rw").query == {"uri": "true", "mode": "rw"}
