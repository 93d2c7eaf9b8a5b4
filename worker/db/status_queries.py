"""`worker.status.tables.StatusTables`: what the status commands read, in bounded statements, on every database.

Predicates on statuses are literals, since a filtered index is used only for a predicate that is known when the
statement is planned.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    Select,
    and_,
    case,
    exists,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    text,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from schemas.times import parse_time
from worker.db.columns import ACTIVITY_READ, REJECTIONS
from worker.db.database_url import require_database
from worker.db.dialect import READ_ONLY, Dialect, translating
from worker.db.engine import open_engine
from worker.db.inspection import require_current
from worker.db.models import Base
from worker.db.row_decoder import TYPED, activity, rejection
from worker.pages import CappedCount, PageKey
from worker.rules.errors import Unavailable
from worker.rules.rows import Activity
from worker.stored_status import (
    Attempt,
    Cell,
    CellAttempt,
    DeliveryChange,
    End,
    EnvironmentAttempt,
    EnvironmentFilters,
    ReleaseDetail,
    ReleaseFilters,
    ReleasePage,
    ReleaseSummary,
)

_TABLES = Base.metadata.tables
_RELEASES, _VERSIONS = _TABLES["releases"].c, _TABLES["release_versions"].c
_DEPLOYMENTS, _LOG = _TABLES["release_deployments"].c, _TABLES["release_activity_logs"].c
_REJECTIONS, _DISMISSALS = _TABLES["release_event_rejections"].c, _TABLES["release_event_dismissals"].c

_ATTEMPTS_MAX = 200
_ACTIVITIES_MAX = 200
_DEAD_LETTERS_MAX = 50
"""Of one release, the latest ones."""

_COUNTED_MAX = 10_000
"""Releases are counted up to this number, and no further."""

_CHANGES_PER_PAGE = 5_000

_SUCCESS: ColumnElement[str] = literal_column("'SUCCESS'")
_ROLLED_BACK: ColumnElement[str] = literal_column("'ROLLED_BACK'")
_CANCELLED: ColumnElement[str] = literal_column("'CANCELLED'")
_ENDED = text(
    "release_activity_logs.activity_type = 'DEPLOYMENT_STATUS_CHANGED' "
    "AND release_activity_logs.status IN ('SUCCESS', 'FAILED', 'ROLLED_BACK')"
)
"""As the filter of idx_release_activity_logs_ends has it."""

_CELL_COLUMNS = (_DEPLOYMENTS.environment_id, _RELEASES.component_id, _RELEASES.deployment_track_id)
_NAME_COLUMNS = (_RELEASES.id.label("release_id"), _RELEASES.release_date, _RELEASES.release_number)
_ATTEMPT_COLUMNS = (
    *_NAME_COLUMNS,
    _RELEASES.commit_hash,
    _RELEASES.image_tag,
    _DEPLOYMENTS.id.label("deployment_id"),
    _DEPLOYMENTS.config_revision,
    _DEPLOYMENTS.attempt,
    _DEPLOYMENTS.status.label("deployment_status"),
    _DEPLOYMENTS.created_at.label("opened_at"),
    _DEPLOYMENTS.updated_at.label("changed_at"),
    _DEPLOYMENTS.deployed_at,
    _DEPLOYMENTS.deployed_by,
)
_SUMMARY_COLUMNS = (
    *_NAME_COLUMNS,
    *(
        _RELEASES[name]
        for name in (
            "status",
            "organization_id",
            "project_id",
            "component_id",
            "deployment_track_id",
            "description",
            "created_at",
            "created_by",
            "updated_at",
            "commit_hash",
            "image_tag",
        )
    ),
)


class SqlStatusTables:
    """Opened by `open`; its caller closes it."""

    def __init__(self, engine: AsyncEngine, dialect: Dialect, *, timeout_seconds: float) -> None:
        self._engine = engine
        self._dialect = dialect
        self._timeout_seconds = timeout_seconds

    @classmethod
    def open(cls, url: str, *, timeout_seconds: float) -> "SqlStatusTables":
        """Nothing is connected to yet.

        Raises:
            ConfigurationError: as `worker.db.engine.open_engine`, or there is no database.
        """
        require_database(url)
        return cls(*open_engine(url, timeout_seconds=timeout_seconds), timeout_seconds=timeout_seconds)

    async def close(self) -> None:
        await self._engine.dispose()

    async def environments(self, filters: EnvironmentFilters, limit: int) -> tuple[Sequence[CellAttempt], bool]:
        async with self._connected() as connection:
            rows = (await connection.execute(environments_query(filters, limit + 1))).all()
        found = [
            CellAttempt(cell=_cell(row), organization_id=row.organization_id, attempt=_attempt(row)) for row in rows
        ]
        cells = list(dict.fromkeys(one.cell for one in found))
        kept = set(cells[:limit])
        return [one for one in found if one.cell in kept], len(cells) > limit

    async def releases(self, filters: ReleaseFilters, after: PageKey | None, limit: int) -> ReleasePage:
        async with self._connected() as connection:
            found = (await connection.execute(releases_query(filters, after, limit + 1))).all()
            number = (await connection.execute(releases_count_query(filters))).scalar_one()
        page = tuple(map(_summary, found[:limit]))
        last = page[-1] if len(found) > limit else None
        following = None
        if last is not None and last.updated_at is not None:
            following = PageKey(at=last.updated_at, id=last.release_id)
        count = CappedCount(min(number, _COUNTED_MAX), capped=number > _COUNTED_MAX)
        return ReleasePage(releases=page, count=count, next=following)

    async def named(
        self, release_date: date, number: int, component: UUID | None, limit: int
    ) -> Sequence[ReleaseSummary]:
        query = select(*_SUMMARY_COLUMNS).where(
            _RELEASES.release_date == release_date,
            _RELEASES.release_number == number,
            *([] if component is None else [_RELEASES.component_id == component]),
        )
        async with self._connected() as connection:
            return [_summary(row) for row in await connection.execute(query.limit(limit))]

    async def release(self, release_id: UUID) -> ReleaseDetail | None:
        async with self._connected() as connection:
            found = (await connection.execute(release_query(release_id))).one_or_none()
            if found is None:
                return None
            attempts = (await connection.execute(attempts_query(release_id))).all()
            logged = (await connection.execute(activities_query(release_id))).all()
            rejected = (await connection.execute(dead_letters_query(release_id))).all()
        cut = {
            "attempts": len(attempts) > _ATTEMPTS_MAX,
            "activities": len(logged) > _ACTIVITIES_MAX,
            "dead_letters": len(rejected) > _DEAD_LETTERS_MAX,
        }
        return ReleaseDetail(
            release=_summary(found),
            version=found.version,
            attempts=tuple(
                EnvironmentAttempt(environment_id=row.environment_id, attempt=_attempt(row), comment=row.comment)
                for row in reversed(attempts[:_ATTEMPTS_MAX])
            ),
            activities=tuple(_activity(row) for row in reversed(logged[:_ACTIVITIES_MAX])),
            dead_letters=tuple(rejection(row, TYPED) for row in reversed(rejected[:_DEAD_LETTERS_MAX])),
            cut=tuple(name for name, more in cut.items() if more),
        )

    async def environment_ids(self) -> Sequence[str]:
        """Every environment that had a deployment."""
        async with self._connected() as connection:
            query = select(_DEPLOYMENTS.environment_id).distinct().order_by(_DEPLOYMENTS.environment_id)
            return list((await connection.execute(query)).scalars())

    async def changes(self, environment_id: str, since: datetime) -> AsyncIterator[DeliveryChange]:
        last: tuple[datetime, UUID] | None = None
        while True:
            async with self._connected() as connection:
                rows = (await connection.execute(changes_query(environment_id, since, last, _CHANGES_PER_PAGE))).all()
            for row in rows:
                yield _change(row)
            if len(rows) < _CHANGES_PER_PAGE:
                return
            last = rows[-1].created_at, rows[-1].id

    async def check(self) -> None:
        """As `worker.db.table_reader.SqlTableReader.check`."""
        async with self._connected() as connection:
            await require_current(connection)

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        """A read-only transaction. Raises Unavailable where its statements take longer than the timeout."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                with translating(self._dialect):
                    async with self._engine.connect() as connection:
                        await connection.execution_options(**READ_ONLY)
                        async with connection.begin():
                            if (bound := self._dialect.statement_bound(self._timeout_seconds)) is not None:
                                await connection.execute(text(bound))
                            yield connection
        except TimeoutError as error:
            raise Unavailable(
                f"the database did not answer within {self._timeout_seconds:g} s (RUDDER_DATABASE_TIMEOUT_SECONDS); "
                "use filters to read less"
            ) from error


def environments_query(filters: EnvironmentFilters, limit: int) -> Select[Any]:
    """Of each cell: its latest successes, later successes that were rolled back, and its attempts of the latest event;
    those of one moment all. The cells are in order.
    """
    attempts = _attempts_of_cells(filters)
    columns = attempts.c
    key = (columns.environment_id, columns.component_id, columns.deployment_track_id)
    succeeded_at = case((columns.status == _SUCCESS, columns.deployed_at))
    cells = (
        select(*key, func.max(succeeded_at).label("latest_success"), func.max(columns.updated_at).label("latest_event"))
        .group_by(*key)
        .order_by(*key)
        .limit(limit)
        .cte("cells")
    )
    wanted = or_(
        and_(columns.status == _SUCCESS, columns.deployed_at == cells.c.latest_success),
        and_(columns.status == _ROLLED_BACK, columns.deployed_at > cells.c.latest_success),
        columns.updated_at == cells.c.latest_event,
    )
    return (
        select(*_CELL_COLUMNS, _RELEASES.organization_id, *_ATTEMPT_COLUMNS)
        .select_from(cells.join(attempts, and_(*(column == cells.c[column.name] for column in key))))
        .join(_TABLES["release_deployments"], _DEPLOYMENTS.id == columns.id)
        .join(_TABLES["releases"], _RELEASES.id == _DEPLOYMENTS.release_mgt_id)
        .where(wanted)
        .order_by(*_CELL_COLUMNS, _DEPLOYMENTS.id)
    )


def _attempts_of_cells(filters: EnvironmentFilters) -> CTE:
    """Few columns: a database may store all attempts for a moment."""
    wanted = {
        _DEPLOYMENTS.environment_id: filters.environment,
        _RELEASES.component_id: filters.component,
        _RELEASES.organization_id: filters.organization,
    }
    return (
        select(*_CELL_COLUMNS, _DEPLOYMENTS.id, _DEPLOYMENTS.status, _DEPLOYMENTS.updated_at, _DEPLOYMENTS.deployed_at)
        .join_from(_TABLES["release_deployments"], _TABLES["releases"], _RELEASES.id == _DEPLOYMENTS.release_mgt_id)
        .where(
            _DEPLOYMENTS.status != _CANCELLED,
            *(column == value for column, value in wanted.items() if value is not None),
        )
        .cte("attempts")
    )


def releases_query(filters: ReleaseFilters, after: PageKey | None, limit: int) -> Select[Any]:
    query = select(*_SUMMARY_COLUMNS).where(*_release_conditions(filters))
    updated_at, id_ = _RELEASES.updated_at, _RELEASES.id
    if after is not None:
        # Not one OR: the first condition is a bound for a scan of the index.
        query = query.where(updated_at <= after.at, or_(updated_at < after.at, id_ < after.id))
    return query.order_by(updated_at.desc(), id_.desc()).limit(limit)


def releases_count_query(filters: ReleaseFilters) -> Select[Any]:
    """Counts one more than _COUNTED_MAX at most."""
    counted = select(literal(1).label("one")).where(*_release_conditions(filters)).limit(_COUNTED_MAX + 1)
    return select(func.count()).select_from(counted.subquery())


def _release_conditions(filters: ReleaseFilters) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [_RELEASES.updated_at.is_not(None)]
    if filters.status is not None:
        found.append(_RELEASES.status == filters.status)
    if filters.component is not None:
        found.append(_RELEASES.component_id == filters.component)
    if filters.since is not None:
        found.append(_RELEASES.updated_at >= filters.since)
    if filters.until is not None:
        found.append(_RELEASES.updated_at < filters.until)
    if filters.environment is not None:
        deployed = select(_DEPLOYMENTS.id).where(
            _DEPLOYMENTS.release_mgt_id == _RELEASES.id, _DEPLOYMENTS.environment_id == filters.environment
        )
        found.append(exists(deployed))
    return found


def release_query(release_id: UUID) -> Select[Any]:
    joined = _TABLES["releases"].outerjoin(_TABLES["release_versions"], _VERSIONS.release_mgt_id == _RELEASES.id)
    return select(*_SUMMARY_COLUMNS, _VERSIONS.version).select_from(joined).where(_RELEASES.id == release_id)


def attempts_query(release_id: UUID) -> Select[Any]:
    return (
        select(_DEPLOYMENTS.environment_id, _DEPLOYMENTS.comment, *_ATTEMPT_COLUMNS)
        .join_from(_TABLES["release_deployments"], _TABLES["releases"], _RELEASES.id == _DEPLOYMENTS.release_mgt_id)
        .where(_DEPLOYMENTS.release_mgt_id == release_id)
        .order_by(_DEPLOYMENTS.created_at.desc(), _DEPLOYMENTS.attempt.desc(), _DEPLOYMENTS.id)
        .limit(_ATTEMPTS_MAX + 1)
    )


def activities_query(release_id: UUID) -> Select[Any]:
    columns = [_LOG[name] for name in ACTIVITY_READ]
    query = select(*columns).where(_LOG.release_mgt_id == release_id)
    return query.order_by(_LOG.created_at.desc(), _LOG.id.desc()).limit(_ACTIVITIES_MAX + 1)


def dead_letters_query(release_id: UUID) -> Select[Any]:
    """Neither resolved nor dismissed."""
    dismissed = select(_DISMISSALS.rejection_id).where(_DISMISSALS.rejection_id == _REJECTIONS.id)
    return (
        select(*(_REJECTIONS[name] for name in REJECTIONS))
        .where(_REJECTIONS.release_mgt_id == release_id, _REJECTIONS.resolved_at.is_(None), ~exists(dismissed))
        .order_by(_REJECTIONS.created_at.desc(), _REJECTIONS.id.desc())
        .limit(_DEAD_LETTERS_MAX + 1)
    )


def changes_query(environment_id: str, since: datetime, after: tuple[datetime, UUID] | None, limit: int) -> Select[Any]:
    """The ends of attempts, in the order of time."""
    earlier = _TABLES["release_deployments"].alias("earlier").c
    succeeded_before = select(earlier.id).where(
        earlier.release_mgt_id == _LOG.release_mgt_id,
        earlier.environment_id == _LOG.environment_id,
        earlier.deployed_at < _LOG.created_at,
    )
    metadata = _RELEASES["metadata"]
    relevant = or_(metadata.like("%committed_at%"), metadata.like("%unplanned%"))
    query = (
        select(
            _LOG.id,
            _LOG.created_at,
            _LOG.status,
            _LOG.environment_id,
            _LOG.release_deployment_id.label("deployment_id"),
            _RELEASES.component_id,
            _RELEASES.deployment_track_id,
            *_NAME_COLUMNS,
            case((exists(succeeded_before), literal(0)), else_=literal(1)).label("first_success"),
            case((relevant, metadata), else_=null()).label("metadata"),
            case((_LOG.status == _ROLLED_BACK, _LOG.activity_data), else_=null()).label("activity_data"),
        )
        .join_from(_TABLES["release_activity_logs"], _TABLES["releases"], _RELEASES.id == _LOG.release_mgt_id)
        .where(_ENDED, _LOG.environment_id == environment_id, _LOG.release_deployment_id.is_not(None))
        .where(_LOG.created_at >= (since if after is None else after[0]))
    )
    if after is not None:
        query = query.where(or_(_LOG.created_at > after[0], _LOG.id > after[1]))
    return query.order_by(_LOG.created_at, _LOG.id).limit(limit)


def _cell(row: Any) -> Cell:
    return Cell(
        environment_id=row.environment_id, component_id=row.component_id, deployment_track_id=row.deployment_track_id
    )


def _name(row: Any) -> str:
    return f"{row.release_date.isoformat().replace('-', '')}-{row.release_number}"


def _attempt(row: Any) -> Attempt:
    return Attempt(
        deployment_id=row.deployment_id,
        release_id=row.release_id,
        release_name=_name(row),
        config_revision=row.config_revision,
        attempt=row.attempt,
        status=row.deployment_status,
        created_at=row.opened_at,
        updated_at=row.changed_at,
        deployed_at=row.deployed_at,
        deployed_by=row.deployed_by,
        commit_hash=row.commit_hash,
        image_tag=row.image_tag,
    )


def _summary(row: Any) -> ReleaseSummary:
    return ReleaseSummary(
        release_id=row.release_id,
        name=_name(row),
        status=row.status,
        organization_id=row.organization_id,
        project_id=row.project_id,
        component_id=row.component_id,
        deployment_track_id=row.deployment_track_id,
        description=row.description,
        created_at=row.created_at,
        created_by=row.created_by,
        updated_at=row.updated_at,
        commit_hash=row.commit_hash,
        image_tag=row.image_tag,
    )


def _activity(row: Any) -> Activity:
    """Another application may have written an activity without data."""
    return activity(row, TYPED)


def _change(row: Any) -> DeliveryChange:
    metadata = _object(row.metadata)
    committed_at, unplanned = metadata.get("committed_at"), metadata.get("unplanned")
    change = _object(row.activity_data).get("change")
    previous = change.get("from") if isinstance(change, dict) else None
    return DeliveryChange(
        id=row.id,
        time=row.created_at,
        end=End(row.status),
        previous=previous if isinstance(previous, str) else None,
        cell=_cell(row),
        deployment_id=row.deployment_id,
        release_id=row.release_id,
        release_name=_name(row),
        first=bool(row.first_success),
        committed_at=_time(committed_at),
        unplanned=unplanned if isinstance(unplanned, bool) else None,
    )


def _object(json_text: str | None) -> dict[str, Any]:
    """The JSON object; an empty one for a text that is none."""
    try:
        value = json.loads(json_text or "{}")
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _time(value: object) -> datetime | None:
    try:
        return parse_time(value) if isinstance(value, str) else None
    except ValueError:
        return None
