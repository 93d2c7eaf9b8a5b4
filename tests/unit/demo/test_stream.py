"""The day must be the same for a seed, believable, and hold everything that can go wrong."""

import json
from collections import defaultdict

import pytest

from tests.properties.world import DEPLOYMENT_MACHINE, RELEASE_MACHINE
from tests.unit.demo.imitation import in_topic
from worker.demo.company import DAY, app_environments
from worker.demo.contract_envelope import Event, read
from worker.demo.contract_model import ContractModel
from worker.demo.story import EPOCH
from worker.demo.stream import a_day

PUBLISHERS_REASONS = {
    "malformed_json",
    "not_a_cloudevent",
    "unsupported_type",
    "invalid_data",
    "too_large",
    "release_not_found",
    "release_conflict",
    "organization_mismatch",
    "release_not_deployable",
    "invalid_transition",
    "attempt_gap",
}


def test_same_seed_gives_the_same_bytes() -> None:
    """A recount that disagrees can be played again."""
    assert list(a_day(seed=7, releases=60)) == list(a_day(seed=7, releases=60))
    assert app_environments(seed=7) == app_environments(seed=7)


def test_another_seed_gives_another_day() -> None:
    """The seed is not decoration."""
    assert list(a_day(seed=7, releases=20)) != list(a_day(seed=8, releases=20))


def test_day_is_long_and_ordered() -> None:
    """At least 3,000 records, by arrival, all within the fictional day."""
    times = [record.timestamp_ms for record in a_day(seed=2026)]
    assert len(times) >= 3_000
    assert times == sorted(times)
    first, last = times[0] - (DAY - EPOCH).total_seconds() * 1_000, times[-1] - (DAY - EPOCH).total_seconds() * 1_000
    assert 0 <= first < last < 86_400_000


@pytest.mark.parametrize("seed", [1, 2026, 99_991])
def test_every_outcome_and_reason_occurs_three_times(seed: int) -> None:
    """Whatever the seed, the demo shows all that the worker can say."""
    model = ContractModel()
    for record in in_topic(a_day(seed=seed)):
        model.apply(record)
    rejected = {reason: count for (outcome, reason), count in model.tally.items() if outcome == "rejected"}
    assert set(rejected) == PUBLISHERS_REASONS
    assert min(rejected.values()) >= 3
    assert min(model.tally["applied", None], model.tally["stale", None], model.tally["duplicate", None]) >= 3
    judged = model.judged
    assert sum(each.outcome == "rejected" and each.copies > 1 for each in judged) >= 3
    assert sum(each.resolved for each in judged) >= 3


def test_records_of_a_release_share_a_partition() -> None:
    """Only then does the topic promise an order; a key that is not the release id will do, if it is always the same."""
    keys = defaultdict(set)
    for record in a_day(seed=5):
        event = read(record)
        if isinstance(event, Event):
            keys[event.release_id].add(record.key)
    assert {len(found) for found in keys.values()} == {1}


def test_expectation_does_not_depend_on_partition_order() -> None:
    """Records that could meet across releases share a partition, so the recount may read one after the other."""
    day = list(a_day(seed=11))
    by_arrival, by_partition = ContractModel(), ContractModel()
    for record in sorted(in_topic(day), key=lambda record: record.timestamp_ms):
        by_arrival.apply(record)
    for record in in_topic(day):
        by_partition.apply(record)
    assert by_arrival.tally == by_partition.tally
    assert by_arrival.releases == by_partition.releases


def test_publishers_use_every_content_mode() -> None:
    """Binary, structured, and structured without a content type; with and without time; beyond ASCII."""
    binary = structured = bare = timeless = 0
    text = ""
    for record in a_day(seed=3):
        headers = dict(record.headers)
        binary += "ce_id" in headers
        structured += headers.get("content-type", b"").lower().startswith(b"application/cloudevents")
        bare += not headers
        timeless += "ce_id" in headers and "ce_time" not in headers
        text += record.value[:2_000].decode("utf-8", "replace")
    assert min(binary, structured, bare, timeless) > 100
    assert "在庫" in text
    assert json.dumps("在庫")[1:-1] in text


def test_expected_transitions_are_allowed() -> None:
    """A release that follows its deployments only ever makes transitions that the contract allows."""
    model = ContractModel()
    for record in in_topic(a_day(seed=4)):
        for activity in model.apply(record).judged.activities:
            if activity.previous and activity.status:
                moves = RELEASE_MACHINE if activity.about == "release" else DEPLOYMENT_MACHINE
                assert activity.status in moves[activity.previous].split()
