"""`worker.group_breaker.Openings`: the table `worker_breakers`, by the connections that messages have.

In plain SQL that every database understands, so that a read is one round trip without a transaction.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from worker.db.columns import BREAKERS
from worker.db.dialect import Dialect, translating
from worker.db.row_decoder import Reader, Row
from worker.db.session import Connections
from worker.group_breaker import Opening, Tripped
from worker.rules.errors import Conflict
from worker.rules.message import RecordPosition

# ruff: noqa: S608 - the statements are constants of this program; values are parameters

_TABLE: Final = "worker_breakers"
_WRITTEN: Final = tuple(name for name in BREAKERS if name not in {"closed_at", "closed_by", "note"})
_SELECT: Final = f"SELECT {', '.join(BREAKERS)} FROM {_TABLE}"

CURRENT: Final = f"{_SELECT} WHERE group_id = :group_id AND closed_at IS NULL"
FIND: Final = f"{_SELECT} WHERE id = :id"
PAST: Final = f"{_SELECT} WHERE group_id = :group_id AND closed_at IS NOT NULL ORDER BY opened_at DESC"
RECORD: Final = f"INSERT INTO {_TABLE} ({', '.join(_WRITTEN)}) VALUES ({', '.join(f':{name}' for name in _WRITTEN)})"
CLOSE: Final = (
    f"UPDATE {_TABLE} SET closed_at = :closed_at, closed_by = :closed_by, note = :note "
    "WHERE id = :id AND closed_at IS NULL"
)


class SqlOpenings:
    """On the connections of messages."""

    def __init__(self, connections: Connections, dialect: Dialect) -> None:
        self._connections = connections
        self._dialect = dialect

    async def disconnect(self) -> None:
        """Close the connections, if they are used for nothing else."""
        await self._connections.close()

    async def current(self, group_id: str) -> Opening | None:
        found = await self._fetch(CURRENT, group_id=group_id)
        return found[0] if found else None

    async def find(self, id_: UUID) -> Opening | None:
        found = await self._fetch(FIND, id=id_)
        return found[0] if found else None

    async def past(self, group_id: str, *, limit: int) -> Sequence[Opening]:
        """All are read: they are as few as incidents."""
        return (await self._fetch(PAST, group_id=group_id))[:limit]

    async def record(self, opening: Opening) -> Opening | None:
        try:
            await self._execute(RECORD, **_values(opening))
        except Conflict:  # with the open one of the group, or with its own row after a lost response
            return await self.current(opening.group_id) or await self.find(opening.id)
        return opening

    async def close(self, id_: UUID, *, closed_at: datetime, closed_by: str, note: str) -> bool:
        await self._execute(CLOSE, closed_at=closed_at, closed_by=closed_by, note=note, id=id_)
        found = await self.find(id_)
        return found is not None and (found.closed_at, found.closed_by) == (closed_at, closed_by)

    async def _fetch(self, sql: str, **values: object) -> list[Opening]:
        statement = self._dialect.to_statement(sql)
        with translating(self._dialect):
            async with self._connections.begin() as session:
                rows = await session.fetch(statement, [values[name] for name in statement.names])
                return [_opening(row, session.reader) for row in rows]

    async def _execute(self, sql: str, **values: object) -> None:
        statement = self._dialect.to_statement(sql)
        with translating(self._dialect):
            async with self._connections.begin() as session:
                await session.execute(statement, [values[name] for name in statement.names])


def _values(opening: Opening) -> Mapping[str, object]:
    tripped = opening.tripped
    return {
        "id": opening.id,
        "group_id": opening.group_id,
        "opened_at": opening.opened_at,
        "opened_by": opening.opened_by,
        "window_events": tripped.events,
        "rejected_events": tripped.rejected,
        "reasons": _json(tripped.reasons),
        "sources": _json(tripped.sources),
        **{f"first_{name}": value for name, value in tripped.first._asdict().items()},
        **{f"last_{name}": value for name, value in tripped.last._asdict().items()},
    }


def _opening(row: Row, read: Reader) -> Opening:
    values = dict(zip(BREAKERS, row, strict=True))
    tripped = Tripped(
        rejected=values["rejected_events"],
        events=values["window_events"],
        reasons=json.loads(values["reasons"]),
        sources=json.loads(values["sources"]),
        first=RecordPosition(values["first_topic"], values["first_partition"], values["first_offset"]),
        last=RecordPosition(values["last_topic"], values["last_partition"], values["last_offset"]),
    )
    closed_at = values["closed_at"]
    return Opening(
        id=read.uuid(values["id"]),
        group_id=values["group_id"],
        opened_at=read.time(values["opened_at"]),
        opened_by=values["opened_by"],
        tripped=tripped,
        closed_at=None if closed_at is None else read.time(closed_at),
        closed_by=values["closed_by"],
        note=values["note"],
    )


def _json(counts: Mapping[str, int]) -> str:
    return json.dumps(counts, ensure_ascii=False, separators=(",", ":"))
