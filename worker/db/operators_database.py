"""What operators' commands read and write in the database, on one engine."""

from worker.db.action_log import SqlActionLog
from worker.db.dead_letters import SqlDeadLetters
from worker.db.engine import open_engine
from worker.db.table_reader import SqlTableReader


class OperatorsDatabase:
    """Opened by `open`; its caller closes it."""

    def __init__(self, tables: SqlTableReader, dead_letters: SqlDeadLetters, actions: SqlActionLog) -> None:
        self.tables = tables
        self.dead_letters = dead_letters
        self.actions = actions

    @classmethod
    def open(cls, url: str, *, timeout_seconds: float) -> "OperatorsDatabase":
        """Nothing is connected to yet. Raises ConfigurationError as `worker.db.engine.open_engine`."""
        engine, dialect = open_engine(url, timeout_seconds=timeout_seconds)
        return cls(SqlTableReader(engine, dialect), SqlDeadLetters(engine, dialect), SqlActionLog(engine, dialect))

    async def check(self) -> None:
        """As `SqlTableReader.check`."""
        await self.tables.check()

    async def close(self) -> None:
        await self.tables.close()
