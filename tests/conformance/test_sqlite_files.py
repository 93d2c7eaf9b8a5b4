"""What can become of SQLite's file while the worker runs: the probe behind /readyz finds it and reports the reason."""

import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.conformance.deadlines import until
from tests.conformance.release_messages import ReleaseMessages
from tests.conformance.stores import migrate, opened
from tests.testkit.small_disk import DiskUnavailable, SmallDisk
from worker.db.store import SqlStore
from worker.pipeline.transaction import process
from worker.rules.errors import ConfigurationError, Unavailable
from worker.rules.state import Applied


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rudder.db"


@pytest.fixture
async def store(file: Path) -> AsyncIterator[SqlStore]:
    await migrate(f"sqlite+aiosqlite:///{file}")
    async with opened(f"sqlite+aiosqlite:///{file}") as store:
        yield store


async def test_probe_changes_nothing(store: SqlStore, file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA user_version = 7")
    for _ in range(3):
        await store.ping()
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (7,)


async def test_full_disk_is_reported_until_there_is_room() -> None:
    try:
        with SmallDisk.mounted(4) as disk:
            url = f"sqlite+aiosqlite:///{disk.folder / 'rudder.db'}"
            await migrate(url)
            async with opened(url) as store:
                await store.ping()
                created = ReleaseMessages().created()
                # Each time the connection is closed after it, which gives back the room of the log.
                with disk.full(), pytest.raises(Unavailable, match="full"):
                    await process(created, store)
                with disk.full(), pytest.raises(Unavailable, match="full"):
                    await store.ping()
                await store.ping()
                assert isinstance(await process(created, store), Applied)
    except DiskUnavailable as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("table", ["releases", "release_event_rejections", "release_activity_logs"])
async def test_dropped_table_is_reported(store: SqlStore, file: Path, table: str) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"DROP TABLE {table}")
    with pytest.raises(ConfigurationError, match=f"no such table: .*{table}.*rudder-worker migrate"):
        await store.ping()


async def test_dropped_column_is_reported(store: SqlStore, file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("ALTER TABLE release_event_rejections DROP COLUMN detail")
    with pytest.raises(ConfigurationError, match="no such column: detail"):
        await store.ping()


async def test_deleted_file_is_reported_and_takes_no_event(store: SqlStore, file: Path) -> None:
    """What is written to it would be gone with the process; put back, it is used again."""
    kept = file.with_suffix(".kept")
    await process(ReleaseMessages().created(), store)
    with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(kept)) as target:
        source.backup(target)
    for part in file.parent.glob(f"{file.name}*"):
        part.unlink()
    created = ReleaseMessages().created()
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"rudder\.db was deleted"):
            await process(created, store)
        with pytest.raises(Unavailable, match=r"rudder\.db was deleted"):
            await store.ping()
    assert list(file.parent.glob(file.name)) == []
    shutil.copy(kept, file)
    with pytest.raises(Unavailable, match=r"rudder\.db was replaced"):
        await store.ping()
    await store.ping()
    assert isinstance(await process(created, store), Applied)
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("SELECT count(*) FROM releases").fetchone() == (2,)


async def test_read_only_file_is_a_configuration_error(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///file:{tmp_path / 'rudder.db'}?uri=true"
    await migrate(url)
    with pytest.raises(ConfigurationError, match="readonly"):
        async with opened(f"{url}&mode=ro"):
            pass


@pytest.fixture
def other_file(file: Path) -> Path:
    file.write_bytes(b"no database " * 1_000)
    return file


async def test_file_of_another_kind_is_a_configuration_error(other_file: Path) -> None:
    with pytest.raises(ConfigurationError, match="not a database"):
        async with opened(f"sqlite+aiosqlite:///{other_file}"):
            pass


async def test_file_in_a_missing_folder_is_named(tmp_path: Path) -> None:
    """Waited for, as a volume that is mounted late."""
    file = tmp_path / "missing" / "rudder.db"
    with pytest.raises(Unavailable, match=f"unable to open database file {file}: its folder must exist"):
        async with opened(f"sqlite+aiosqlite:///{file}"):
            pass
    # aiosqlite's thread reports to this test's loop for the last time after the connection has failed.
    await until(
        lambda: not any("_connection_worker" in thread.name for thread in threading.enumerate()), what="it ends"
    )
