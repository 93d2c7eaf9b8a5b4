"""A test whose server cannot be had: it skips and says why, or fails where the server was promised."""

import os
from typing import NoReturn

import pytest

REQUIRE_VARIABLE = "RUDDER_TEST_REQUIRE"
SERVERS = frozenset({"postgresql", "embedded", "apache", "mssql"})


def unavailable(name: str, reason: str) -> NoReturn:
    """Ends the running test: skipped, or failed if RUDDER_TEST_REQUIRE (comma-separated) names the server."""
    required = {part.strip() for part in os.environ.get(REQUIRE_VARIABLE, "").split(",")} - {""}
    if unknown := (required | {name}) - SERVERS:
        pytest.fail(f"{REQUIRE_VARIABLE} knows {sorted(SERVERS)}, not {sorted(unknown)}", pytrace=False)
    if name in required:
        pytest.fail(f"{name} is required by {REQUIRE_VARIABLE} and cannot be had: {reason}", pytrace=False)
    pytest.skip(f"{name} cannot be had: {reason}")
