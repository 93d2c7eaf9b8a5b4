"""`worker.stored_redrives.Journal`: the table `redrive_records`."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from sqlalchemy import Update, and_, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from worker.db.dialect import Dialect, translating
from worker.db.models import OperatorAction, RedriveRecord
from worker.rules.message import RecordPosition
from worker.stored_redrives import Held, JournalRow, Pinned, Settled, State, StoredAction

DETAIL_CHARS_MAX = 1_000

_IDS_MAX = 200
"""SQL Server takes no more than 2,100 parameters; a row has nine."""

_UNSETTLED = RedriveRecord.state.in_((State.SENDING.value, State.SENT.value))


class SqlRedriveJournal:
    """On the engine of its caller. While a row is in SENDING, its `detail` has the claim."""

    def __init__(self, engine: AsyncEngine, dialect: Dialect) -> None:
        self._engine = engine
        self._dialect = dialect

    async def action(self, action_id: UUID) -> StoredAction | None:
        columns = (OperatorAction.command, OperatorAction.arguments, OperatorAction.plan_sha256)
        async with self._begun() as connection:
            row = (await connection.execute(select(*columns).where(OperatorAction.id == action_id))).one_or_none()
        if row is None:
            return None
        arguments: Mapping[str, Any] = json.loads(row.arguments)
        return StoredAction(command=row.command, arguments=arguments, plan_sha256=row.plan_sha256)

    async def rows(self, action_id: UUID) -> list[JournalRow]:
        query = (
            select(RedriveRecord.__table__).where(RedriveRecord.action_id == action_id).order_by(RedriveRecord.position)
        )
        async with self._begun() as connection:
            return [_row(row) for row in await connection.execute(query)]

    async def held(self, rejection_ids: Sequence[UUID]) -> dict[UUID, UUID]:
        found: dict[UUID, UUID] = {}
        async with self._begun() as connection:
            for first in range(0, len(rejection_ids), _IDS_MAX):
                found |= await _held(connection, rejection_ids[first : first + _IDS_MAX])
        return found

    async def plan(self, action_id: UUID, rows: Sequence[JournalRow]) -> None:
        async with self._begun() as connection:
            for first in range(0, len(rows), _IDS_MAX):
                values = [_values(action_id, row) for row in rows[first : first + _IDS_MAX]]
                await connection.execute(insert(RedriveRecord), values)

    async def sending(self, action_id: UUID, row: JournalRow, *, end_offset: int, claim: str) -> None:
        statement = claim_statement(action_id, row, end_offset=end_offset, claim=claim)
        try:
            async with self._begun() as connection:
                changed = (await connection.execute(statement)).rowcount
        except IntegrityError as error:  # the unique index: another redrive has the rejection
            found = await self.held([row.pinned.rejection_id])
            raise Held(found.get(row.pinned.rejection_id, action_id), row.pinned.rejection_id) from error
        if not changed:
            raise Held(action_id, row.pinned.rejection_id)

    async def sent(self, action_id: UUID, number: int, *, offset: int) -> None:
        await self._update(action_id, number, state=State.SENT.value, sent_offset=offset, detail=None)

    async def settled(self, action_id: UUID, number: int, outcome: Settled, detail: str | None) -> None:
        text = detail and detail[:DETAIL_CHARS_MAX]
        await self._update(action_id, number, state=State.SETTLED.value, outcome=outcome.value, detail=text)

    async def _update(self, action_id: UUID, number: int, **values: Any) -> None:
        async with self._begun() as connection:
            await connection.execute(update(RedriveRecord).where(_is(action_id, number)).values(**values))

    @asynccontextmanager
    async def _begun(self) -> AsyncIterator[AsyncConnection]:
        """One transaction. An IntegrityError passes as it is."""
        problem: IntegrityError | None = None
        with translating(self._dialect):
            try:
                async with self._engine.begin() as connection:
                    yield connection
            except IntegrityError as error:
                problem = error
        if problem is not None:
            raise problem


def claim_statement(action_id: UUID, row: JournalRow, *, end_offset: int, claim: str) -> Update:
    """To SENDING, if the row is in PLANNED, or in SENDING with this claim or that of `row`."""
    claims = [claim] if row.claim is None else [claim, row.claim]
    claimed = and_(RedriveRecord.state == State.SENDING.value, RedriveRecord.detail.in_(claims))
    statement = (
        update(RedriveRecord)
        .where(_is(action_id, row.number), or_(RedriveRecord.state == State.PLANNED.value, claimed))
        .values(state=State.SENDING.value, end_offset=end_offset, detail=claim)
    )
    if row.state is State.SENDING:
        # The record may be at the earlier end or behind it: a second search must find what this one would.
        statement = statement.values(end_offset=RedriveRecord.end_offset)
    return statement


def _is(action_id: UUID, number: int) -> Any:
    return and_(RedriveRecord.action_id == action_id, RedriveRecord.position == number)


async def _held(connection: AsyncConnection, rejection_ids: Sequence[UUID]) -> dict[UUID, UUID]:
    query = select(RedriveRecord.rejection_id, RedriveRecord.action_id)
    found = await connection.execute(query.where(RedriveRecord.rejection_id.in_(rejection_ids), _UNSETTLED))
    return {row.rejection_id: row.action_id for row in found}


def _values(action_id: UUID, row: JournalRow) -> dict[str, Any]:
    topic, partition, offset = row.pinned.position
    return {
        "action_id": action_id,
        "position": row.number,
        "rejection_id": row.pinned.rejection_id,
        "release_mgt_id": row.release_id,
        "topic": topic,
        "topic_partition": partition,
        "topic_offset": offset,
        "predicted": row.predicted,
        "state": row.state.value,
    }


def _row(row: Any) -> JournalRow:
    state = State(row.state)
    return JournalRow(
        number=row.position,
        pinned=Pinned(row.rejection_id, RecordPosition(row.topic, row.topic_partition, row.topic_offset)),
        release_id=row.release_mgt_id,
        predicted=row.predicted,
        state=state,
        end_offset=row.end_offset,
        sent_offset=row.sent_offset,
        outcome=None if row.outcome is None else Settled(row.outcome),
        detail=None if state is State.SENDING else row.detail,
        claim=row.detail if state is State.SENDING else None,
    )
