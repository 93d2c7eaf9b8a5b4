"""`worker.operator_actions.ActionLog`: the table `operator_actions`."""

import json
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from worker.db.dialect import Dialect, translating
from worker.db.engine import open_engine
from worker.db.models import OperatorAction
from worker.operator_actions import DETAIL_CHARS_MAX, Action, Progress


class SqlActionLog:
    """On the engine of its caller, or opened by `open`; then its caller closes it."""

    def __init__(self, engine: AsyncEngine, dialect: Dialect) -> None:
        self._engine = engine
        self._dialect = dialect

    @classmethod
    def open(cls, url: str, *, timeout_seconds: float) -> "SqlActionLog":
        """Nothing is connected to yet. Raises ConfigurationError as `worker.db.engine.open_engine`."""
        return cls(*open_engine(url, timeout_seconds=timeout_seconds))

    async def close(self) -> None:
        await self._engine.dispose()

    async def last(self, command: str) -> tuple[dict[str, Any], str | None] | None:
        """The arguments and the result of the command's last action; None: there is none. Raises Unavailable."""
        query = (
            select(OperatorAction.arguments, OperatorAction.result)
            .where(OperatorAction.command == command)
            .order_by(OperatorAction.started_at.desc())
            .limit(1)
        )
        with translating(self._dialect):
            async with self._engine.connect() as connection:
                row = (await connection.execute(query)).one_or_none()
        return None if row is None else (json.loads(row.arguments), row.result)

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
