"""Events of one release that are loaded together and decided in memory have the outcomes of events that are loaded one
by one, although the loads are bounded.

The loads are a model of the statements in `worker.db.queries`, with their limits.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given, settings

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
from tests.properties.world import World
from tests.unit.rules.release_scenario import release_id
from worker.rules.advance import advance, merged, needs_load
from worker.rules.decide import decide
from worker.rules.identity import activity_ids
from worker.rules.message import Message
from worker.rules.query import Query, QueryVariant, queries_of
from worker.rules.rows import Activity, Deployment
from worker.rules.state import Changes, Outcome, State, changes_of

COUNTING = {QueryVariant.DEPLOYMENT, QueryVariant.DEPLOYMENT_SUCCEEDED, QueryVariant.DEPLOYMENT_ROLLED_BACK}
REVOCABLE = {"IN_PROGRESS", "SUCCESS", "FAILED"}

Limits = Callable[[int], int]
"""How many rows are loaded for that many events."""


def world() -> World:
    made = World(environments=POINTED)
    made.take(other_release())
    return made


def load(world: World, one: Message, query: Query, *, counting: Limits, revocable: Limits) -> State:
    """What the statement of the query's variant loads; the attempts are those with its limits alone."""
    known = State(
        activities=_activities(world, one),
        rejection=world.rejections.get(one.id),
        corrected=None if one.corrects is None else world.rejections.get(one.corrects),
    )
    if query.variant is QueryVariant.EVENT:
        return known
    row = world.releases.get(release_id())
    release = row.release if row else None
    number = (query.release_date, query.release_number, query.component_id, query.deployment_track_id)
    component = release.component_id if release else query.component_id
    track = release.deployment_track_id if release else query.deployment_track_id
    pointer = None
    if query.variant is QueryVariant.DEPLOYMENT_SUCCEEDED and query.environment_id in world.environments and component:
        pointer = world.pointer(
            query.environment_id, world.pointers.get((query.environment_id, component, track or ""))
        )
    attempts = list(world.attempts(release_id()))
    loaded = [*_named(attempts, query)]
    if query.variant is QueryVariant.DEPLOYMENT_ROLLED_BACK:
        able = [one for one in _siblings(attempts, query) if one.status in REVOCABLE]
        loaded += able[: revocable(query.events)]
    environments = {one.environment_id for one in attempts} if query.variant in COUNTING else set()
    for environment in environments:
        own = environment == query.environment_id
        candidates = [one for one in attempts if one.environment_id == environment and one.status != "CANCELLED"]
        candidates.sort(key=lambda one: (one.updated_at, one.config_revision, one.attempt), reverse=True)
        loaded += candidates[: counting(query.events) if own else 1]
    return replace(
        known,
        release=release,
        release_version=world.versions.get(release_id()),
        number_taken=release is None and number in world._numbers,
        deployments=tuple({one.id: one for one in loaded}.values()),
        environments=frozenset(environments),
        pointer=pointer,
    )


def _activities(world: World, one: Message) -> tuple[Activity, ...]:
    content = one.content
    if content.source is None or content.id is None:
        return ()
    ids = activity_ids(source=content.source, event_id=content.id)
    return tuple(world.activities[id_] for id_ in ids if id_ in world.activities)


def _siblings(attempts: Sequence[Deployment], query: Query) -> list[Deployment]:
    """From the highest attempt on."""
    key = (query.environment_id, query.config_revision)
    own = [one for one in attempts if (one.environment_id, one.config_revision) == key]
    return sorted(own, key=lambda one: -one.attempt)


def _named(attempts: Sequence[Deployment], query: Query) -> Iterator[Deployment]:
    if query.variant in COUNTING or query.variant is QueryVariant.ATTEMPTS:
        own = _siblings(attempts, query)
        yield from own[:2]
        yield from [one for one in own if query.attempt is not None and one.attempt <= query.attempt][:2]


def differences(
    messages: Sequence[Message],
    lengths: Iterable[int],
    *,
    counting: Limits = lambda events: events + 1,
    revocable: Limits = lambda events: events,
) -> Iterator[tuple[Outcome, Outcome]]:
    """The outcomes that differ: in memory, and after a load of all rows."""
    rows = world()
    for chain in chains(messages, lengths):
        waiting = chain
        while waiting:
            done = 0
            queries = queries_of(waiting)
            loaded = [
                load(rows, one, query, counting=counting, revocable=revocable)
                for one, query in zip(waiting, queries, strict=True)
            ]
            written: list[Changes] = []
            for one, query, before in zip(waiting, queries, merged(loaded), strict=True):
                state = advance(before, *written)
                if needs_load(query, loaded=before, state=state):
                    break
                outcome = decide(state, one)
                expected = decide(rows.load(one), one)
                if outcome != expected:
                    yield outcome, expected
                    return
                rows.write(expected)
                changes = changes_of(outcome)
                written += [] if changes is None else [changes]
                done += 1
            assert done, "no chain begins with a load that is not enough"
            waiting = waiting[done:]


@given(story=STORIES, lengths=CUTS)
@settings(max_examples=examples(150), deadline=None)
@example(story=CREATED, lengths=[5])
@example(story=TWO_POINTERS, lengths=[4])
@example(story=ROLLED_BACK, lengths=ending_with(4, ROLLED_BACK))
def test_chain_has_the_outcomes_of_single_events(story: list[Step], lengths: list[int]) -> None:
    assert list(differences(sent(story), [*lengths, *[1] * len(story)])) == []


@pytest.mark.parametrize(
    ("story", "chain", "limits"),
    [
        (ROLLED_BACK, 3, {"revocable": lambda events: max(events - 1, 1)}),
        (COUNTED, 2, {"counting": lambda events: events}),
        (COUNTED[:-1], 1, {"counting": lambda events: events}),
    ],
    ids=["revocable", "counting of two events", "counting of one event"],
)
def test_lower_limit_changes_an_outcome(story: list[Step], chain: int, limits: dict[str, Limits]) -> None:
    """Each limit is needed: with one row less there is a chain with another outcome."""
    messages, lengths = sent(story), ending_with(chain, story)
    assert list(differences(messages, lengths)) == []
    assert len(list(differences(messages, lengths, **limits))) == 1
