"""Events of one release that are loaded together and decided in memory have the outcomes of events that are loaded one
by one, although the loads are bounded.

The loads are a model of the statements in `worker.db.queries`, with their limits.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.event import Invalid
from schemas.reasons import Reason
from schemas.types import EventType as E
from tests.hypothesis_profile import examples
from tests.properties.world import World
from tests.unit.rules.release_scenario import TRACK, fields, message, release_id
from worker.rules.advance import advance, merged, needs_load
from worker.rules.decide import decide
from worker.rules.identity import activity_ids
from worker.rules.message import Message
from worker.rules.query import Query, QueryVariant, queries_of
from worker.rules.rows import Activity, Deployment
from worker.rules.state import Changes, Outcome, State, changes_of

CHAIN_MAX = 8
DEPLOYMENTS = [kind for kind in E if ".deployment." in kind]
REVIEW = [E.RELEASE_CREATED, E.RELEASE_SUBMITTED, E.RELEASE_APPROVED, E.RELEASE_REJECTED, E.RELEASE_REOPENED]
COUNTING = {QueryVariant.DEPLOYMENT, QueryVariant.DEPLOYMENT_SUCCEEDED, QueryVariant.DEPLOYMENT_ROLLED_BACK}
REVOCABLE = {"IN_PROGRESS", "SUCCESS", "FAILED"}
ENVIRONMENTS = ["prod", "prod", "prod", "test", "stage", "Prod"]

Limits = Callable[[int], int]
"""How many rows are loaded for that many events."""


@dataclass(frozen=True, slots=True)
class Step:
    """An event of the release. `late`: how many minutes its time is behind that of its step; three steps take a minute.
    `again`: the event that many steps before is sent again instead, as a redrive or as a duplicate. `corrects`: the
    event that many steps before.
    """

    kind: E = E.DEPLOYMENT_SUCCEEDED
    late: int = 0
    environment: str = "prod"
    config_revision: int = 1
    attempt: int | None = None
    block: int | None = 1
    track: str = TRACK
    organization: str = "acme"
    invalid: bool = False
    again: int = 0
    redrive: bool = False
    corrects: int = 0


def steps(kinds: Sequence[E], **fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    drawn: dict[str, st.SearchStrategy[Any]] = {
        "kind": st.sampled_from(kinds),
        "late": st.sampled_from([0, 0, 0, 0, 1, 2, 5, -1]),
        "environment": st.sampled_from(ENVIRONMENTS),
        "config_revision": st.sampled_from([1, 1, 2]),
        "attempt": st.sampled_from([None, None, None, 1, 2, 3, 5]),
        "block": st.sampled_from([1, 1, 1, None, 2, 9]),
        "track": st.sampled_from([TRACK] * 7 + ["other"]),
        "organization": st.sampled_from(["acme"] * 11 + ["other"]),
        "invalid": st.sampled_from([False] * 11 + [True]),
        "again": st.sampled_from([0] * 12 + [1, 2, 5, 9]),
        "redrive": st.booleans(),
        "corrects": st.sampled_from([0] * 9 + [1, 2, 5]),
    }
    return st.builds(Step, **(drawn | fixed))


ANY = [*DEPLOYMENTS * 4, *REVIEW, E.ACTIVITY_RECORDED, E.ACTIVITY_RECORDED]
SUPERSEDING = steps(
    [*DEPLOYMENTS, E.DEPLOYMENT_REQUESTED, E.DEPLOYMENT_REQUESTED, E.DEPLOYMENT_CANCELLED, E.DEPLOYMENT_ROLLED_BACK],
    environment=st.just("prod"),
    attempt=st.none(),
    block=st.just(1),
    track=st.just(TRACK),
    organization=st.just("acme"),
    invalid=st.just(False),
    again=st.just(0),
)
"""Many attempts that count, and roll-backs of them."""

STORIES = st.one_of(
    st.lists(steps(ANY), max_size=12),
    st.lists(steps(ANY), min_size=12, max_size=40),
    st.lists(SUPERSEDING, min_size=6, max_size=30),
)
CUTS = st.lists(st.integers(1, CHAIN_MAX), min_size=40, max_size=40)


def sent(story: Iterable[Step]) -> list[Message]:
    messages: list[Message] = []
    for offset, step in enumerate(story):
        if step.again and messages:
            earlier = messages[-1 - (step.again - 1) % len(messages)]
            headers = (("rudder-redrive", b""),) if step.redrive else ()
            messages.append(replace(earlier, record=replace(earlier.record, headers=headers, offset=offset)))
        else:
            messages.append(_event(step, offset, messages))
    return messages


def _event(step: Step, offset: int, earlier: Sequence[Message]) -> Message:
    data: dict[str, Any] = {}
    if step.kind in DEPLOYMENTS or (step.kind is E.ACTIVITY_RECORDED and step.block is not None):
        data = {"environment_id": step.environment, "config_revision": step.config_revision, "attempt": step.attempt}
    if step.kind in DEPLOYMENTS:
        data["block"] = step.block and fields(step.block, deployment_track_id=step.track)
    elif step.kind is E.RELEASE_CREATED:
        data = fields(step.block or 1, deployment_track_id=step.track)
    headers: tuple[tuple[str, bytes], ...] = ()
    if step.corrects and earlier:
        headers = (("rudder-corrects", str(earlier[-1 - (step.corrects - 1) % len(earlier)].id).encode()),)
    made = message(
        step.kind,
        id=f"e{offset}",
        at=offset // 3 - step.late,
        recorded_at=offset,
        offset=offset,
        organization_id=step.organization,
        headers=headers,
        **data,
    )
    if not step.invalid:
        return made
    content = made.content
    return replace(made, content=Invalid(reason=Reason.INVALID_DATA, detail="", source=content.source, id=content.id))


def chains(messages: Sequence[Message], lengths: Iterable[int]) -> Iterator[list[Message]]:
    """Chains of at most these lengths, in which no two messages have an identity in common."""
    chain: list[Message] = []
    ids: set[UUID | None] = set()
    wanted = iter(lengths)
    length = next(wanted)
    for one in messages:
        own = {one.id, one.corrects} - {None}
        if len(chain) == length or ids & own:
            yield chain
            chain, ids, length = [], set(), next(wanted)
        chain.append(one)
        ids |= own
    if chain:
        yield chain


def world() -> World:
    """Another release has number 9."""
    made = World(environments=["prod", "stage"])
    made.take(message(E.RELEASE_CREATED, release=9, id="other", **fields(9)))
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
@settings(max_examples=examples(400), deadline=None)
def test_chain_has_the_outcomes_of_single_events(story: list[Step], lengths: list[int]) -> None:
    assert list(differences(sent(story), [*lengths, *[1] * len(story)])) == []


CANCELLED = [Step(E.DEPLOYMENT_REQUESTED), Step(E.DEPLOYMENT_CANCELLED)]
OTHERS = [Step(config_revision=number) for number in (2, 3, 4, 5)]
ROLLED_BACK = [Step(E.DEPLOYMENT_ROLLED_BACK)] * 3
COUNTED = [Step(E.DEPLOYMENT_FAILED), Step(config_revision=2)]
ACTIVE = [Step(E.DEPLOYMENT_REQUESTED, config_revision=number) for number in (3, 4)]
ENDED = [Step(E.DEPLOYMENT_CANCELLED, config_revision=number) for number in (3, 4)]


@pytest.mark.parametrize(
    ("story", "chain", "limits"),
    [
        ([Step()] * 3 + CANCELLED * 2 + OTHERS + ROLLED_BACK, 3, {"revocable": lambda events: max(events - 1, 1)}),
        (COUNTED + ACTIVE + ENDED, 2, {"counting": lambda events: events}),
        (COUNTED + ACTIVE[:1] + ENDED[:1], 1, {"counting": lambda events: events}),
    ],
    ids=["revocable", "counting of two events", "counting of one event"],
)
def test_lower_limit_changes_an_outcome(story: list[Step], chain: int, limits: dict[str, Limits]) -> None:
    """Each limit is needed: with one row less there is a chain with another outcome."""
    lengths = [1] * (len(story) - chain) + [chain]
    messages = sent(replace(step, late=offset // 3 - offset) for offset, step in enumerate(story))
    assert list(differences(messages, lengths)) == []
    assert len(list(differences(messages, lengths, **limits))) == 1
