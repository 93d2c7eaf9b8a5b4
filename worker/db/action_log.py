"""`worker.operator_actions.ActionLog`: the table `operator_actions`."""

import json
from datetime import datetime

from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncEngine

from worker.db.dialect import Dialect, translating
from worker.db.models import OperatorAction
from worker.operator_actions import DETAIL_CHARS_MAX, Action, Progress


class SqlActionLog:
    """On the engine of its caller."""

    def __init__(self, engine: AsyncEngine, dialect: Dialect) -> None:
        self._engine = engine
        self._dialect = dialect

    async def begin(self, action: Action) -> None:
        row = insert(OperatorAction).values(
            id=action.id,
            started_at=action.started_at,
            operator=action.operator.name,
            host=action.operator.host,
            command=action.command,
            arguments=_json(action.arguments),
            plan_sha256=action.plan_sha256,
        )
        with translating(self._dialect):
            async with self._engine.begin() as connection:
                await connection.execute(row)

    async def finish(self, progress: Progress, *, finished_at: datetime) -> None:
        row = (
            update(OperatorAction)
            .where(OperatorAction.id == progress.action.id)
            .values(
                finished_at=finished_at,
                counts=_json(progress.counts),
                result=progress.result.value,
                detail=progress.detail and progress.detail[:DETAIL_CHARS_MAX],
            )
        )
        with translating(self._dialect):
            async with self._engine.begin() as connection:
                await connection.execute(row)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
