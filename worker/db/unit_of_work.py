"""`worker.ports.UnitOfWork`: what one message loads and writes, on one connection."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol
from uuid import UUID

from worker.db.pointers import ComponentKey, Pointers
from worker.db.queries import ACTIVITIES, REJECTION, Fragments, queries
from worker.db.row_decoder import Loaded, Reader, Row, activity, decode, rejection
from worker.db.statement import Statement
from worker.db.writes import Batch, batch_of
from worker.rules.identity import activity_ids
from worker.rules.query import Query, QueryVariant
from worker.rules.rows import Rejection
from worker.rules.state import Changes, State


class Session(Protocol):
    """A connection for one message. Nothing is held between its calls, each of which is one round trip."""

    reader: Reader

    async def fetch(self, statement: Statement, values: Sequence[object]) -> Sequence[Row]: ...

    async def execute(self, statement: Statement, values: Sequence[object]) -> None:
        """One statement without rows, which commits by itself."""
        ...

    async def write(self, batch: Batch) -> None:
        """Write all of it and commit, or nothing.

        Raises:
            StaleRead, Conflict: what was read is no longer true.
        """
        ...

    async def ping(self, pointers: Pointers | None) -> None:
        """Find an outage, and what else an operator has to restore before the worker can write: a table, a privilege.

        `pointers`: None where `app_environments` is not written to.
        """
        ...


class Connections(Protocol):
    """The connections of a store."""

    def begin(self) -> AbstractAsyncContextManager[Session]:
        """A connection for one message. What is not committed when it is left is rolled back."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Queries:
    """Every statement that loads, for the driver of one database. `values_of`: what takes a variant's values."""

    by_variant: Mapping[QueryVariant, tuple[Statement, Callable[[Query], tuple[Any, ...]]]]
    activities: Statement
    rejection: Statement

    @classmethod
    def of(
        cls, fragments: Fragments, component: ComponentKey | None, *, to_statement: Callable[[str], Statement]
    ) -> "Queries":
        """`to_statement`: writes the parameters as the driver takes them."""
        statements = {variant: to_statement(sql) for variant, sql in queries(fragments, component).items()}
        return cls(
            by_variant={variant: (statement, statement.getter()) for variant, statement in statements.items()},
            activities=to_statement(ACTIVITIES),
            rejection=to_statement(REJECTION),
        )


class SqlUnitOfWork:
    """One message's turn on a connection: `load`, and then perhaps `write`, which commits."""

    def __init__(self, session: Session, statements: Queries, pointers: Pointers | None) -> None:
        self._session = session
        self._queries = statements
        self._pointers = pointers
        self._loaded: Loaded | None = None

    async def load(self, query: Query) -> State:
        """As `worker.ports.UnitOfWork` says. A second round trip only for an event that is known, or a correction."""
        statement, values_of = self._queries.by_variant[query.variant]
        rows = await self._session.fetch(statement, values_of(query))
        loaded = decode(rows, query, self._session.reader)
        if loaded.logged or loaded.rejected:
            loaded = replace(loaded, state=await self._with_known(loaded))
        if query.corrects is not None:
            loaded = replace(loaded, state=replace(loaded.state, corrected=await self._rejection(query.corrects)))
        self._loaded = loaded
        return loaded.state

    async def write(self, changes: Changes) -> None:
        """As `worker.ports.UnitOfWork` says."""
        if self._loaded is None:
            raise RuntimeError("nothing was loaded, so there is nothing that the changes rest on")
        await self._session.write(batch_of(changes, self._loaded, self._pointers))

    async def _with_known(self, loaded: Loaded) -> State:
        """The state, with what is known of the event itself."""
        query, read = loaded.query, self._session.reader
        if loaded.logged and query.identity is not None:
            source, event_id = query.identity
            ids = activity_ids(source=source, event_id=event_id)
            rows = await self._session.fetch(self._queries.activities, ids)
            by_id = {one.id: one for one in [activity(row, read) for row in rows]}
            return replace(loaded.state, activities=tuple(by_id[id_] for id_ in ids if id_ in by_id))
        if loaded.rejected:
            return replace(loaded.state, rejection=await self._rejection(query.event_id))
        return loaded.state

    async def _rejection(self, id_: UUID) -> Rejection | None:
        rows = await self._session.fetch(self._queries.rejection, (id_,))
        return rejection(rows[0], self._session.reader) if rows else None
