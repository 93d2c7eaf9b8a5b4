"""What operators' commands read and write in the database, on one engine."""

from worker.db.action_log import SqlActionLog
from worker.db.breakers import SqlOpenings
from worker.db.dead_letters import SqlDeadLetters
from worker.db.engine import open_engine
from worker.db.known_events import SqlKnownEvents
from worker.db.redrive_journal import SqlRedriveJournal
from worker.db.table_reader import SqlTableReader


class OperatorsDatabase:
    """Opened by `open`; its caller closes it."""

    def __init__(
        self,
        tables: SqlTableReader,
        dead_letters: SqlDeadLetters,
        actions: SqlActionLog,
        openings: SqlOpenings,
        redrives: SqlRedriveJournal,
        known_events: SqlKnownEvents,
    ) -> None:
        self.tables = tables
        self.openings = openings
        self.dead_letters = dead_letters
        self.actions = actions
        self.redrives = redrives
        self.known_events = known_events

    @classmethod
    def open(cls, url: str, *, timeout_seconds: float) -> "OperatorsDatabase":
        """Nothing is connected to yet. Raises ConfigurationError as `worker.db.engine.open_engine`."""
        engine, dialect = open_engine(url, timeout_seconds=timeout_seconds)
        connections = dialect.connections(lambda: engine, connections_max=1)
        return cls(
            SqlTableReader(engine, dialect),
            SqlDeadLetters(engine, dialect),
            SqlActionLog(engine, dialect),
            SqlOpenings(connections, dialect),
            SqlRedriveJournal(engine, dialect),
            SqlKnownEvents(connections, dialect),
        )

    async def check(self) -> None:
        """As `SqlTableReader.check`."""
        await self.tables.check()

    async def close(self) -> None:
        await self.openings.disconnect()
        await self.tables.close()
