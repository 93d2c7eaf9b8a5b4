"""What every release had `app_environments` point at, beside the rows of it: the one thing that releases share.

It waits in the scratch file, since it is known only when every history was judged.
"""

import pickle
import sqlite3
from collections.abc import Iterable, Iterator
from typing import Any
from uuid import UUID

from worker.stored_rows import Pointing, ReleaseRows, uuid_of
from worker.verify.findings import Finding
from worker.verify.pointers import Known, Pointed, pointing_findings, points_at_nothing

# ruff: noqa: S301 - as in `worker.verify.scratch`

_TABLES = """
CREATE TABLE pointings (environment TEXT, component TEXT, track TEXT, pointing BLOB NOT NULL);
CREATE TABLE attempts (id BLOB PRIMARY KEY, release BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE unread (release BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE unjudged (release BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE pointed (
    attempt BLOB PRIMARY KEY, environment TEXT, component TEXT, track TEXT,
    at TEXT, release BLOB, number INT, certain INT, pointed BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX pointings_key ON pointings (environment, component, track);
CREATE INDEX pointed_latest ON pointed (environment, component, track, certain, at, release, number);
"""
_KEY = "environment = ? AND component = ? AND track = ?"
_LATEST = f"SELECT pointed FROM pointed WHERE {_KEY} AND certain ORDER BY at DESC, release DESC, number DESC LIMIT 1"  # noqa: S608


class PointingScratch:
    """Part of the scratch file. Asked when all rows and all histories were added."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.executescript(_TABLES)

    def add_row(self, row: Pointing) -> None:
        values = (row.environment, row.component, row.track, pickle.dumps(row))
        self._connection.execute("INSERT INTO pointings VALUES (?, ?, ?, ?)", values)

    def add_release(self, rows: ReleaseRows) -> None:
        release: UUID = rows.release["id"]
        if not rows.settled:
            self._connection.execute("INSERT INTO unread VALUES (?)", (release.bytes,))
        attempts = [(row["id"].bytes, release.bytes) for row in rows.deployments]
        self._connection.executemany("INSERT OR REPLACE INTO attempts VALUES (?, ?)", attempts)

    def add_history(self, release: UUID, pointed: Iterable[Pointed], *, all_of_it: bool) -> None:
        if not all_of_it:
            self._connection.execute("INSERT INTO unjudged VALUES (?)", (release.bytes,))
        rows = [
            (
                one.move.deployment_id.bytes,
                one.move.environment_id,
                str(one.move.component_id),
                one.move.deployment_track_id,
                one.at.isoformat(timespec="microseconds"),
                one.move.release_id.bytes,
                one.number,
                one.certain,
                pickle.dumps(one),
            )
            for one in pointed
        ]
        self._connection.executemany("INSERT OR REPLACE INTO pointed VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def findings(self) -> Iterator[Finding | None]:
        """None for each row that cannot be told."""
        for row in self._rows():
            if not points_at_nothing(row):
                yield from pointing_findings(row, self._known(row))

    def unpointed(self) -> int:
        """Rows that point at nothing, although a deployment of their environment succeeded."""
        return sum(points_at_nothing(row) and self._latest(row) is not None for row in self._rows())

    def _rows(self) -> Iterator[Pointing]:
        for (pickled,) in self._connection.execute("SELECT pointing FROM pointings"):
            yield pickle.loads(pickled)

    def _known(self, row: Pointing) -> Known:
        attempt, named = uuid_of(row.attempt), uuid_of(row.release)
        pointed = attempt and self._one("SELECT pointed FROM pointed WHERE attempt = ?", attempt.bytes)
        owned = attempt and self._one("SELECT release FROM attempts WHERE id = ?", attempt.bytes)
        owner = UUID(bytes=owned) if owned else None
        if owner is not None:
            untold = self._one("SELECT 1 FROM unjudged WHERE release = ?", owner.bytes)
        else:
            untold = named and self._one("SELECT 1 FROM unread WHERE release = ?", named.bytes)
        rows = self._one(f"SELECT count(*) FROM pointings WHERE {_KEY}", *_key(row))  # noqa: S608
        return Known(
            pointed=pickle.loads(pointed) if pointed else None,
            owner=owner,
            told=not untold,
            latest=self._latest(row) if rows == 1 else None,
        )

    def _latest(self, row: Pointing) -> Pointed | None:
        found = self._one(_LATEST, *_key(row))
        return None if found is None else pickle.loads(found)

    def _one(self, sql: str, *parameters: object) -> Any:
        row = self._connection.execute(sql, parameters).fetchone()
        return None if row is None else row[0]


def _key(row: Pointing) -> tuple[str, str, str]:
    return row.environment, row.component, row.track
