"""A batched load decides every message as its own load does, whatever else is in the batch."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from itertools import count, product
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conformance.catalog import run
from tests.conformance.stores import migrate, opened, process_until_settled
from tests.conformance.table_contents import insert_rows
from tests.hypothesis_profile import examples
from tests.properties.chains import POINTED, STORIES, Step, other_release, sent
from tests.unit.rules.release_scenario import COMPONENT, TRACK
from worker.db import loads
from worker.db.postgresql import fragments
from worker.db.store import SqlStore
from worker.pipeline.transaction import process
from worker.rules.advance import merged
from worker.rules.decide import decide
from worker.rules.message import Message
from worker.rules.query import query_of
from worker.rules.state import State

SHAPES = {
    "uuid": "SELECT 1",
    "text": "ALTER TABLE app_environments ALTER COLUMN component_id TYPE varchar(64) USING component_id::text",
    "none": "ALTER TABLE app_environments RENAME COLUMN component_id TO component",
}
"""What the component of an `app_environments` row is."""


async def together(messages: Sequence[Message], store: SqlStore) -> list[State]:
    """The states of one batch; those of one release are merged, as each has a part of the rows."""
    queries = [query_of(message) for message in messages]
    states = list(await store.load(queries))
    for release_id in {query.release_id for query in queries} - {None}:
        positions = [number for number, query in enumerate(queries) if query.release_id == release_id]
        for position, state in zip(positions, merged([states[number] for number in positions]), strict=True):
            states[position] = state
    return states


async def compare(url: str, written: Sequence[Message], waiting: Sequence[Message]) -> None:
    """Some of the events are known, the others are not."""
    async with opened(url) as store:
        for message in written:
            await process_until_settled(message, store)
        messages = [*waiting, *written]
        alone = [(await store.load([query_of(message)]))[0] for message in messages]
        batched = await together(messages, store)
        for message, one, other in zip(messages, alone, batched, strict=True):
            assert decide(other, message) == decide(one, message)
            assert without_attempts(other) == without_attempts(one)


def without_attempts(state: State) -> State:
    """A batched load has all attempts of a release, and each kind's own statement those that count."""
    return replace(state, deployments=(), environments=frozenset())


async def prepare(url: str, shape: str) -> None:
    await migrate(url)
    rows = [
        {"id": uuid4(), "environment_id": environment, "component_id": COMPONENT, "deployment_track_id": track}
        for environment, track in product(POINTED, (TRACK, "other"))
    ]
    await insert_rows(url, "app_environments", rows)
    await asyncio.to_thread(run, url, SHAPES[shape])
    async with opened(url) as store:
        await process(other_release(), store)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("attempts_max", [50, 2])
def test_batched_load_decides_as_single_loads(
    database_url: str, shape: str, attempts_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`attempts_max`: with 2, most releases have more attempts than a batched load reads."""
    monkeypatch.setattr(loads, "ATTEMPTS_MAX", attempts_max)
    monkeypatch.setattr(fragments, "ATTEMPTS_MAX", attempts_max)
    asyncio.run(prepare(database_url, shape))
    releases = count(100)

    @given(stories=st.lists(STORIES, min_size=1, max_size=3), cut=st.integers(0, 12))
    @settings(max_examples=examples(10), deadline=None, suppress_health_check=list(HealthCheck))
    def compare_examples(stories: list[list[Step]], cut: int) -> None:
        written: list[Message] = []
        waiting: list[Message] = []
        for story in stories:
            messages = sent(story, release=next(releases))
            written += messages[:cut]
            waiting += messages[cut : cut + 8]
        asyncio.run(compare(database_url, written, waiting))

    compare_examples()
