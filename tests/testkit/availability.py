"""A test whose server is not available skips with the reason, or fails where the server is required."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, Protocol, TypeVar

import pytest

REQUIRE_VARIABLE = "RUDDER_TEST_REQUIRE"
SERVERS = frozenset(
    {
        "postgresql",
        "pgbouncer",
        "embedded",
        "apache",
        "mssql",
        "odbc",
        "go",
        "node",
        "maven",
        "shellcheck",
        "rsync",
        "busybox",
    }
)


class Startable(Protocol):
    def start(self) -> None: ...

    def close(self) -> None: ...


S = TypeVar("S", bound=Startable)


@contextmanager
def started(name: str, make: Callable[[], S], *, missing: type[Exception]) -> Iterator[S]:
    """A started server. It is not available where `make` raises `missing`."""
    try:
        server = make()
    except missing as error:
        unavailable(name, str(error))
    try:
        server.start()
        yield server
    finally:
        server.close()


def unavailable(name: str, reason: str) -> NoReturn:
    """End the running test: skip it, or fail it if RUDDER_TEST_REQUIRE (comma-separated) names the server."""
    required = {part.strip() for part in os.environ.get(REQUIRE_VARIABLE, "").split(",")} - {""}
    if unknown := (required | {name}) - SERVERS:
        pytest.fail(f"{REQUIRE_VARIABLE} accepts {sorted(SERVERS)}, not {sorted(unknown)}", pytrace=False)
    if name in required:
        pytest.fail(f"{name} is required by {REQUIRE_VARIABLE} and is not available: {reason}", pytrace=False)
    pytest.skip(f"{name} is not available: {reason}")
