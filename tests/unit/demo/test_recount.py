"""The recount must accept what a faithful worker leaves, and name what an unfaithful one does."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from tests.unit.demo.imitation import Imitation, imitate, in_topic
from worker.demo.record import TopicRecord
from worker.demo.recount import compare
from worker.demo.stream import a_day

EVENTS = in_topic(a_day(seed=12, releases=45))


@pytest.fixture
def done() -> Iterator[Imitation]:
    with closing(sqlite3.connect(":memory:")) as connection:
        yield imitate(EVENTS, connection=connection)


def differences(done: Imitation) -> tuple[str, ...]:
    return compare(
        events=EVENTS,
        deployment_statuses=done.deployment_statuses,
        release_statuses=done.release_statuses,
        dead_letters=done.dead_letters,
        connection=done.connection,
    ).differences


def test_a_faithful_worker_is_believed(done: Imitation) -> None:
    """No difference at all."""
    assert differences(done) == ()


def test_repeats_are_allowed_at_least_once(done: Imitation) -> None:
    """A crash between commit and offset publishes everything again, with the same ids."""
    done.release_statuses += [replace(done.release_statuses[-1], offset=10_000)]
    done.dead_letters += [replace(done.dead_letters[0], offset=10_000)]
    assert differences(done) == ()


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE releases SET status = 'FAILED' WHERE rowid = 1", "status is 'FAILED'"),
        ("UPDATE releases SET updated_at = '2026-03-17 00:00:00.000000' WHERE rowid = 2", "updated_at is"),
        ("UPDATE releases SET metadata = '{}' WHERE metadata IS NOT NULL", "metadata is '{}'"),
        ("DELETE FROM releases WHERE rowid = 1", "missing"),
        ("DELETE FROM release_apim_base_revisions WHERE rowid = 1", "release_apim_base_revisions"),
        ("DELETE FROM release_deployments WHERE rowid = 1", "missing"),
        ("UPDATE release_deployments SET attempt = 9 WHERE rowid = 1", "not expected"),
        ("UPDATE release_deployments SET deployed_by = 'me' WHERE rowid = 1", "deployed_by is 'me'"),
        ("DELETE FROM release_activity_logs WHERE rowid = 1", "release_activity_logs"),
        ("UPDATE release_activity_logs SET release_deployment_id = 'x'", "release_activity_logs"),
        ("UPDATE release_activity_logs SET created_at = '' WHERE rowid = 5", "created_at is ''"),
        ("DELETE FROM release_event_rejections WHERE rowid = 1", "release_event_rejections"),
        ("UPDATE release_event_rejections SET reason = 'processing_error' WHERE rowid = 1", "reason is"),
        ("UPDATE release_event_rejections SET resolved_at = 'now' WHERE resolved_at IS NULL", "resolved_at"),
        ("UPDATE app_environments SET release_mgt_deployment_id = 'x' WHERE rowid = 1", "app_environments"),
    ],
)
def test_a_wrong_row_is_named(done: Imitation, statement: str, named: str) -> None:
    """Every table is looked at, to the value."""
    done.connection.execute(statement)
    assert any(named in difference for difference in differences(done))


def without_first(records: list[TopicRecord]) -> list[TopicRecord]:
    return records[1:]


def swapped(records: list[TopicRecord]) -> list[TopicRecord]:
    """Swap two status events of one release."""
    first = records[0]
    other = next(record for record in records[1:] if record.key == first.key)
    return [other if record is first else first if record is other else record for record in records]


def misquoted(records: list[TopicRecord]) -> list[TopicRecord]:
    return [replace(records[0], value=records[0].value + b" "), *records[1:]]


def foreign(records: list[TopicRecord]) -> list[TopicRecord]:
    return [*records, replace(records[0], value=b"\xff", headers=(), offset=10_000)]


@pytest.mark.parametrize("topic", ["deployment_statuses", "release_statuses"])
@pytest.mark.parametrize("spoil", [without_first, swapped, foreign])
def test_a_wrong_status_event_is_named(
    done: Imitation, topic: str, spoil: Callable[[list[TopicRecord]], list[TopicRecord]]
) -> None:
    """One missing, two in the wrong order, one that nobody understands."""
    setattr(done, topic, spoil(getattr(done, topic)))
    assert differences(done)


@pytest.mark.parametrize("spoil", [without_first, misquoted, foreign])
def test_a_wrong_dead_letter_is_named(done: Imitation, spoil: Callable[[list[TopicRecord]], list[TopicRecord]]) -> None:
    """One missing, one whose value was touched, one of nothing."""
    done.dead_letters = spoil(done.dead_letters)
    assert differences(done)
