"""`worker.database_behind.KnownEvents`: which events are in the activity log or among the rejections."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from worker.db.dialect import Dialect, translating
from worker.db.session import Connections

# ruff: noqa: S608 - the statements are constants of this program; values are parameters

_ID_COUNTS: Final = (1, 200)
"""How many ids one statement names: few numbers, since a database keeps a plan for each."""


def statement(count: int) -> str:
    """SQL for `count` ids."""
    ids = ", ".join(f":id_{number}" for number in range(count))
    return (
        f"SELECT id FROM release_activity_logs WHERE id IN ({ids}) "
        f"UNION ALL SELECT id FROM release_event_rejections WHERE id IN ({ids})"
    )


class SqlKnownEvents:
    """On the connections of messages."""

    def __init__(self, connections: Connections, dialect: Dialect) -> None:
        self._connections = connections
        self._dialect = dialect

    async def known(self, ids: Sequence[UUID]) -> set[UUID]:
        """As `worker.database_behind.KnownEvents`."""
        found: set[UUID] = set()
        for first in range(0, len(ids), _ID_COUNTS[-1]):
            some = ids[first : first + _ID_COUNTS[-1]]
            count = next(count for count in _ID_COUNTS if len(some) <= count)
            padded = [*some, *[some[-1]] * (count - len(some))]
            values = {f"id_{number}": id_ for number, id_ in enumerate(padded)}
            own = self._dialect.to_statement(statement(count))
            with translating(self._dialect):
                async with self._connections.begin() as session:
                    rows = await session.fetch(own, [values[name] for name in own.names])
                    found.update(session.reader.uuid(row[0]) for row in rows)
        return found
