"""`worker.ports.Store`: the one place where a message's turn at the database begins and ends."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from schemas.event import Event
from worker.db.dialect import Dialect, translating
from worker.db.engine import open_engine
from worker.db.pointers import Pointers
from worker.db.question import question
from worker.db.revisions import require_current
from worker.db.row_decoder import Answer, activity, answer, rejection
from worker.db.unit_of_work import Basis, Conversation, Conversations
from worker.db.writing import claim_of, number_claim_of, writes
from worker.ports import Decider
from worker.rules.identity import activity_ids
from worker.rules.message import Message
from worker.rules.state import Outcome, State
from worker.telemetry import LogEvent

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.db")


class SqlStore:
    """Opened by `open`, and closed by whoever opened it."""

    def __init__(self, engine: AsyncEngine, dialect: Dialect, conversations: Conversations) -> None:
        self._engine = engine
        self._dialect = dialect
        self._conversations = conversations
        self._pointers: Pointers | None = None

    @classmethod
    def open(cls, url: str, *, connections_max: int, timeout_seconds: float) -> "SqlStore":
        """Nothing is connected to yet.

        Raises:
            ConfigurationError: as `worker.db.engine.open_engine`.
        """
        engine, dialect = open_engine(url, timeout_seconds=timeout_seconds)
        conversations = dialect.conversations(engine, connections_max=connections_max, timeout_seconds=timeout_seconds)
        return cls(engine, dialect, conversations)

    async def close(self) -> None:
        await self._conversations.close()
        await self._engine.dispose()

    async def check(self) -> None:
        """Look whether the tables are those that this version was written for, and what app_environments is like.

        Raises:
            Unavailable: the database does not answer.
            ConfigurationError: it lets nobody in, or was not migrated.
        """
        await self.connect()
        async with self._connected() as connection:
            await require_current(connection)
            self._pointers = await Pointers.look_up(connection, fragments=self._dialect.keys)
            advice = await self._dialect.advice(connection)
        await self.ping()
        if self._pointers is None:
            _log.warning(LogEvent.ENVIRONMENT_POINTERS_DISABLED)
        for line in advice:
            _log.warning(LogEvent.DATABASE_ADVICE, advice=line)

    async def advice(self) -> Sequence[str]:
        """What an operator or a DBA should know of the database, a line each.

        Raises:
            Unavailable, ConfigurationError: as `check`.
        """
        async with self._connected() as connection:
            return await self._dialect.advice(connection)

    async def connect(self) -> None:
        """Take a connection as a message does, and give it back.

        Raises:
            Unavailable: the database does not answer.
            ConfigurationError: it lets nobody in, or not in a way that the worker can use.
        """
        with translating(self._dialect):
            async with self._conversations.begin():
                pass

    async def ping(self) -> None:
        with translating(self._dialect):
            async with self._conversations.begin() as conversation:
                await conversation.ping(self._pointers)

    async def transact(self, message: Message, decider: Decider) -> Outcome:
        """As `worker.ports.Store` says."""
        asked = question(message, pointers=self._pointers is not None)
        with translating(self._dialect):
            async with self._conversations.begin() as conversation:
                rows = await conversation.ask(asked, self._pointers)
                found = answer(rows, conversation.read, track=asked.track)
                outcome = decider(await self._known(found, message, conversation), message)
                if due := writes(outcome, self._pointers):
                    release = found.state.release
                    release_id = message.content.data.release_id if isinstance(message.content, Event) else None
                    basis = Basis(
                        event_id=message.id,
                        claim=claim_of(outcome),
                        release_id=release_id,
                        found=release is not None,
                        version=found.version,
                        number=number_claim_of(outcome, releases=found.claims),
                    )
                    await conversation.write(due, basis)
        return outcome

    async def _known(self, found: Answer, message: Message, conversation: Conversation) -> State:
        """The state with what is known of the event itself: nothing, as a rule, and then nothing more is asked."""
        content, read = message.content, conversation.read
        if found.logged and content.source is not None and content.id is not None:
            ids = activity_ids(source=content.source, event_id=content.id)
            by_id = {one.id: one for one in [activity(row, read) for row in await conversation.activities(ids)]}
            return replace(found.state, activities=tuple(by_id[id_] for id_ in ids if id_ in by_id))
        if found.rejected:
            row = await conversation.rejection(message.id)
            return replace(found.state, rejection=None if row is None else rejection(row, read))
        return found.state

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction, which is committed at the end; the driver's errors become the worker's."""
        with translating(self._dialect):
            async with self._engine.connect() as connection, connection.begin():
                yield connection
