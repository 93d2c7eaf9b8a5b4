"""The databases that every conformance test runs on, each time an empty one."""

from pathlib import Path

import pytest


@pytest.fixture(params=["sqlite", "postgresql", "mssql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database; SQL Server only where RUDDER_TEST_MSSQL_URL names a server."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'rudder.db'}"
    url: str = request.getfixturevalue("postgres_url" if request.param == "postgresql" else "mssql_url")
    return url
