"""Rows for comparisons and simulations, release by release: read only, in plain SQL, on every database.

A worker may write meanwhile. Whatever changes a release appends to its log, so a release whose log has as many entries
after its rows were read as before is one that was read as it was at one moment; any other is read again. That needs no
long transaction, which would delay PostgreSQL's vacuum, and no isolation that a SQL Server may not have.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import date, datetime
from enum import Enum, auto
from typing import Any
from uuid import UUID

from sqlalchemy import Table, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from schemas.event import ReleaseReference
from worker.db.columns import ACTIVITY_READ, REJECTIONS
from worker.db.dialect import Dialect, reading
from worker.db.engine import open_engine
from worker.db.inspection import current_revision, listing, require_current
from worker.db.models import Base
from worker.db.row_decoder import TYPED, activity, rejection
from worker.rules.rows import Activity, Rejection
from worker.stored_rows import EnvironmentRow, ReleaseRows, uuid_of

_TABLES = Base.metadata.tables
_RELEASES, _VERSIONS, _DEPLOYMENTS = (
    _TABLES["releases"],
    _TABLES["release_versions"],
    _TABLES["release_deployments"],
)
_REVISIONS, _LOG = _TABLES["release_apim_base_revisions"], _TABLES["release_activity_logs"]
_REJECTIONS = _TABLES["release_event_rejections"]

_KEY = "release_mgt_id"

_ID_COUNTS = (1, 20, 200, 1_000)
"""How many ids one statement names: few numbers, since a database keeps a plan for each. SQL Server takes no more than
2,100 parameters.
"""

_IDS_MAX = 200
"""Releases that are read together, with all their rows."""

_LOOKUP_IDS_MAX = _ID_COUNTS[-1]
"""Rows that are looked up together, one for each id."""

_ROWS_MAX = 4_000
"""Entries held at a time, unless one release alone has more."""

_ENVIRONMENTS_MAX = 4_000

_LOOKS_MAX = 10
"""How often a release is read that changes each time."""


class Content(Enum):
    """What a database has of the worker: no tables, tables of any revision without a row, or rows."""

    NO_TABLES = auto()
    NO_ROWS = auto()
    ROWS = auto()


class SqlTableReader:
    """`worker.verify.verification.TableReader`. Opened by `open`; its caller closes it."""

    def __init__(self, engine: AsyncEngine, dialect: Dialect) -> None:
        self._engine = engine
        self._dialect = dialect

    @classmethod
    def open(cls, url: str, *, timeout_seconds: float) -> "SqlTableReader":
        """Nothing is connected to yet. Raises ConfigurationError as `worker.db.engine.open_engine`."""
        return cls(*open_engine(url, timeout_seconds=timeout_seconds))

    async def close(self) -> None:
        await self._engine.dispose()

    async def check(self) -> None:
        """Look whether the tables are those that this version was written for.

        Raises:
            Unavailable: the database does not answer.
            ConfigurationError: it refuses the login, or is not migrated.
        """
        async with self._connected() as connection:
            await require_current(connection)

    async def content(self) -> "Content":
        """What the database has, whether it is migrated or not.

        Raises:
            Unavailable: the database does not answer.
        """
        async with self._connected() as connection:
            revision = await current_revision(connection)
            if revision is None:
                return Content.NO_TABLES
            for table in (_RELEASES, _REJECTIONS):
                if (await connection.execute(select(table.c.id).limit(1))).first() is not None:
                    return Content.ROWS
        return Content.NO_ROWS

    async def identity(self) -> UUID:
        """The id of this database, which a copy of it keeps.

        Raises:
            Unavailable: the database does not answer.
        """
        async with self._connected() as connection:
            found: UUID = (await connection.execute(select(_TABLES["database_identity"].c.id))).scalar_one()
            return found

    async def rows_of(self, release_ids: Sequence[UUID]) -> list[ReleaseRows]:
        """The rows of these releases, each as it was at one moment; none for a release that does not exist."""
        found = []
        for first in range(0, len(release_ids), _IDS_MAX):
            for batch in await self._batches(release_ids[first : first + _IDS_MAX]):
                found += await self._rows(batch)
        return found

    async def rejections_of(self, event_ids: Sequence[UUID]) -> dict[UUID, Rejection]:
        """The rejections with these ids."""
        columns = [_REJECTIONS.c[name] for name in REJECTIONS]
        return {row.id: rejection(row, TYPED) for row in await self._by_ids(event_ids, columns, _REJECTIONS.c.id)}

    async def logged(self, event_ids: Sequence[UUID]) -> set[UUID]:
        """Which of these events are in the activity log."""
        return {row.id for row in await self._by_ids(event_ids, [_LOG.c.id], _LOG.c.id)}

    async def activities_of(self, event_ids: Sequence[UUID]) -> dict[UUID, Activity]:
        """The first activities of these events, by id."""
        columns = [_LOG.c[name] for name in ACTIVITY_READ]
        return {row.id: _activity(row) for row in await self._by_ids(event_ids, columns, _LOG.c.id)}

    async def activity_types(self, ids: Sequence[UUID]) -> dict[UUID, str]:
        """The types of the activities with these ids."""
        columns = [_LOG.c.id, _LOG.c.activity_type]
        return {row.id: row.activity_type for row in await self._by_ids(ids, columns, _LOG.c.id)}

    async def deployed(self, ids: Sequence[UUID]) -> dict[UUID, tuple[UUID, datetime | None]]:
        """The release and `deployed_at` of these deployments."""
        table = _DEPLOYMENTS.c
        rows = await self._by_ids(ids, [table.id, table.release_mgt_id, table.deployed_at], table.id)
        return {row.id: (row.release_mgt_id, row.deployed_at) for row in rows}

    async def same_number(self, release_date: date, release_number: int, component_id: UUID) -> dict[UUID, str]:
        """The releases with this date, number and component, and the deployment track of each."""
        table = _RELEASES.c
        query = select(table.id, table.deployment_track_id).where(
            table.release_date == release_date,
            table.release_number == release_number,
            table.component_id == component_id,
        )
        async with self._connected() as connection:
            return {row.id: row.deployment_track_id for row in await connection.execute(query.limit(_IDS_MAX))}

    async def find_releases(self, references: Sequence[ReleaseReference]) -> list[UUID | None]:
        """As `worker.ports.ReleaseFinder` says."""
        async with self._connected() as connection:
            return [await _found_release(connection, reference) for reference in references]

    async def numbers(self, release_date: date, component_id: UUID) -> dict[str, int]:
        """The highest number of each track of a component on one day."""
        table = _RELEASES.c
        query = (
            select(table.deployment_track_id, func.max(table.release_number).label("highest"))
            .where(table.release_date == release_date, table.component_id == component_id)
            .group_by(table.deployment_track_id)
        )
        async with self._connected() as connection:
            return {row.deployment_track_id: row.highest for row in await connection.execute(query)}

    async def _by_ids(self, ids: Sequence[UUID], columns: Sequence[Any], key: Any) -> list[Any]:
        found: list[Any] = []
        if not ids:
            return found
        async with self._connected() as connection:  # one for all statements: connecting can take longer than they do
            for first in range(0, len(ids), _LOOKUP_IDS_MAX):
                some = _padded(ids[first : first + _LOOKUP_IDS_MAX])
                found += (await connection.execute(select(*columns).where(key.in_(some)))).all()
        return found

    async def releases(self) -> AsyncIterator[ReleaseRows]:
        last: UUID | None = None
        while ids := await self._ids_after(last):
            for batch in await self._batches(ids):
                for rows in await self._rows(batch):
                    yield rows
            last = ids[-1]

    async def release_ids(self) -> AsyncIterator[UUID]:
        last: UUID | None = None
        while ids := await self._ids_after(last):
            for id_ in ids:
                yield id_
            last = ids[-1]

    async def existing(self, release_ids: Sequence[UUID]) -> set[UUID]:
        """Which of these releases exist."""
        return {row.id for row in await self._by_ids(release_ids, [_RELEASES.c.id], _RELEASES.c.id)}

    async def rejections(self) -> AsyncIterator[Rejection]:
        last: UUID | None = None
        columns = [_REJECTIONS.c[name] for name in REJECTIONS]
        while True:
            query = select(*columns).order_by(_REJECTIONS.c.id).limit(_ROWS_MAX)
            async with self._connected() as connection:
                found = await connection.execute(query if last is None else query.where(_REJECTIONS.c.id > last))
                rows = found.all()
            for row in rows:
                yield rejection(row, TYPED)
            if not rows:
                return
            last = rows[-1].id

    async def environments(self) -> AsyncIterator[EnvironmentRow]:
        """The table is often another system's: it may have no id to go by, and rows of one key."""
        async with self._connected() as connection:
            query = await listing(connection, fragments=self._dialect.pointers)
        begin = 0
        while query is not None:
            async with self._connected() as connection:
                rows = (await connection.execute(query.offset(begin).limit(_ENVIRONMENTS_MAX))).all()
            for row in rows:
                yield _environment(row)
            if len(rows) < _ENVIRONMENTS_MAX:
                return
            begin += len(rows)

    async def _ids_after(self, last: UUID | None) -> list[UUID]:
        query = select(_RELEASES.c.id).order_by(_RELEASES.c.id).limit(_IDS_MAX)
        async with self._connected() as connection:
            found = await connection.execute(query if last is None else query.where(_RELEASES.c.id > last))
            return list(found.scalars())

    async def _batches(self, ids: Sequence[UUID]) -> list[list[UUID]]:
        """As many releases together as have no more than _ROWS_MAX entries."""
        async with self._connected() as connection:
            counts = await _counts(connection, ids)
        batches: list[list[UUID]] = []
        rows_left = 0
        for id_ in ids:
            if counts[id_] > rows_left or not batches:
                batches.append([])
                rows_left = _ROWS_MAX
            batches[-1].append(id_)
            rows_left -= counts[id_]
        return batches

    async def _rows(self, ids: Sequence[UUID]) -> list[ReleaseRows]:
        async with self._connected() as connection:
            found = await _read(connection, ids)
            counts = await _counts(connection, ids)
        settled = [rows for id_, rows in found.items() if counts[id_] == len(rows.activities)]
        changed = [id_ for id_, rows in found.items() if counts[id_] != len(rows.activities)]
        again = [await self._again(id_) for id_ in changed]
        return settled + [rows for rows in again if rows is not None]

    async def _again(self, id_: UUID) -> ReleaseRows | None:
        """None: the release was deleted meanwhile."""
        rows: ReleaseRows | None = None
        for _ in range(_LOOKS_MAX):
            async with self._connected() as connection:
                rows = (await _read(connection, [id_])).get(id_)
                if rows is None or (await _counts(connection, [id_]))[id_] == len(rows.activities):
                    return rows
        return rows and ReleaseRows(release=rows.release, activities=rows.activities, settled=False)

    def _connected(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return reading(self._engine, self._dialect)


def _padded(ids: Sequence[UUID]) -> list[UUID]:
    """As many as the next of _ID_COUNTS, the last of them repeated."""
    count = next(count for count in _ID_COUNTS if len(ids) <= count)
    return [*ids, *[ids[-1]] * (count - len(ids))]


async def _counts(connection: AsyncConnection, ids: Sequence[UUID]) -> dict[UUID, int]:
    release = _LOG.c.release_mgt_id
    found = await connection.execute(select(release, func.count()).where(release.in_(_padded(ids))).group_by(release))
    counts: dict[UUID, int] = defaultdict(int)
    counts.update({row[0]: row[1] for row in found})
    return counts


async def _read(connection: AsyncConnection, ids: Sequence[UUID]) -> dict[UUID, ReleaseRows]:
    """The log first: what is written after it was read shows in its count."""
    columns = [_LOG.c[name] for name in ACTIVITY_READ]
    activities: dict[UUID, list[Activity]] = defaultdict(list)
    for row in await connection.execute(select(*columns).where(_LOG.c.release_mgt_id.in_(_padded(ids)))):
        activities[row.release_mgt_id].append(_activity(row))
    releases = {row["id"]: row for row in await _mappings(connection, _RELEASES, "id", ids)}
    versions = {row["release_mgt_id"]: row["version"] for row in await _mappings(connection, _VERSIONS, _KEY, ids)}
    deployments = _by_release(await _mappings(connection, _DEPLOYMENTS, _KEY, ids))
    revisions = _by_release(await _mappings(connection, _REVISIONS, _KEY, ids))
    return {
        id_: ReleaseRows(
            release=releases[id_],
            version=versions.get(id_),
            deployments=tuple(deployments[id_]),
            base_revisions=tuple(revisions[id_]),
            activities=tuple(activities[id_]),
        )
        for id_ in ids
        if id_ in releases
    }


async def _mappings(
    connection: AsyncConnection, table: Table, key: str, ids: Sequence[UUID]
) -> Iterator[dict[str, Any]]:
    found = await connection.execute(select(table).where(table.c[key].in_(_padded(ids))))
    return (dict(row) for row in found.mappings())


def _by_release(rows: Iterable[dict[str, Any]]) -> dict[UUID, list[dict[str, Any]]]:
    found: dict[UUID, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row["release_mgt_id"]].append(row)
    return found


def _environment(row: Any) -> EnvironmentRow:
    id_, environment, component, track, release, attempt, name = row
    component_id = uuid_of(component)
    return EnvironmentRow(
        row=uuid_of(id_),
        environment=environment or "",
        component=str(component_id or component),
        track=track or "",
        release=release,
        attempt=attempt,
        name=name,
    )


def _activity(row: Any) -> Activity:
    """Others may have written none of the data, which the worker always has."""
    found = activity(row, TYPED)
    return found if row.activity_data is not None else replace(found, activity_data="")


async def _found_release(connection: AsyncConnection, reference: ReleaseReference) -> UUID | None:
    """As `worker.db.queries.release_query`."""
    table = _RELEASES.c
    for run in reference.runs:
        row = (await connection.execute(select(_LOG.c.release_mgt_id).where(_LOG.c.id == run))).first()
        if row is not None:
            release_id: UUID = row.release_mgt_id
            return release_id
    if (await connection.execute(select(table.id).where(table.id == reference.derived_id))).first() is not None:
        return reference.derived_id
    texts = [(table.commit_hash, reference.commit_hash), *((table.image_tag, text) for text in reference.image_tags)]
    conditions: list[tuple[Any, Any, str | None]] = [
        (column == text, column, text) for column, text in texts if text is not None
    ]
    if reference.number is not None:
        day, number = reference.number
        conditions.append((and_(table.release_date == day, table.release_number == number), table.id, None))
    for condition, column, text in conditions:
        query = (
            select(table.id, column.label("text"), table.deployment_track_id, table.organization_id)
            .where(table.component_id == reference.component_id, condition)
            .order_by(table.release_date.desc(), table.release_number.desc())
            .limit(_IDS_MAX)
        )
        for row in await connection.execute(query):
            same_text = text is None or row.text == text
            if same_text and row[2:] == (reference.deployment_track_id, reference.organization_id):
                found: UUID = row.id
                return found
    return None
