"""The same topic, read by two groups into two empty databases of different kinds: the same rows, cell by cell."""

from pathlib import Path

import pytest

from tests.conformance.contents import insert_environments
from tests.conformance.stores import migrate
from tests.end_to_end.days import day_of
from tests.end_to_end.stage import Stage

SEED = 23


@pytest.mark.parametrize("pair", ["apache+postgresql", "apache+mssql"], indirect=True)
async def test_one_topic_makes_the_same_rows_in_every_database(stage: Stage, tmp_path: Path) -> None:
    """While the topic is written, in one piece, and again from the beginning: history needs no backup but the topic."""
    day = day_of(SEED, releases=30)
    other = stage.over(f"sqlite+aiosqlite:///{tmp_path / 'other.sqlite3'}")
    await migrate(other.database_url)
    for each in (stage, other):
        await insert_environments(each.database_url, SEED)
    with stage.worker("served") as one, other.worker("sqlite") as two:
        await one.ready()
        await stage.send(day.daytime)
        await stage.caught_up(one)
        await other.caught_up(two)
        await stage.send(day.evening)
        await stage.caught_up(one)
        await other.caught_up(two)
        assert [await one.stop(), await two.stop()] == [0, 0]
    rows = await stage.rows()
    assert len(rows["releases"]) > 25
    assert rows == await other.rows()
