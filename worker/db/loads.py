"""What the store loads for messages: one SELECT for many where the database has one, and the SELECT of each kind.

Of several queries of one release the first with an environment has all attempts; the rules merge the states
(`worker.rules.advance.merged`). The first statement reads the release's version: what is read after it is at least as
new, and a change in between fails the write.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any, Final
from uuid import UUID

from schemas.event import ReleaseReference
from schemas.text import INT_MAX
from worker.db.pointers import ComponentKey
from worker.db.queries import (
    NUMBER_COUNT_QUERY,
    NUMBERS_QUERY,
    RUN_QUERY,
    Fragments,
    activities_query,
    queries,
    rejection_query,
    release_query,
)
from worker.db.row_decoder import Loaded, Row, activity, decode, rejection
from worker.db.session import Session
from worker.db.statement import Statement
from worker.rules.identity import activity_ids
from worker.rules.numbers import next_number
from worker.rules.query import Query, QueryVariant
from worker.rules.rows import Rejection
from worker.rules.state import State

ATTEMPTS_MAX: Final = 50
"""How many attempts of a release a batched load reads. A release with more takes the statement of each kind."""


_ATTEMPTS_LOADED: Final[Mapping[QueryVariant, int]] = {
    QueryVariant.ATTEMPTS: 1,
    QueryVariant.DEPLOYMENT_SUCCEEDED: 2,
    QueryVariant.DEPLOYMENT: 3,
    QueryVariant.DEPLOYMENT_ROLLED_BACK: 4,
}
"""Each loads the attempts of those before it too; DEPLOYMENT_SUCCEEDED loads those of DEPLOYMENT, and the pointer."""


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
    run: Statement
    numbers: Statement
    number_count: Statement
    release: Statement
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
            run=to_statement(RUN_QUERY),
            numbers=to_statement(NUMBERS_QUERY),
            number_count=to_statement(NUMBER_COUNT_QUERY),
            release=to_statement(release_query(fragments)),
            batched=batched,
        )

    async def load(self, session: Session, queries: Sequence[Query]) -> Sequence[State]:
        """The state of each query. One round trip, and more only for events that are known, for corrections, and for
        releases with many attempts. Foreign events take one more for their runs.
        """
        # Before the version is read: a run that is opened in between is met by the insert of its entry.
        runs = await self._runs(session, queries)
        if runs:
            queries = [replace(one, attempt=_run_attempt(one, runs) or one.attempt) for one in queries]
        if len(queries) == 1 or self.batched is None:
            found = await self._each(session, queries)
        else:
            found = await self._together(session, queries, self.batched)
        return [await self._completed(session, one, runs) for one in found]

    async def find_releases(self, session: Session, references: Sequence[ReleaseReference]) -> Sequence[UUID | None]:
        """The release of each reference; None: there is none yet."""
        statements = [(self.release, _values(self.release, _wanted(reference))) for reference in references]
        found = await session.fetch_each(statements)
        return [session.reader.uuid(min(rows, key=itemgetter(0))[1]) if rows else None for rows in found]

    async def _runs(self, session: Session, queries: Sequence[Query]) -> Mapping[UUID, tuple[UUID, int | None]]:
        """The releases and attempts of runs that are known."""
        ids = list(dict.fromkeys(run for query in queries for run in query.runs))
        if not ids:
            return {}
        found = await session.fetch_each([(self.run, (id_,)) for id_ in ids])
        return {
            id_: (session.reader.uuid(rows[0][0]), rows[0][1]) for id_, rows in zip(ids, found, strict=True) if rows
        }

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
        """The attempts of releases that have more than a batched load reads, by one statement for the queries of the
        same attempts: that of the kind which loads the most of them, for as many events as any of them.
        """
        same: dict[tuple[object, ...], list[int]] = {}
        for position, query in enumerate(queries):
            if query.release_id in large and query.environment_id is not None:
                attempts = (query.release_id, query.environment_id, query.config_revision, query.attempt)
                same.setdefault(attempts, []).append(position)
        loading = []
        for positions in same.values():
            widest = max((queries[position] for position in positions), key=lambda one: _ATTEMPTS_LOADED[one.variant])
            loading.append(replace(widest, events=max(queries[position].events for position in positions)))
        loaded = await self._each(session, loading)
        for one, positions in zip(loaded, same.values(), strict=True):
            for position in positions:
                state = replace(
                    found[position].state, deployments=one.state.deployments, environments=one.state.environments
                )
                found[position] = replace(found[position], state=state)

    async def _completed(self, session: Session, loaded: Loaded, runs: Mapping[UUID, tuple[UUID, int | None]]) -> State:
        """The state, with what is known of the event itself, of its run, and of the rejection that it corrects."""
        query, state = loaded.query, loaded.state
        if known := {run: runs[run] for run in query.runs if run in runs}:
            here = {run: attempt for run, (release_id, attempt) in known.items() if release_id == query.release_id}
            state = replace(state, runs=here, runs_elsewhere=frozenset(known) - here.keys())
        if query.next_number and state.release is None and query.deployment_track_id is not None:
            state = await self._numbered(session, query, state, query.deployment_track_id)
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

    async def _numbered(self, session: Session, query: Query, state: State, track: str) -> State:
        """With the next free number, and how many releases of other tracks have it: the write compares with these."""
        highest = await session.fetch(self.numbers, _values(self.numbers, query))
        number = next_number(((row[0], row[1]) for row in highest), track)
        if number > INT_MAX:
            return replace(state, next_number=number)
        counted = await session.fetch(
            self.number_count, _values(self.number_count, replace(query, release_number=number))
        )
        return replace(state, next_number=number, tracks_compared=counted[0][0])

    async def _rejection(self, session: Session, id_: UUID) -> Rejection | None:
        rows = await session.fetch(self.rejection, (id_,))
        return rejection(rows[0], session.reader) if rows else None


def _run_attempt(query: Query, runs: Mapping[UUID, tuple[UUID, int | None]]) -> int | None:
    of_release = (runs[run] for run in query.runs if run in runs)
    return next((attempt for release_id, attempt in of_release if release_id == query.release_id), None)


def _wanted(reference: ReleaseReference) -> dict[str, object]:
    digest, tag = (*reference.image_tags, None, None)[:2]
    release_date, release_number = reference.number or (None, None)
    run, other_run = (*reference.runs, None, None)[:2]
    return {
        "run": run,
        "other_run": other_run,
        "derived_id": reference.derived_id,
        "organization_id": reference.organization_id,
        "component_id": reference.component_id,
        "deployment_track_id": reference.deployment_track_id,
        "commit_hash": reference.commit_hash,
        "image_digest": digest,
        "image_tag": tag,
        "release_date": release_date,
        "release_number": release_number,
    }


def _values(statement: Statement, wanted: Mapping[str, object] | Query) -> tuple[object, ...]:
    if isinstance(wanted, Query):
        return tuple(getattr(wanted, name) for name in statement.names)
    return tuple(wanted[name] for name in statement.names)
