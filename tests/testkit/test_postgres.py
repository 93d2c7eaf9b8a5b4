"""The tests' PostgreSQL: databases are made, cloned and dropped at will, and a crash is one."""

import asyncio

import asyncpg
import pytest

from tests.testkit.postgres import PostgresServer


async def test_database_is_created_empty_and_dropped(postgres_server: PostgresServer) -> None:
    url = postgres_server.create_database("servers_one").replace("+asyncpg", "")
    connection = await asyncpg.connect(url)
    tables = "select count(*) from pg_tables where schemaname = 'public'"
    assert await connection.fetchval(tables) == 0
    await connection.close()
    postgres_server.drop_database("servers_one")
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(url)


async def test_database_can_be_cloned_from_a_template(postgres_server: PostgresServer) -> None:
    """What makes a migrated database per test cheap."""
    postgres_server.create_database("servers_template")
    postgres_server.execute("create table kept as select 7 as value", database="servers_template")
    postgres_server.create_database("servers_clone", template="servers_template")
    assert postgres_server.execute("select value from kept", database="servers_clone") == "7"
    postgres_server.drop_database("servers_clone")
    postgres_server.drop_database("servers_template")


async def test_kill_breaks_connections_and_keeps_commits(postgres_server: PostgresServer, postgres_url: str) -> None:
    """A crash to the client; after the restart the committed row is there and the open transaction's is not."""
    url = postgres_url.replace("+asyncpg", "")
    connection = await asyncpg.connect(url)
    await connection.execute("create table kept (value int)")
    await connection.execute("insert into kept values (1)")
    await connection.execute("begin")
    await connection.execute("insert into kept values (2)")
    await asyncio.to_thread(postgres_server.kill)
    assert not postgres_server.running
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await connection.fetchval("select 1")
    connection.terminate()
    await asyncio.to_thread(postgres_server.start)
    connection = await asyncpg.connect(url)
    assert [row["value"] for row in await connection.fetch("select value from kept")] == [1]
    await connection.close()


async def test_restart_keeps_the_address(postgres_server: PostgresServer, postgres_url: str) -> None:
    await asyncio.to_thread(postgres_server.restart)
    connection = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
    assert await connection.fetchval("show server_version_num") >= "180000"
    await connection.close()


async def test_open_connection_is_detected(postgres_server: PostgresServer, postgres_url: str) -> None:
    """What `postgres_url` holds a test to when it ends."""
    connection = await asyncpg.connect(postgres_url.replace("+asyncpg", ""))
    name = postgres_url.rpartition("/")[2]
    assert not postgres_server.connections_gone(name, timeout_seconds=0.0)
    await connection.close()
    assert postgres_server.connections_gone(name)
