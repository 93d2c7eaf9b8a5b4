"""A connection that SQLAlchemy's pool cannot close in order is logged in one line; a bug keeps its traceback."""

import asyncio
import logging

import pytest
from sqlalchemy import make_url, text

from tests.testkit.faulty_proxy import FaultyProxy
from worker.db.engine import open_engine

POOL = "sqlalchemy.pool"


def of_the_pool(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name.startswith(POOL)]


async def test_unanswered_close_is_logged_in_one_line(postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """Seen in a fault plan: the link was silent when a command closed its connection."""
    url = make_url(postgres_url)
    assert url.port is not None
    async with FaultyProxy.running(url.port) as proxy:
        by_proxy = url.set(port=proxy.port).render_as_string(hide_password=False)
        engine, _ = open_engine(by_proxy, timeout_seconds=0.5)
        connection = await engine.connect()
        await connection.execute(text("SELECT 1"))
        await connection.commit()
        with proxy.silent():
            await connection.close()
        await engine.dispose()
    [record] = of_the_pool(caplog)
    assert (record.exc_info, record.levelno) == (None, logging.WARNING)
    assert "it is discarded: PostgreSQL does not answer" in record.getMessage()


@pytest.mark.parametrize("error", [TimeoutError(), asyncio.CancelledError(), OSError("reset")], ids=repr)
def test_error_of_the_connection_has_no_traceback(
    postgres_url: str, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    engine, _ = open_engine(postgres_url, timeout_seconds=5.0)
    engine.sync_engine.pool.logger.error("Exception closing connection %r", "c", exc_info=error)
    [record] = of_the_pool(caplog)
    assert record.exc_info is None
    assert record.getMessage().startswith("Exception closing connection 'c'; it is discarded: ")


def test_bug_in_a_close_keeps_its_traceback(postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    engine, _ = open_engine(postgres_url, timeout_seconds=5.0)
    engine.sync_engine.pool.logger.error("Exception closing connection", exc_info=LookupError("a bug"))
    [record] = of_the_pool(caplog)
    assert record.exc_info is not None
    assert record.levelno == logging.ERROR
