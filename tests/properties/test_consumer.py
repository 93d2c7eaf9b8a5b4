"""Failures, stalls, rebalances and crashes at any time cause no reordering, skipped record or early commit.

A plan is a list of steps: an answer to a worker's request, a failure, passing time, a rebalance. A broken promise is
found at the step that breaks it; consumer_ledger.py and consumer_outside.py check the promises.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from uuid import UUID

from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from schemas.envelope import write_binary
from schemas.record import Record
from tests.hypothesis_profile import examples
from tests.properties.consumer_ledger import Logged
from tests.properties.consumer_world import Step, World
from tests.unit.rules.release_scenario import fields, minute, release_id
from worker.pipeline.consumer import Bounds
from worker.pipeline.transaction import read
from worker.ports import Partition

PARTITIONS = (Partition("in", 0), Partition("in", 1), Partition("other", 0))
RELEASES = 6
SETTINGS = settings(
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),  # the explain phase takes minutes
)
EVENT_BYTES_MAX = 100_000
DENIALS_MIN = 5  # more than the attempts that a fault other than an outage has
WEIGHTS = {  # how often each kind of step is drawn; the kinds are `World.take`'s
    "fetch": 5,
    "answer": 10,
    "answer all": 2,
    "tick": 5,
    "down": 3,
    "answer lost": 2,
    "conflict": 1,
    "refused": 1,
    "bug": 2,
    "half": 1,
    "rebalanced": 1,
    "take": 3,
    "give": 4,
    "mend": 3,
    "fence": 1,
    "tell": 2,
    "freeze": 1,
    "stall": 1,
    "thaw": 3,
    "crash": 1,
    "stop": 1,
    "rewind": 1,
    "open": 2,
    "close": 3,
}
CALM = ("fetch", "answer", "answer all", "tick", "down", "answer lost", "bug", "open", "close")
"""The kinds of steps that change no member of the group."""


def plans(kinds: Iterable[str]) -> st.SearchStrategy[list[Step]]:
    """Short plans are the clearest, but some faults need many steps."""
    weighted = [kind for kind in kinds for _ in range(WEIGHTS[kind])]
    steps = st.builds(Step, st.sampled_from(weighted), st.integers(0, 23))
    long = st.lists(steps, min_size=30, max_size=90)
    return st.one_of(st.lists(steps, max_size=20), long, long)


BOUNDS = st.builds(
    Bounds,
    concurrency=st.sampled_from([2, 1, 3, 8]),
    in_flight_records_max=st.sampled_from([2, 1, 5, 16]),
    in_flight_bytes_max=st.sampled_from([1_000_000, 1_000]),
    event_bytes_max=st.just(EVENT_BYTES_MAX),
    event_ahead_max_seconds=st.just(86_400),
    commit_interval_seconds=st.sampled_from([0.0, 1.0, 5.0]),
    poll_timeout_seconds=st.just(0.5),
    drain_timeout_seconds=st.just(3.0),
    commit_lag_records_max=st.sampled_from([2, 1, 5, 100]),
    keep_alive_seconds=st.just(2.0),
)


@dataclass(frozen=True, slots=True)
class Spec:
    """A record's partition, its release, and the number of empty offsets before it. `repeats`: it has the identity of
    the record that is `repeats` records before it in its partition, whatever that one's release.
    """

    partition: Partition
    release: int
    gap: int = 0
    repeats: int = 0
    garbage: bool = False


SPECS = st.builds(
    Spec,
    partition=st.sampled_from(PARTITIONS),
    release=st.integers(1, RELEASES // 2),
    gap=st.sampled_from([0, 0, 0, 0, 2]),
    repeats=st.sampled_from([0] * 5 + [1, 2]),
    garbage=st.sampled_from([False] * 9 + [True]),
)
STORIES = st.one_of(st.lists(SPECS, max_size=6), st.lists(SPECS, min_size=8, max_size=30))


@lru_cache(maxsize=4096)
def event(release: int, identity: str, minutes: int) -> tuple[bytes | None, tuple[tuple[str, bytes | None], ...]]:
    """A deployment event with its release block, so that each event has an effect by itself."""
    data = {
        "release_id": str(release_id(release)),
        "organization_id": "acme",
        "environment_id": "prod",
        "release": {name: str(value) if isinstance(value, UUID) else value for name, value in fields(release).items()},
    }
    kind = ("requested", "started", "succeeded")[minutes % 3]
    return write_binary(
        source="urn:ci",
        id=identity,
        type=f"dev.rudder.deployment.{kind}.v1",
        time=minute(minutes),
        subject=str(release_id(release)),
        data=data,
    )


def logs(specs: Iterable[Spec]) -> dict[Partition, Sequence[Logged]]:
    """The key assigns each release to one partition in each topic."""
    made: dict[Partition, list[Logged]] = {partition: [] for partition in PARTITIONS}
    identities: dict[Partition, list[str]] = {partition: [] for partition in PARTITIONS}
    for number, spec in enumerate(specs):
        log, names = made[spec.partition], identities[spec.partition]
        offset = spec.gap + (log[-1].record.offset + 1 if log else 0)
        names.append(names[-spec.repeats] if 0 < spec.repeats <= len(names) else str(number))
        topic, partition = spec.partition
        release = spec.release + 3 * partition if topic == "in" else (1, 4, 2)[spec.release - 1]
        value, headers = (b"{", ()) if spec.garbage else event(release, names[-1], number)
        record = Record(
            topic=topic,
            partition=partition,
            offset=offset,
            timestamp_ms=number,
            key=None,
            value=value,
            headers=headers,
        )
        log.append(Logged(record, read(record, event_bytes_max=EVENT_BYTES_MAX)))
    return {partition: tuple(log) for partition, log in made.items()}


def all_is_done(world: World) -> bool:
    """Every record took effect and was published, and every partition is committed to its end."""
    outside = world.outside
    return all(
        outside.committed.get(partition, 0) == log[-1].record.offset + 1
        and all(outside.finished(logged.message) for logged in log)
        for partition, log in outside.logs.items()
        if log
    )


@given(specs=STORIES, bounds=BOUNDS, plan=plans(WEIGHTS))
@settings(SETTINGS, max_examples=examples(100))
def test_nothing_is_reordered_skipped_or_committed_early(specs: list[Spec], bounds: Bounds, plan: list[Step]) -> None:
    """Each step keeps the promises. Without further failures every record is finished, and every worker stops."""
    with capture_logs(), World(logs(specs), bounds) as world:
        world.play(plan)
        world.finish(until=lambda: all_is_done(world))
        world.stop()


NARROW = Bounds(
    concurrency=2,
    in_flight_records_max=2,
    in_flight_bytes_max=1_000_000,
    event_bytes_max=EVENT_BYTES_MAX,
    event_ahead_max_seconds=86_400,
    commit_interval_seconds=0.0,
    poll_timeout_seconds=0.5,
    drain_timeout_seconds=3.0,
    commit_lag_records_max=2,
    keep_alive_seconds=2.0,
)


@given(specs=STORIES, bounds=BOUNDS, plan=plans(WEIGHTS), failing=st.integers(1, RELEASES))
@example(  # a partition is given up while the broker is believed to be away: its last commit was not attempted
    specs=[Spec(PARTITIONS[0], 2), *[Spec(PARTITIONS[0], 1)] * 15, *[Spec(PARTITIONS[2], 1)] * 2],
    bounds=NARROW,
    plan=[*[Step("fetch")] * 3, Step("answer", 1), Step("take", 2), Step("fetch"), Step("down", 1), Step("down", 2)],
    failing=1,
)
@settings(SETTINGS, max_examples=examples(60))
def test_release_that_always_fails_blocks_only_itself(
    specs: list[Spec], bounds: Bounds, plan: list[Step], failing: int
) -> None:
    """Within the in-flight budget all other records are finished, and its own are once it no longer fails."""
    roomy = replace(bounds, in_flight_records_max=100, in_flight_bytes_max=1_000_000, commit_lag_records_max=100)
    made = logs(replace(spec, repeats=0) for spec in specs)  # a repeat of one of its events would wait with it
    messages = [logged.message for log in made.values() for logged in log]
    own = [message for message in messages if message.release_id == release_id(failing)]
    others = [message for message in messages if message not in own]
    with capture_logs(), World(made, roomy) as world:
        world.play(plan)
        patient = not all(map(world.outside.known, own))
        world.finish(
            until=lambda: all(map(world.outside.finished, others)) and (world.denials >= DENIALS_MIN or not patient),
            failing=release_id(failing),
        )
        world.finish(until=lambda: all_is_done(world))
        world.stop()


@given(specs=STORIES, bounds=BOUNDS, plan=plans(CALM), stuck=st.sampled_from(PARTITIONS[:2]))
@settings(SETTINGS, max_examples=examples(60))
def test_partition_that_always_fails_blocks_no_other(
    specs: list[Spec], bounds: Bounds, plan: list[Step], stuck: Partition
) -> None:
    """Holds also where its records could fill the in-flight budget, and at the limit of its commit lag."""
    narrow = replace(bounds, in_flight_records_max=max(2, bounds.in_flight_records_max), in_flight_bytes_max=1_000_000)
    made = logs(replace(spec, repeats=0, release=3 if spec.partition == stuck else spec.release) for spec in specs)
    failing = 3 if stuck == PARTITIONS[0] else 6  # neither is in the other topic
    elsewhere = [logged.message for partition, log in made.items() if partition != stuck for logged in log]
    with capture_logs(), World(made, narrow, members=1) as world:
        world.play(plan)
        world.finish(until=lambda: all(map(world.outside.finished, elsewhere)), failing=release_id(failing))
        world.finish(until=lambda: all_is_done(world))
        world.stop()


def test_stop_in_a_rebalance_commits_owned_partitions_only() -> None:
    """Found by a plan: the group revokes a partition and refuses its commit. The stopping worker then committed this
    partition together with another; the group refused both, and another worker repeated finished records.
    """
    bounds = Bounds(
        concurrency=2,
        in_flight_records_max=16,
        in_flight_bytes_max=1_000_000,
        event_bytes_max=EVENT_BYTES_MAX,
        event_ahead_max_seconds=86_400,
        commit_interval_seconds=5.0,
        poll_timeout_seconds=0.5,
        drain_timeout_seconds=3.0,
        commit_lag_records_max=100,
        keep_alive_seconds=2.0,
    )
    goes, _, stays = PARTITIONS
    plan = [
        Step("fetch", 3),
        Step("answer", 0),  # the transaction of the record in the revoked partition
        Step("answer", 1),  # and its publication
        Step("take", 1),
        Step("stop"),
        Step("tick", 1),
        Step("tick", 1),
        Step("rebalanced"),
    ]
    with capture_logs(), World(logs([Spec(goes, 1), Spec(stays, 3)]), bounds, members=1) as world:
        world.play(plan)
        world.stop()
