"""The pairs of broker and database that end-to-end tests run on, and a system on each."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conformance.stores import migrate
from tests.end_to_end.system import RECORD_BYTES_MAX, System, create_system_topics, new_topics, partitions_of
from tests.testkit.topics import delete_topics

EMBEDDED = "embedded+sqlite"
APACHE = "apache+postgresql"
MSSQL = "apache+mssql"
"""Where RUDDER_TEST_MSSQL_URL names a server; only for the tests that ask for it."""


@pytest.fixture(params=[EMBEDDED, APACHE])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Where the broker is, and the URL of an empty database. On one pair only:
    `@pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)`.
    """
    if request.param == EMBEDDED:
        embedded = request.getfixturevalue("embedded_broker")
        return embedded.bootstrap_servers, f"sqlite+aiosqlite:///{tmp_path / 'rudder.sqlite3'}"
    apache = request.getfixturevalue("apache_kafka")
    apache.ensure_running()
    return apache.bootstrap_servers, request.getfixturevalue("mssql_url" if request.param == MSSQL else "postgres_url")


@pytest.fixture
async def bare_system(pair: tuple[str, str], tmp_path: Path) -> AsyncIterator[System]:
    """Topics, and a database without the worker's tables."""
    bootstrap_servers, database_url = pair
    topics = new_topics()
    await create_system_topics(bootstrap_servers, topics, {"max.message.bytes": str(RECORD_BYTES_MAX)})
    yield System(bootstrap_servers=bootstrap_servers, database_url=database_url, folder=tmp_path, topics=topics)
    await asyncio.to_thread(delete_topics, bootstrap_servers, list(partitions_of(topics)))


@pytest.fixture
async def system(bare_system: System) -> System:
    await migrate(bare_system.database_url)
    return bare_system
