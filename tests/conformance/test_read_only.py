"""A PostgreSQL server that became a replica: it answers queries and refuses writes."""

import pytest
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from tests.conformance.deadlines import until
from tests.testkit.counting_proxy import CountingProxy
from worker.db.store import SqlStore
from worker.rules.errors import Unavailable

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def store(store_behind_proxy: SqlStore) -> SqlStore:
    return store_behind_proxy


async def test_read_only_server_is_unavailable(store: SqlStore, proxy: CountingProxy, database_url: str) -> None:
    """A replica answers queries, so the ping also checks that the server accepts writes."""
    await store.ping()
    name = make_url(database_url).database
    engine = create_async_engine(database_url, poolclass=NullPool)

    async def make_read_only(word: str) -> None:
        async with engine.connect() as connection:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.exec_driver_sql("SET default_transaction_read_only = off")
            await connection.exec_driver_sql(f'ALTER DATABASE "{name}" SET default_transaction_read_only = {word}')

    try:
        await make_read_only("on")
        proxy.cut()  # as a server does that becomes a replica
        for _ in range(3):
            with pytest.raises(Unavailable):
                await store.ping()
        await make_read_only("off")
        await until(lambda: answers(store), what="it takes writes again")
    finally:
        await engine.dispose()


async def answers(store: SqlStore) -> bool:
    try:
        await store.ping()
    except Unavailable:
        return False
    return True
