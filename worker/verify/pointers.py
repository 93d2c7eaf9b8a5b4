"""The environment pointers in `app_environments`, compared with the deployments of all releases.

A success that is its environment's attempt of the latest event points the row at itself, if it is later than the row's
current deployment. So the row points at the latest of all releases, in whatever order they were handled. A worker sets
the pointer in the event's transaction. These rows are read after the group's commits and before the other tables, so
a pointer's deployment must be in the tables, and the pointer cannot be older than a committed event.

The rows belong to another system. A row that is younger than the deployments of its environment points at none of
them: it is counted, and is no finding. Where two rows share environment, component and track, a worker may set one of
them alone, and neither is reported as late.

The pointers are the one thing that releases share. They wait in the scratch file until every history was decided.
"""

import pickle
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from worker.rules.message import RecordPosition
from worker.rules.rows import EnvironmentPointerMove
from worker.stored_rows import EnvironmentRow, ReleaseRows, uuid_of
from worker.verify.findings import Finding, Kind

# ruff: noqa: S301 - as in `worker.verify.scratch`

TABLE = "app_environments"

_SCHEMA = """
CREATE TABLE environments (environment TEXT, component TEXT, track TEXT, row BLOB NOT NULL);
CREATE TABLE attempts (id BLOB PRIMARY KEY, release BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE unread (release BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE undecided (release BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE pointers (
    attempt BLOB PRIMARY KEY, environment TEXT, component TEXT, track TEXT,
    at TEXT, release BLOB, number INT, certain INT, pointer BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX environments_key ON environments (environment, component, track);
CREATE INDEX pointers_latest ON pointers (environment, component, track, certain, at, release, number);
"""
_KEY = "environment = ? AND component = ? AND track = ?"
_LATEST = f"SELECT pointer FROM pointers WHERE {_KEY} AND certain ORDER BY at DESC, release DESC, number DESC LIMIT 1"  # noqa: S608


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedPointer:
    """The pointer that a record sets, if the environment has a row. `number`: its index among those of its release.
    `certain`: the record was committed, and the activity log has its effect.
    """

    move: EnvironmentPointerMove
    at: datetime
    position: RecordPosition
    number: int
    certain: bool

    @property
    def rank(self) -> tuple[datetime, UUID, int]:
        """The highest wins. Within a release times never decrease; of equal ones the later record counts."""
        return self.at, self.move.release_id, self.number


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evidence:
    """What the histories say about one row. `expected`: the record that sets this pointer, None where none does.

    `owner`: the release of the deployment, None where no release has it. `complete`: whether all records of the owner
    were decided; without an owner, whether the release that the row names could be read. `latest`: the latest certain
    pointer of the environment; None also where the environment has several rows.
    """

    expected: ExpectedPointer | None
    owner: UUID | None
    complete: bool
    latest: ExpectedPointer | None


class Pointers:
    """Part of the scratch file. Add all rows and all histories before reading the findings."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.executescript(_SCHEMA)

    def add_row(self, row: EnvironmentRow) -> None:
        self._connection.execute("INSERT INTO environments VALUES (?, ?, ?, ?)", (*_key(row), pickle.dumps(row)))

    def add_release(self, rows: ReleaseRows) -> None:
        release: UUID = rows.release["id"]
        if not rows.settled:
            self._connection.execute("INSERT INTO unread VALUES (?)", (release.bytes,))
        attempts = [(row["id"].bytes, release.bytes) for row in rows.deployments]
        self._connection.executemany("INSERT OR REPLACE INTO attempts VALUES (?, ?)", attempts)

    def add_history(self, release: UUID, pointers: Iterable[ExpectedPointer], *, complete: bool) -> None:
        if not complete:
            self._connection.execute("INSERT INTO undecided VALUES (?)", (release.bytes,))
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
            for one in pointers
        ]
        self._connection.executemany("INSERT OR REPLACE INTO pointers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def findings(self) -> Iterator[Finding | None]:
        """None for each row that cannot be checked."""
        for row in self._rows():
            if not _is_unset(row):
                yield from _check(row, self._evidence(row))

    def unset_rows(self) -> int:
        """Rows without a pointer, although a deployment of their environment succeeded."""
        return sum(_is_unset(row) and self._latest(row) is not None for row in self._rows())

    def _rows(self) -> Iterator[EnvironmentRow]:
        for (pickled,) in self._connection.execute("SELECT row FROM environments"):
            yield pickle.loads(pickled)

    def _evidence(self, row: EnvironmentRow) -> _Evidence:
        attempt, named = uuid_of(row.attempt), uuid_of(row.release)
        expected = attempt and self._one("SELECT pointer FROM pointers WHERE attempt = ?", attempt.bytes)
        owned = attempt and self._one("SELECT release FROM attempts WHERE id = ?", attempt.bytes)
        owner = UUID(bytes=owned) if owned else None
        if owner is not None:
            incomplete = self._one("SELECT 1 FROM undecided WHERE release = ?", owner.bytes)
        else:
            incomplete = named and self._one("SELECT 1 FROM unread WHERE release = ?", named.bytes)
        rows = self._one(f"SELECT count(*) FROM environments WHERE {_KEY}", *_key(row))  # noqa: S608
        return _Evidence(
            expected=pickle.loads(expected) if expected else None,
            owner=owner,
            complete=not incomplete,
            latest=self._latest(row) if rows == 1 else None,
        )

    def _latest(self, row: EnvironmentRow) -> ExpectedPointer | None:
        found = self._one(_LATEST, *_key(row))
        return None if found is None else pickle.loads(found)

    def _one(self, sql: str, *parameters: object) -> Any:
        row = self._connection.execute(sql, parameters).fetchone()
        return None if row is None else row[0]


def _key(row: EnvironmentRow) -> tuple[str, str, str]:
    return row.environment, row.component, row.track


def _is_unset(row: EnvironmentRow) -> bool:
    return row.attempt is None and row.release is None and row.name is None


def _check(row: EnvironmentRow, evidence: _Evidence) -> Iterator[Finding | None]:
    """At most one finding; None: the row cannot be checked."""
    expected, latest = evidence.expected, evidence.latest
    where = f"environment {row.environment} of component {row.component}, track {row.track}"
    if expected is not None:
        move = expected.move
        its_key = (move.environment_id, str(move.component_id), move.deployment_track_id)
        if its_key != _key(row):
            text = f"a deployment of {where}"
            yield _finding(row, Kind.CONTRADICTORY, text, f"one of {' '.join(its_key)}", expected)
        elif _texts(move) != (row.release, row.attempt, row.name):
            text = f"{where}: {_summary(*_texts(move))}"
            yield _finding(row, Kind.CONTRADICTORY, text, _row_summary(row), expected)
        elif latest is not None and latest.rank > expected.rank:
            text = f"{where}: {_summary(*_texts(latest.move))} of {latest.at}"
            yield _finding(row, Kind.CONTRADICTORY, text, f"{_row_summary(row)} of {expected.at}", latest)
    elif not evidence.complete:
        yield None
    elif evidence.owner is None:
        yield _finding(row, Kind.INVENTED, f"{where}: an existing deployment", _row_summary(row))
    else:
        text = f"{where}: a deployment that succeeded as its environment's latest"
        yield _finding(row, Kind.CONTRADICTORY, text, _row_summary(row), release=evidence.owner)


def _finding(
    row: EnvironmentRow,
    kind: Kind,
    expected: str,
    found: str,
    by: ExpectedPointer | None = None,
    *,
    release: UUID | None = None,
) -> Finding:
    return Finding(
        kind=kind,
        position=by.position if by else None,
        table=TABLE,
        row=row.row,
        release=by.move.release_id if by else release,
        expected=expected,
        found=found,
    )


def _texts(move: EnvironmentPointerMove) -> tuple[str, str, str]:
    return str(move.release_id), str(move.deployment_id), move.deployment_name


def _row_summary(row: EnvironmentRow) -> str:
    return _summary(row.release, row.attempt, row.name)


def _summary(release: str | None, attempt: str | None, name: str | None) -> str:
    return f"deployment {attempt}, {name}, of release {release}"
