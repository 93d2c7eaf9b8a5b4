"""`decide` over arbitrary sequences of events: states that no sequence reaches, and inputs that change no result.

Most sequences are invalid on purpose: disordered and equal times, unknown attempts, other organizations, repeats,
redrives, identities used twice. tests/properties/world.py refuses rows that a database must not hold.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.event import Event, Invalid
from schemas.reasons import Reason
from schemas.statuses import DeploymentStatus
from schemas.types import EventType as E
from tests.hypothesis_profile import examples
from tests.properties.world import ACTIVITIES_MAX, DEPLOYMENT_MACHINE, RELEASE_MACHINE, World
from tests.unit.rules.release_scenario import REDRIVE, data_of, fields, message, release_id
from worker.pipeline.outgoing import OutgoingRecords, Topics
from worker.ports import OutgoingRecord
from worker.rules.decide import decide
from worker.rules.message import Message
from worker.rules.rows import EnvironmentPointerMove
from worker.rules.state import Applied, Duplicate, Outcome, Rejected, Stale

DEPLOYMENTS = [kind for kind in E if ".deployment." in kind]
RELEASES = (1, 2)
PUBLICATIONS = OutgoingRecords(
    topics=Topics(deployment_status="deployments", release_status="releases", dead_letters="dead"),
    content_mode="binary",
    source="urn:test",
    worker="test",
)
SETTINGS = settings(max_examples=examples(50), deadline=None)


@dataclass(frozen=True, slots=True)
class Step:
    """An event before it has a position. `late`: how many minutes its time is behind that of its step; three steps take
    a minute. `repeats`: the event that many steps before is sent again instead.
    """

    kind: E = E.DEPLOYMENT_REQUESTED
    release: int = 1
    late: int = 0
    environment: str = "prod"
    config_revision: int = 1
    attempt: int | None = None
    block: bool = True
    organization: str = "acme"
    number: int | None = None
    identity: int | None = None
    invalid: bool = False
    repeats: int = 0
    redrive: bool = False


def rarely(value: object, *, otherwise: object) -> st.SearchStrategy[object]:
    return st.sampled_from([otherwise] * 11 + [value])


def stories(kinds: Sequence[E]) -> st.SearchStrategy[list[Step]]:
    """Short sequences are the clearest, but many attempts and statuses need a long one."""
    steps = st.builds(
        Step,
        kind=st.sampled_from(kinds),
        release=st.sampled_from(RELEASES),
        late=st.sampled_from([0, 0, 0, 0, 1, 2, 5, -1]),
        environment=st.sampled_from(["prod", "prod", "test"]),
        config_revision=st.sampled_from([1, 1, 2]),
        attempt=st.sampled_from([None, None, None, None, 1, 2, 3]),
        block=rarely(False, otherwise=True),
        organization=rarely("other", otherwise="acme"),
        number=rarely(1, otherwise=None),
        identity=rarely(0, otherwise=None),
        invalid=rarely(True, otherwise=False),
        repeats=st.sampled_from([0] * 16 + [1, 2, 5, 9]),
        redrive=st.booleans(),
    )
    return st.one_of(st.lists(steps, max_size=6), st.lists(steps, min_size=10, max_size=30))


ANY = stories([*DEPLOYMENTS * 4, *[E.DEPLOYMENT_REQUESTED, E.DEPLOYMENT_SUCCEEDED] * 4, *E])
PLAIN = ANY.map(lambda steps: [replace(step, redrive=False) for step in steps])
FINISHED = stories([E.DEPLOYMENT_SUCCEEDED, E.DEPLOYMENT_SUCCEEDED, E.DEPLOYMENT_FAILED, E.DEPLOYMENT_ROLLED_BACK])


def sent(steps: Iterable[Step], *, topic: str = "in", partition: int = 0, first_offset: int = 0) -> list[Message]:
    """The steps as records of one partition, one after the other."""
    messages: list[Message] = []
    for index, step in enumerate(steps):
        place: dict[str, Any] = {"topic": topic, "partition": partition, "offset": first_offset + index}
        if step.repeats and messages:
            again = messages[-1 - (step.repeats - 1) % len(messages)]
            headers = REDRIVE if step.redrive else ()
            messages.append(replace(again, record=replace(again.record, headers=headers, **place)))
        else:
            messages.append(_event(step, index, place, namespace=partition))
    return messages


def _event(step: Step, index: int, place: dict[str, Any], *, namespace: int) -> Message:
    number = index if step.identity is None else step.identity
    about_release: dict[str, Any] = (
        {"release_number": step.number} if step.number and step.kind is E.RELEASE_CREATED else {}
    )
    about_deployment: dict[str, Any] = (
        {
            "environment_id": step.environment,
            "config_revision": step.config_revision,
            "attempt": step.attempt,
            "block": fields(step.number or step.release) if step.block else None,
        }
        if step.kind in DEPLOYMENTS
        else {}
    )
    made = message(
        step.kind,
        id=f"{namespace}-{number}",
        at=index // 3 - step.late,
        recorded_at=index,
        release=step.release,
        organization_id=step.organization,
        **about_release,
        **about_deployment,
        **place,
    )
    if not step.invalid:
        return made
    content = made.content
    return replace(
        made, content=Invalid(reason=Reason.INVALID_DATA, detail="wrong", source=content.source, id=content.id)
    )


def run(world: World, messages: Iterable[Message]) -> list[Outcome]:
    return [world.take(one) for one in messages]


def ids(published: Iterable[OutgoingRecord]) -> list[bytes | None]:
    """The ids by which subscribers deduplicate."""
    return [
        text
        for outgoing_record in published
        for name, text in outgoing_record.headers
        if name in {"ce_id", "rudder-id"}
    ]


# --- states that no sequence reaches


@given(steps=ANY)
@settings(SETTINGS, max_examples=examples(150))
def test_every_sequence_keeps_the_rows_consistent(steps: list[Step]) -> None:
    """The world's guards hold at every step: no gap in the attempts, no second active attempt, no transition outside
    the status machines, at most four entries; and each event is either in the log or rejected.
    """
    world = World(environments=["prod"])
    for one in sent(steps):
        activities, rejections = dict(world.activities), dict(world.rejections)
        state = world.load(one)
        outcome = world.take(one)
        new_entries = world.activities.keys() - activities.keys()
        new_rejections = world.rejections.keys() - rejections.keys()
        match outcome:
            case Applied() | Stale():
                assert 1 <= len(new_entries) <= ACTIVITIES_MAX
                assert one.id in new_entries
                assert not new_rejections
            case Rejected(again=again):
                assert not new_entries
                assert new_rejections == (set() if again else {one.id})
                assert again <= one.redrive
            case Duplicate():
                assert (world.activities, world.rejections) == (activities, rejections)
                assert (one.id in activities) or (one.id in rejections)
        assert decide(state, one) == outcome
        if isinstance(outcome, Applied) and isinstance(one.content, Event) and one.content.type in DEPLOYMENTS:
            release = one.content.data.release_id
            assert world.releases[release].release.status is world.recount(release)
    settled = {row.id for row in world.rejections.values() if row.resolved_at is not None}
    assert settled == world.rejections.keys() & world.activities.keys()
    assert {one.id for one in sent(steps)} <= world.rejections.keys() | world.activities.keys()


@given(steps=ANY)
@SETTINGS
def test_activities_explain_the_rows(steps: list[Step]) -> None:
    """Each change begins at the status where the one before it ended, and the last one ends at the row's status.
    Subscribers see no gap in the status events.
    """
    world = World(environments=["prod"])
    run(world, sent(steps))
    statuses: dict[UUID, str] = {}
    for activity in world.activities.values():
        change = data_of(activity).get("change")
        if change is None:
            continue
        machine = DEPLOYMENT_MACHINE if activity.deployment_id else RELEASE_MACHINE
        subject = activity.deployment_id or activity.release_id
        assert statuses.get(subject) == change["from"]
        assert change["from"] is None or change["to"] in machine[change["from"]].split()
        assert activity.status == change["to"]
        statuses[subject] = change["to"]
    rows = {row_id: row.deployment.status.value for row_id, row in world.deployments.items()}
    assert statuses == rows | {row_id: row.release.status.value for row_id, row in world.releases.items()}


@given(steps=ANY)
@SETTINGS
def test_stale_and_rejected_events_change_no_row(steps: list[Step]) -> None:
    """Releases, deployments and pointers are as before."""
    world = World(environments=["prod"])
    for one in sent(steps):
        before = world.tables()
        if isinstance(world.take(one), Applied):
            continue
        after = world.tables()
        for table in ("releases", "deployments", "pointers"):
            assert after[table] == before[table]


# --- inputs that change no result


@given(steps=ANY)
@SETTINGS
def test_repeated_events_change_nothing(steps: list[Step]) -> None:
    """The rows and the events after deduplication are the same."""
    once, twice = World(environments=["prod"]), World(environments=["prod"])
    for one in sent(steps):
        first = PUBLICATIONS.of(once.take(one), one, attempts=1)
        twice.take(one)
        again = PUBLICATIONS.of(twice.take(one), one, attempts=1)
        assert ids(again) == ids(first)
        assert twice.tables() == once.tables()


def _restarted(messages: Sequence[Message], *, stop: int, back: int) -> World:
    world = World(environments=["prod"])
    stop = min(stop, len(messages))
    run(world, messages[:stop])
    run(world, messages[max(0, stop - back) :])
    return world


@given(steps=PLAIN, stop=st.integers(0, 30), back=st.integers(0, 30))
@SETTINGS
def test_restart_at_an_earlier_offset_changes_nothing(steps: list[Step], stop: int, back: int) -> None:
    """Holds for the first offset too: a prefix followed by the whole sequence equals the sequence."""
    messages = sent(steps)
    straight = World(environments=["prod"])
    run(straight, messages)
    assert _restarted(messages, stop=stop, back=back).tables() == straight.tables()


@given(steps=ANY, stop=st.integers(0, 30), back=st.integers(0, 30))
@SETTINGS
def test_restart_among_redrives_changes_nothing(steps: list[Step], stop: int, back: int) -> None:
    """A redelivered redrive keeps its decision; it is not decided again with later events."""
    messages = sent(steps)
    straight = World(environments=["prod"])
    run(straight, messages)
    assert _restarted(messages, stop=stop, back=back).tables() == straight.tables()


@given(steps=ANY, topic=st.sampled_from(["in", "other"]), first_offset=st.integers(0, 2**62))
@SETTINGS
def test_position_in_the_topic_does_not_matter(steps: list[Step], topic: str, first_offset: int) -> None:
    """Every row is the same but for the position of its event."""
    here, there = World(environments=["prod"]), World(environments=["prod"])
    kinds = [type(outcome) for outcome in run(here, sent(steps))]
    assert kinds == [type(outcome) for outcome in run(there, sent(steps, topic=topic, first_offset=first_offset))]
    assert here.tables(positions=False) == there.tables(positions=False)


@given(steps=ANY, data=st.data())
@SETTINGS
def test_order_of_loaded_rows_does_not_matter(steps: list[Step], data: st.DataObject) -> None:
    """Databases return rows in no fixed order."""
    world = World(environments=["prod"])
    for one in sent(steps):
        state = world.load(one)
        outcome = world.take(one)
        if len(state.deployments) > 1:
            shuffled = data.draw(st.permutations(state.deployments))
            assert decide(replace(state, deployments=tuple(shuffled)), one) == outcome


def _own(steps: Iterable[Step], release: int) -> list[Step]:
    """The same sequence, for one release with a number of its own."""
    return [replace(step, release=release, number=None) for step in steps]


@st.composite
def interleavings(draw: st.DrawFn) -> tuple[list[list[Message]], list[Message]]:
    """Each release's sequence in a partition of its own, and one order in which a worker may receive them."""
    told_apart = [sent(_own(draw(ANY), release), partition=release) for release in RELEASES]
    turns = draw(st.permutations([index for index, story in enumerate(told_apart) for _ in story]))
    left: list[Iterator[Message]] = [iter(story) for story in told_apart]
    return told_apart, [next(left[turn]) for turn in turns]


@given(drawn=interleavings())
@settings(SETTINGS, max_examples=examples(80))
def test_traffic_of_other_releases_does_not_matter(drawn: tuple[list[list[Message]], list[Message]]) -> None:
    """A release has the same rows alone and among others, in every interleaving."""
    told_apart, mixed = drawn
    together, apart = World(environments=["prod"]), World(environments=["prod"])
    run(together, mixed)
    for story in told_apart:
        run(apart, story)
        alone = World(environments=["prod"])
        run(alone, story)
        for table in ("releases", "deployments", "entries", "rejections"):
            assert alone.tables()[table].items() <= together.tables()[table].items()
    assert together.tables() == apart.tables(), "app_environments, which releases share, comes out the same as well"


# --- the pointer


def _counted(world: World, release: UUID, environment: str) -> UUID | None:
    """The environment's attempt of the latest event, cancelled ones left out."""
    attempts = [
        one
        for one in world.attempts(release)
        if one.environment_id == environment and one.status is not DeploymentStatus.CANCELLED
    ]
    attempts.sort(key=lambda one: (one.updated_at, one.config_revision, one.attempt))
    return attempts[-1].id if attempts else None


@given(steps=FINISHED)
@settings(SETTINGS, max_examples=examples(100))
def test_counting_success_moves_the_pointer_unless_a_later_does(steps: list[Step]) -> None:
    """With one release: after a success that its environment counts with, `app_environments` shows it, or one that
    was deployed later; any other event leaves the row alone.
    """
    world = World(environments=["prod"])
    key = ("prod", UUID(int=0xC), "main")
    for one in sent(replace(step, release=1, number=None, block=True, environment="prod") for step in steps):
        before: EnvironmentPointerMove | None = world.pointers.get(key)
        outcome = world.take(one)
        after = world.pointers.get(key)
        if not (isinstance(outcome, Applied) and one.content.type == E.DEPLOYMENT_SUCCEEDED):
            assert after == before
            continue
        changes = outcome.changes
        opened = (
            changes.new_deployment.deployment if changes.new_deployment else changes.deployment_moves[-1].deployment
        )
        shown_at = world.pointer("prod", before).deployed_at
        counts = opened.id == _counted(world, release_id(), "prod")
        if counts and (shown_at is None or opened.updated_at >= shown_at):
            assert after is not None
            assert after.deployment_id == opened.id
        else:
            assert after == before
