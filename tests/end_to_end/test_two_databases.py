"""The same topic, read by two groups into two empty databases of different kinds: the same rows, cell by cell."""

from pathlib import Path

import pytest

from tests.conformance.stores import migrate
from tests.conformance.table_contents import insert_environments
from tests.end_to_end.demo_day import day_of
from tests.end_to_end.system import System

SEED = 23


@pytest.mark.parametrize("pair", ["apache+postgresql", "apache+mssql"], indirect=True)
async def test_one_topic_makes_the_same_rows_in_every_database(system: System, tmp_path: Path) -> None:
    """While the topic is written, in one piece, and again from the beginning: history needs no backup but the topic."""
    day = day_of(SEED, releases=30)
    other = system.with_database(f"sqlite+aiosqlite:///{tmp_path / 'other.sqlite3'}")
    await migrate(other.database_url)
    for each in (system, other):
        await insert_environments(each.database_url, SEED)
    with system.worker("served") as one, other.worker("sqlite") as two:
        await one.ready()
        await system.send(day.daytime)
        await system.caught_up(one)
        await other.caught_up(two)
        await system.send(day.evening)
        await system.caught_up(one)
        await other.caught_up(two)
        assert [await one.stop(), await two.stop()] == [0, 0]
    rows = await system.rows()
    assert len(rows["releases"]) > 25
    assert rows == await other.rows()
