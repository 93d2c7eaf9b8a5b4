"""Fewer connections than the worker wants: it works on those that it gets. One that comes too late is closed."""

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest
import structlog
from sqlalchemy import make_url

from tests.conformance.catalog import run
from tests.conformance.release_messages import ReleaseMessages
from tests.conformance.stores import migrate, opened
from tests.conformance.table_contents import rows
from tests.testkit.postgres import PostgresServer
from worker.db.postgresql.connections import PostgresqlConnections
from worker.pipeline.transaction import process
from worker.rules.errors import Unavailable
from worker.telemetry import LogEvent

EVENTS = 60


@pytest.fixture(params=["role", "database"])
def limited_url(request: pytest.FixtureRequest, postgres_server: PostgresServer, postgres_url: str) -> Iterator[str]:
    """Of a role that owns everything in the database and may have three connections, or in a database of three."""
    asyncio.run(migrate(postgres_url))
    name = f"limited_{make_url(postgres_url).database}"
    postgres_server.execute(f"create role {name} login")
    run(postgres_url, f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}")
    limited = f"role {name}" if request.param == "role" else f'database "{make_url(postgres_url).database}"'
    postgres_server.execute(f"alter {limited} connection limit 3")
    yield make_url(postgres_url).set(username=name).render_as_string(hide_password=False)
    postgres_server.execute(f"drop owned by {name}", database=str(make_url(postgres_url).database))
    postgres_server.execute(f"drop role {name}")


async def test_connection_limit_costs_no_event_and_is_logged_once(limited_url: str, postgres_url: str) -> None:
    with structlog.testing.capture_logs() as logs:
        async with opened(limited_url) as store:
            pipelines = [ReleaseMessages() for _ in range(EVENTS)]
            await asyncio.gather(*(process(one.created(), store) for one in pipelines))
    assert len(await rows(postgres_url, "releases")) == EVENTS
    [line] = [line for line in logs if line["event"] == LogEvent.CONNECTIONS_LIMITED]
    assert "too many connections for" in line["cause"]


async def test_connection_limit_of_zero_is_an_outage(postgres_server: PostgresServer, limited_url: str) -> None:
    """And an end of it is noticed."""
    url = make_url(limited_url).set(drivername="postgresql").render_as_string(hide_password=False)
    others = [await asyncpg.connect(url) for _ in range(3)]
    async with opened(limited_url, check=False) as store:
        created = [ReleaseMessages().created() for _ in range(6)]
        outcomes = await asyncio.gather(*(process(one, store) for one in created), return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {Unavailable}
        for other in others:
            await other.close()
        await asyncio.to_thread(postgres_server.connections_gone, str(make_url(limited_url).database))
        await process(created[0], store)


async def test_connection_that_is_ready_after_close_is_closed(postgres_url: str) -> None:
    """A worker that stops while it connects leaves nothing behind."""
    url = make_url(postgres_url).set(drivername="postgresql").render_as_string(hide_password=False)
    made: list[asyncpg.Connection] = []
    closing = asyncio.Event()

    async def connect() -> asyncpg.Connection:
        made.append(await asyncpg.connect(url))
        await closing.wait()
        return made[-1]

    connections = PostgresqlConnections(connect, connections_max=2, timeout_seconds=5.0, answer_timeout_seconds=5.0)

    async def ask() -> None:
        async with connections.begin():
            pass

    asking = asyncio.create_task(ask())
    await asyncio.sleep(0)
    await connections.close()
    closing.set()
    await asking
    assert [connection.is_closed() for connection in made] == [True]


@pytest.mark.parametrize("fault", [TypeError("an argument"), ValueError("a value"), UnicodeError("a name")])
async def test_python_error_while_connecting_blames_no_setting_or_event(fault: Exception) -> None:
    """The URL was parsed before, and the event has not been looked at."""

    async def connect() -> asyncpg.Connection:
        raise fault

    connections = PostgresqlConnections(connect, connections_max=1, timeout_seconds=5.0, answer_timeout_seconds=5.0)
    for _ in range(2):
        with pytest.raises(Unavailable, match="connecting failed"):
            async with connections.begin():
                pass
