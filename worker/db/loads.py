"""What the store loads for messages: one SELECT for many where the database has one, and the SELECT of each kind.

Of several queries of one release the first with an environment has all attempts; the rules merge the states
(`worker.rules.advance.merged`). The first statement reads the release's version: what is read after it is at least as
new, and a change in between fails the write.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

from worker.db.pointers import ComponentKey
from worker.db.queries import Fragments, activities_query, queries, rejection_query
from worker.db.row_decoder import Loaded, Row, activity, decode, rejection
from worker.db.session import Session
from worker.db.statement import Statement
from worker.rules.identity import activity_ids
from worker.rules.query import Query, QueryVariant
from worker.rules.rows import Rejection
from worker.rules.state import State

ATTEMPTS_MAX: Final = 50
"""How many attempts of a release a batched load reads. A release with more takes the statement of each kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchedLoad:
    """One SELECT for many queries. Its rows have the columns of `worker.db.columns.LOADED`, and the position of their
    query, from 1. `values_of`: takes the queries, and of each release the one that the attempts are loaded with.
    """

    statement: Statement
    values_of: Callable[[Sequence[Query], frozenset[int]], Sequence[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loads:
    """Every statement that loads, for the driver of one database. `by_variant`: with what takes a variant's values.
    `batched`: None where the database has none.
    """

    by_variant: Mapping[QueryVariant, tuple[Statement, Callable[[Query], tuple[Any, ...]]]]
    activities: Statement
    rejection: Statement
    batched: BatchedLoad | None = None

    @classmethod
    def of(
        cls,
        fragments: Fragments,
        component: ComponentKey | None,
        *,
        to_statement: Callable[[str], Statement],
        batched: BatchedLoad | None = None,
    ) -> "Loads":
        """`to_statement`: writes the parameters as the driver takes them."""
        statements = {variant: to_statement(sql) for variant, sql in queries(fragments, component).items()}
        return cls(
            by_variant={variant: (statement, statement.getter()) for variant, statement in statements.items()},
            activities=to_statement(activities_query(fragments)),
            rejection=to_statement(rejection_query(fragments)),
            batched=batched,
        )

    async def load(self, session: Session, queries: Sequence[Query]) -> Sequence[State]:
        """The state of each query. One round trip, and more only for events that are known, for corrections, and for
        releases with many attempts.
        """
        if len(queries) == 1:
            found = await self._each(session, queries)
            return [await self._completed(session, found[0])]
        if self.batched is None:
            found = await self._each(session, queries)
        else:
            found = await self._together(session, queries, self.batched)
        return [await self._completed(session, one) for one in found]

    async def _each(self, session: Session, queries: Iterable[Query]) -> list[Loaded]:
        """By the statement of each query's variant."""
        queries = list(queries)
        statements = []
        for query in queries:
            statement, values_of = self.by_variant[query.variant]
            statements.append((statement, values_of(query)))
        rows = await session.fetch_each(statements)
        return [decode(some, query, session.reader) for some, query in zip(rows, queries, strict=True)]

    async def _together(self, session: Session, queries: Sequence[Query], batched: BatchedLoad) -> list[Loaded]:
        first_of: dict[UUID, int] = {}
        for position, query in enumerate(queries):
            if query.environment_id is not None and query.release_id is not None:
                first_of.setdefault(query.release_id, position)
        with_attempts = frozenset(first_of.values())
        rows_of: list[list[Row]] = [[] for _ in queries]
        for row in await session.fetch(batched.statement, batched.values_of(queries, with_attempts)):
            rows_of[row[-1] - 1].append(row)
        found = [decode(rows, query, session.reader) for rows, query in zip(rows_of, queries, strict=True)]
        large = {release_id for release_id, at in first_of.items() if len(found[at].state.deployments) > ATTEMPTS_MAX}
        if large:
            await self._load_attempts(session, queries, found, large)
        return found

    async def _load_attempts(
        self, session: Session, queries: Sequence[Query], found: list[Loaded], large: set[UUID]
    ) -> None:
        """The attempts of releases that have more than a batched load reads, by the statement of each kind."""
        kinds: dict[tuple[object, ...], list[int]] = {}
        for position, query in enumerate(queries):
            if query.release_id in large and query.environment_id is not None:
                kind = (query.release_id, query.variant, query.environment_id, query.config_revision, query.attempt)
                kinds.setdefault(kind, []).append(position)
        loaded = await self._each(session, [queries[positions[0]] for positions in kinds.values()])
        for one, positions in zip(loaded, kinds.values(), strict=True):
            for position in positions:
                state = replace(
                    found[position].state, deployments=one.state.deployments, environments=one.state.environments
                )
                found[position] = replace(found[position], state=state)

    async def _completed(self, session: Session, loaded: Loaded) -> State:
        """The state, with what is known of the event itself and of the rejection that it corrects."""
        query, state = loaded.query, loaded.state
        if loaded.logged and query.identity is not None:
            source, event_id = query.identity
            ids = activity_ids(source=source, event_id=event_id)
            rows = await session.fetch(self.activities, ids)
            by_id = {one.id: one for one in [activity(row, session.reader) for row in rows]}
            state = replace(state, activities=tuple(by_id[id_] for id_ in ids if id_ in by_id))
        elif loaded.rejected:
            state = replace(state, rejection=await self._rejection(session, query.event_id))
        if query.corrects is not None:
            state = replace(state, corrected=await self._rejection(session, query.corrects))
        return state

    async def _rejection(self, session: Session, id_: UUID) -> Rejection | None:
        rows = await session.fetch(self.rejection, (id_,))
        return rejection(rows[0], session.reader) if rows else None
