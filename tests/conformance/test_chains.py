"""Events that are loaded together and decided in memory have the outcomes of events that are processed one by one."""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import count, product
from uuid import uuid4

from hypothesis import HealthCheck, example, given, settings

from tests.conformance.stores import migrate, opened
from tests.conformance.table_contents import insert_rows
from tests.hypothesis_profile import examples
from tests.properties.chains import (
    COUNTED,
    CREATED,
    CUTS,
    POINTED,
    ROLLED_BACK,
    STORIES,
    TWO_POINTERS,
    Step,
    chains,
    ending_with,
    other_release,
    sent,
)
from tests.unit.rules.release_scenario import COMPONENT, TRACK
from worker.db.store import SqlStore
from worker.pipeline.transaction import process
from worker.rules.advance import advance, merged, needs_load
from worker.rules.decide import decide
from worker.rules.message import Message
from worker.rules.query import queries_of
from worker.rules.state import Changes, Outcome, changes_of


async def in_memory(messages: Sequence[Message], store: SqlStore) -> list[Outcome]:
    """The outcomes of the first messages, which are those of one load."""
    queries = queries_of(messages)
    loaded = await store.load(queries)
    outcomes: list[Outcome] = []
    written: list[Changes] = []
    for one, query, before in zip(messages, queries, merged(loaded), strict=True):
        state = advance(before, *written)
        if needs_load(query, loaded=before, state=state):
            break
        outcomes.append(decide(state, one))
        changes = changes_of(outcomes[-1])
        written += [] if changes is None else [changes]
    return outcomes


async def compare(url: str, messages: Sequence[Message], lengths: Iterator[int]) -> None:
    async with opened(url) as store:
        for chain in chains(messages, lengths):
            waiting = chain
            while waiting:
                decided = await in_memory(waiting, store)
                assert decided
                assert [await process(one, store) for one in waiting[: len(decided)]] == decided
                waiting = waiting[len(decided) :]


async def prepare(url: str) -> None:
    await migrate(url)
    rows = [
        {"id": uuid4(), "environment_id": environment, "component_id": COMPONENT, "deployment_track_id": track}
        for environment, track in product(POINTED, (TRACK, "other"))
    ]
    await insert_rows(url, "app_environments", rows)
    async with opened(url) as store:
        await process(other_release(), store)


def test_chain_is_decided_as_through_the_database(database_url: str) -> None:
    """Every example is a release of its own in the same database."""
    asyncio.run(prepare(database_url))
    releases = count(100)

    @given(story=STORIES, lengths=CUTS)
    @example(story=CREATED, lengths=[5])
    @example(story=TWO_POINTERS, lengths=[4])
    @example(story=ROLLED_BACK, lengths=ending_with(3, ROLLED_BACK))
    @example(story=COUNTED, lengths=ending_with(2, COUNTED))
    @settings(max_examples=examples(10), deadline=None, suppress_health_check=list(HealthCheck))
    def compare_examples(story: list[Step], lengths: list[int]) -> None:
        asyncio.run(compare(database_url, sent(story, release=next(releases)), iter([*lengths, *[1] * len(story)])))

    compare_examples()
