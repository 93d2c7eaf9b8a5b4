"""PgBouncer before PostgreSQL: a pool of sessions works, one of transactions or statements is refused at the start."""

import asyncio

import pytest

from tests.conformance.release_messages import ReleaseMessages
from tests.conformance.stores import migrate, opened, process_all
from tests.conformance.table_contents import rows
from tests.testkit.pgbouncer import pgbouncer
from worker.db.postgresql.errors import TRANSACTION_POOLING
from worker.pipeline.transaction import process
from worker.rules.errors import ConfigurationError


async def test_session_pooling_needs_no_option(postgres_url: str) -> None:
    """Neither of the pooler nor of the URL; `migrate` goes through it as well."""
    with pgbouncer(postgres_url, pool_mode="session") as url:
        await migrate(url)
        async with opened(url) as store:
            pipelines = [ReleaseMessages() for _ in range(6)]
            await asyncio.gather(*(process_all([*one.approved(), one.deploy("succeeded")], store) for one in pipelines))
    assert {release["status"] for release in await rows(postgres_url, "releases")} == {"DEPLOYED"}


async def test_small_session_pool_works(postgres_url: str) -> None:
    """A connection beyond the pool is not refused: it waits, and the worker goes on with those that it has."""
    await migrate(postgres_url)
    with pgbouncer(postgres_url, pool_mode="session", default_pool_size="2", query_wait_timeout="1") as url:
        async with opened(url, timeout_seconds=30.0) as store:
            pipelines = [ReleaseMessages() for _ in range(8)]
            await asyncio.gather(*(process(one.created(), store) for one in pipelines))
    assert len(await rows(postgres_url, "releases")) == len(pipelines)


@pytest.mark.parametrize("pool_mode", ["transaction", "statement"])
@pytest.mark.parametrize(
    "settings", [{}, {"default_pool_size": "1"}, {"server_round_robin": "1", "min_pool_size": "3"}]
)
async def test_transaction_pooling_is_refused_in_one_line(
    postgres_url: str, pool_mode: str, settings: dict[str, str]
) -> None:
    await migrate(postgres_url)
    with pgbouncer(postgres_url, pool_mode=pool_mode, **settings) as url:
        for _ in range(2):  # what the first start left in the pool is no surprise for the next
            with pytest.raises(ConfigurationError) as refused:
                async with opened(url):
                    pass
            assert TRANSACTION_POOLING in str(refused.value)


async def test_refused_startup_parameter_is_reported_with_advice(postgres_url: str) -> None:
    await migrate(postgres_url)
    refused = pytest.raises(ConfigurationError, match="unsupported startup parameter: options: leave it out")
    with pgbouncer(postgres_url, pool_mode="session") as url, refused:
        async with opened(f"{url}?options=-c%20jit%3Doff"):
            pass


async def test_full_pooler_and_unknown_database_are_distinguished(postgres_url: str) -> None:
    """The first is worked around, the second is for an operator."""
    await migrate(postgres_url)
    with pgbouncer(postgres_url, pool_mode="session", max_client_conn="3") as url:
        async with opened(url) as store:
            pipelines = [ReleaseMessages() for _ in range(8)]
            await asyncio.gather(*(process(one.created(), store) for one in pipelines))
        with pytest.raises(ConfigurationError):
            async with opened(f"{url}_unknown"):
                pass
    assert len(await rows(postgres_url, "releases")) == len(pipelines)
