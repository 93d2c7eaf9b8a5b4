"""The databases that every conformance test runs on, each time an empty one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.conformance.stores import migrate, opened
from tests.testkit.counting_proxy import CountingProxy
from worker.db.store import SqlStore


@pytest.fixture(params=["sqlite", "postgresql", "mssql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database; SQL Server only where RUDDER_TEST_MSSQL_URL names a server."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'rudder.db'}"
    url: str = request.getfixturevalue("postgres_url" if request.param == "postgresql" else "mssql_url")
    return url


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[CountingProxy]:
    """Before the test's database, where that is a server."""
    port = make_url(database_url).port
    assert port
    async with CountingProxy.running(port) as proxy:
        yield proxy


@pytest.fixture
async def store_behind_proxy(database_url: str, proxy: CountingProxy) -> AsyncIterator[SqlStore]:
    """A store over the test's database, migrated, with the proxy between them."""
    await migrate(database_url)
    through = make_url(database_url).set(port=proxy.port).render_as_string(hide_password=False)
    async with opened(through) as store:
        yield store
