"""A test whose server cannot be had: it skips and says why, or fails where the server was promised."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NoReturn, Protocol, TypeVar

import pytest

REQUIRE_VARIABLE = "RUDDER_TEST_REQUIRE"
SERVERS = frozenset({"postgresql", "pgbouncer", "embedded", "apache", "mssql", "odbc"})


class Startable(Protocol):
    def start(self) -> None: ...

    def close(self) -> None: ...


S = TypeVar("S", bound=Startable)


@contextmanager
def started(name: str, make: Callable[[], S], *, missing: type[Exception]) -> Iterator[S]:
    """A server, started; where making it raises `missing`, it cannot be had."""
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
    """Ends the running test: skipped, or failed if RUDDER_TEST_REQUIRE (comma-separated) names the server."""
    required = {part.strip() for part in os.environ.get(REQUIRE_VARIABLE, "").split(",")} - {""}
    if unknown := (required | {name}) - SERVERS:
        pytest.fail(f"{REQUIRE_VARIABLE} knows {sorted(SERVERS)}, not {sorted(unknown)}", pytrace=False)
    if name in required:
        pytest.fail(f"{name} is required by {REQUIRE_VARIABLE} and cannot be had: {reason}", pytrace=False)
    pytest.skip(f"{name} cannot be had: {reason}")
