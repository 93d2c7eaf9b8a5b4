"""The day is the same for a seed, realistic, and has every outcome and every reason."""

import json
from collections import defaultdict

import pytest

from tests.oracle.reading import read
from tests.oracle.records import Event
from tests.properties.world import DEPLOYMENT_MACHINE, RELEASE_MACHINE
from tests.unit.demo.published_records import decided, in_topic
from worker.demo.company import DAY, app_environments
from worker.demo.event_stream import event_stream

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
    assert list(event_stream(seed=7, releases=60)) == list(event_stream(seed=7, releases=60))
    assert app_environments(seed=7) == app_environments(seed=7)


def test_another_seed_gives_another_day() -> None:
    assert list(event_stream(seed=7, releases=20)) != list(event_stream(seed=8, releases=20))


def test_day_is_long_ordered_and_one_day() -> None:
    """At least 3,000 records, by their timestamps."""
    times = [record.timestamp_ms for record in event_stream(seed=2026)]
    assert len(times) >= 3_000
    assert times == sorted(times)
    midnight_ms = DAY.timestamp() * 1_000
    assert midnight_ms <= times[0] < times[-1] < midnight_ms + 86_400_000


@pytest.mark.parametrize("seed", [1, 2026, 99_991])
def test_every_outcome_and_reason_comes_three_times(seed: int) -> None:
    """Every reason that a publisher can cause; some rejected events come twice, some are redriven."""
    oracle = decided(in_topic(event_stream(seed=seed)))
    rejected = {outcome for outcome in oracle.outcomes if outcome.startswith("Rejected")}
    assert rejected == {f"Rejected {reason}" for reason in PUBLISHERS_REASONS}
    assert set(oracle.outcomes) - rejected == {"Applied", "Stale", "Duplicate"}
    assert min(oracle.outcomes.values()) >= 3
    rejections = oracle.content.rejections
    assert sum(row["resolved_at"] is not None for row in rejections.values()) >= 3
    letters = [one.id for one in oracle.published if one.kind == "dead-letter"]
    assert len(letters) - len(set(letters)) >= 3


def test_records_of_one_release_have_one_key() -> None:
    """Only then does the topic keep their order; the key need not be the release id."""
    keys = defaultdict(set)
    for record, published in zip(in_topic(event_stream(seed=5)), event_stream(seed=5), strict=True):
        event = read(record)
        if isinstance(event, Event):
            keys[event.data["release_id"]].add(record.key)
        assert published.key
    assert {len(found) for found in keys.values()} == {1}


def test_order_of_partitions_does_not_change_the_rows() -> None:
    """Records that concern one another across releases share a partition."""
    records = in_topic(event_stream(seed=11))
    by_partition = decided(records)
    by_time = decided(sorted(records, key=lambda record: record.timestamp_ms))
    assert by_partition.outcomes == by_time.outcomes
    assert by_partition.content.releases == by_time.content.releases


def test_publishers_use_every_encoding() -> None:
    """Binary, structured, and structured without a content type; with and without time; beyond ASCII."""
    binary = structured = bare = timeless = 0
    text = ""
    for record in event_stream(seed=3):
        headers = dict(record.headers)
        binary += "ce_id" in headers
        structured += headers.get("content-type", b"").lower().startswith(b"application/cloudevents")
        bare += not headers
        timeless += "ce_id" in headers and "ce_time" not in headers
        text += record.value[:2_000].decode("utf-8", "replace")
    assert min(binary, structured, bare, timeless) > 100
    assert "在庫" in text
    assert json.dumps("在庫")[1:-1] in text


def test_expected_changes_follow_the_status_machines() -> None:
    """A release that follows its deployments makes only transitions that the contract allows."""
    oracle = decided(in_topic(event_stream(seed=4)))
    changes = [
        (".release." in one.kind, one.data["previous_status"], one.data["status"])
        for one in oracle.published
        if one.data.get("previous_status")
    ]
    assert len(changes) > 1_000
    for of_release, previous, status in changes:
        moves = RELEASE_MACHINE if of_release else DEPLOYMENT_MACHINE
        assert status in moves[previous].split()
