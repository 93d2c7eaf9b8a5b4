"""`worker.dead_letters.selection.DeadLetters`: the rejections and their dismissals, which it also writes."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, distinct, func, insert, literal, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from worker.db.columns import REJECTIONS
from worker.db.dialect import Dialect, reading, translating
from worker.db.models import Base
from worker.db.row_decoder import TYPED, rejection
from worker.pages import CappedCount, PageKey
from worker.stored_dead_letters import DeadLetter, DeadLetterState, Dismissal, Filters, Group, RedriveLine, Summary

_REJECTIONS = Base.metadata.tables["release_event_rejections"]
_DISMISSALS = Base.metadata.tables["release_event_dismissals"]
_REDRIVES = Base.metadata.tables["redrive_records"]
_ACTIONS = Base.metadata.tables["operator_actions"]
_JOINED = _REJECTIONS.outerjoin(_DISMISSALS, _DISMISSALS.c.rejection_id == _REJECTIONS.c.id)
_COLUMNS = (
    *(_REJECTIONS.c[name] for name in REJECTIONS),
    _DISMISSALS.c.dismissed_at,
    _DISMISSALS.c.dismissed_by,
    _DISMISSALS.c.note,
)

_GROUPED = {
    "reason": _REJECTIONS.c.reason,
    "source": _REJECTIONS.c.event_source,
    "type": _REJECTIONS.c.event_type,
}
_REDRIVES_MAX = 20

_IDS_MAX = 200
"""Of one statement: SQL Server takes no more than 2,100 parameters."""

_ESCAPE = "!"


class SqlDeadLetters:
    """On the engine of its caller."""

    def __init__(self, engine: AsyncEngine, dialect: Dialect) -> None:
        self._engine = engine
        self._dialect = dialect

    async def page(self, filters: Filters, after: PageKey | None, limit: int) -> list[DeadLetter]:
        async with self._connected() as connection:
            return [_dead_letter(row) for row in await connection.execute(page_query(filters, after, limit))]

    async def count(self, filters: Filters, limit: int) -> CappedCount:
        async with self._connected() as connection:
            number = (await connection.execute(count_query(filters, limit))).scalar_one()
        return CappedCount(min(number, limit), capped=number > limit)

    async def by_ids(self, ids: Sequence[UUID]) -> list[DeadLetter]:
        found: list[DeadLetter] = []
        for first in range(0, len(ids), _IDS_MAX):
            query = select(*_COLUMNS).select_from(_JOINED).where(_REJECTIONS.c.id.in_(ids[first : first + _IDS_MAX]))
            async with self._connected() as connection:
                found += [_dead_letter(row) for row in await connection.execute(query)]
        return sorted(found, key=lambda one: one.key, reverse=True)

    async def groups(self, filters: Filters, column: str, limit: int) -> list[Group]:
        """As `worker.dead_letters.grouping.Grouped`."""
        async with self._connected() as connection:
            return [Group(**row) for row in (await connection.execute(group_query(filters, column, limit))).mappings()]

    async def summaries(self, filters: Filters, limit: int) -> list[Summary]:
        columns = _REJECTIONS.c
        parts = (columns.reason, columns.detail, columns.created_at, columns.release_mgt_id)
        query = page_query(filters, None, limit).with_only_columns(*parts, maintain_column_froms=True)
        async with self._connected() as connection:
            return [Summary(*row) for row in await connection.execute(query)]

    async def redrives_of(self, id_: UUID) -> list[RedriveLine]:
        """As `worker.dead_letters.inspection.Redrives`."""
        async with self._connected() as connection:
            return [RedriveLine(**row) for row in (await connection.execute(redrives_query(id_))).mappings()]

    async def dismiss(self, ids: Sequence[UUID], dismissal: Dismissal) -> list[UUID]:
        """As `worker.dead_letters.dismissal.Dismissals`."""
        with translating(self._dialect):
            async with self._engine.begin() as connection:
                found = list((await connection.execute(_open_ids(ids))).scalars())
                if found:
                    await connection.execute(
                        insert(_DISMISSALS),
                        [
                            {
                                "rejection_id": id_,
                                "dismissed_at": dismissal.dismissed_at,
                                "dismissed_by": dismissal.dismissed_by,
                                "note": dismissal.note,
                            }
                            for id_ in found
                        ],
                    )
                return found

    def _connected(self) -> AbstractAsyncContextManager[AsyncConnection]:
        return reading(self._engine, self._dialect)


def page_query(filters: Filters, after: PageKey | None, limit: int) -> Select[Any]:
    created_at, id_ = _REJECTIONS.c.created_at, _REJECTIONS.c.id
    query = select(*_COLUMNS).select_from(_JOINED).where(*_conditions(filters))
    if after is not None:
        # Not one OR: the first condition is a bound for a scan of the index.
        query = query.where(created_at <= after.at, or_(created_at < after.at, id_ < after.id))
    return query.order_by(created_at.desc(), id_.desc()).limit(limit)


def count_query(filters: Filters, limit: int) -> Select[Any]:
    """Counts one more than `limit` at most."""
    counted = select(literal(1).label("one")).select_from(_JOINED).where(*_conditions(filters)).limit(limit + 1)
    return select(func.count()).select_from(counted.subquery())


def group_query(filters: Filters, column: str, limit: int) -> Select[Any]:
    """`column`: one of `reason`, `source`, `type`."""
    value, columns = _GROUPED[column], _REJECTIONS.c
    query = select(
        value.label("value"),
        func.count().label("count"),
        func.min(columns.created_at).label("first"),
        func.max(columns.created_at).label("last"),
        func.count(distinct(columns.release_mgt_id)).label("releases"),
    )
    query = query.select_from(_JOINED).where(*_conditions(filters)).group_by(value)
    return query.order_by(func.count().desc(), value).limit(limit)


def redrives_query(id_: UUID) -> Select[Any]:
    record, action = _REDRIVES.c, _ACTIONS.c
    query = select(action.started_at, action.operator, record.state, record.outcome, record.detail)
    query = query.select_from(_REDRIVES.join(_ACTIONS, action.id == record.action_id))
    return query.where(record.rejection_id == id_).order_by(action.started_at.desc()).limit(_REDRIVES_MAX)


def _open_ids(ids: Sequence[UUID]) -> Select[Any]:
    conditions = _conditions(Filters(state=DeadLetterState.OPEN))
    return select(_REJECTIONS.c.id).select_from(_JOINED).where(_REJECTIONS.c.id.in_(ids), *conditions)


def _conditions(filters: Filters) -> list[ColumnElement[bool]]:
    columns = _REJECTIONS.c
    equal = {
        columns.reason: filters.reason,
        columns.event_source: filters.source,
        columns.event_type: filters.type,
        columns.release_mgt_id: filters.release,
        columns.topic: filters.topic,
    }
    found: list[ColumnElement[bool]] = [column == value for column, value in equal.items() if value is not None]
    if filters.since is not None:
        found.append(columns.created_at >= filters.since)
    if filters.until is not None:
        found.append(columns.created_at < filters.until)
    if filters.detail_contains is not None:
        found.append(columns.detail.ilike(f"%{_escaped(filters.detail_contains)}%", escape=_ESCAPE))
    unresolved, dismissed = columns.resolved_at.is_(None), _DISMISSALS.c.rejection_id
    match filters.state:
        case DeadLetterState.OPEN:
            found.append(and_(unresolved, dismissed.is_(None)))
        case DeadLetterState.RESOLVED:
            found.append(columns.resolved_at.is_not(None))
        case DeadLetterState.DISMISSED:
            found.append(and_(unresolved, dismissed.is_not(None)))
        case DeadLetterState.ALL:
            pass
    return found


def _escaped(text: str) -> str:
    """The text itself in a pattern of LIKE, whose wildcards on SQL Server include `[`."""
    return "".join(f"{_ESCAPE}{char}" if char in f"{_ESCAPE}%_[" else char for char in text)


def _dead_letter(row: Any) -> DeadLetter:
    dismissal = None
    if row.dismissed_at is not None:
        dismissal = Dismissal(dismissed_at=row.dismissed_at, dismissed_by=row.dismissed_by, note=row.note)
    return DeadLetter(rejection=rejection(row[: len(REJECTIONS)], TYPED), dismissal=dismissal)
