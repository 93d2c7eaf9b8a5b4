"""Contenders write the same activities and publish the same status events as the worker, byte for byte.

A benchmark compares rows and status events with the oracle; these tests find a difference without a server.
"""

import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from benchmarks.contenders import echo
from benchmarks.contenders.orm_events import DeploymentEvent
from benchmarks.contenders.orm_handler import apply
from benchmarks.contenders.orm_log import Place, said_by
from benchmarks.contenders.orm_models import Release
from benchmarks.contenders.status_records import status_record
from benchmarks.statements import activity_data
from schemas.outgoing import DeploymentStatusChanged
from schemas.record import Record
from tests.unit.benchmarks.stream_messages import stream_messages
from worker.pipeline.outgoing import OutgoingRecords, Topics
from worker.rules.state import Applied

EVENTS = 1_500
TOPICS = Topics(deployment_status="deployment", release_status="release", dead_letters="dead-letters")
OUTGOING = OutgoingRecords(topics=TOPICS, content_mode="binary", source="/rudder-worker", worker="worker")


@dataclass(frozen=True, slots=True, kw_only=True)
class Handled:
    """One event of the stream, and what the worker makes of it."""

    record: Record
    outcome: Applied
    published: list[tuple[object, ...]]


def test_orm_contenders_write_and_publish_like_the_worker() -> None:
    session = AsyncSession()  # never flushed, so that it needs no database
    releases: dict[bytes | None, Release] = {}
    for handled in _handled():
        record = handled.record
        event = DeploymentEvent.model_validate_json(record.value or b"")
        place = Place(topic=record.topic, partition=record.partition, offset=record.offset)
        activities = apply(session, releases.get(record.key), event, place)
        releases[record.key] = activities[0].release
        found = [(one.id, one.release_deployment_id, one.activity_type, one.activity_data) for one in activities]
        expected = handled.outcome.changes.activities
        assert found == [(one.id, one.deployment_id, one.activity_type, one.activity_data) for one in expected]
        assert activities[0].release.version.version == handled.outcome.changes.release_version
        sent = [status_record(activity, said_by(activity)) for activity in activities]
        assert [(one.about, one.key, one.value, tuple(one.raw_headers)) for one in sent] == handled.published


def test_broker_contenders_publish_every_field_of_a_status_event() -> None:
    data = json.loads(echo.VALUE)
    assert list(data) == list(DeploymentStatusChanged.model_fields)
    DeploymentStatusChanged.model_validate_json(echo.VALUE)


def test_pgbench_writes_every_member_of_an_activity() -> None:
    """Members that are absent from some activities of the stream are in others."""
    written: defaultdict[str, dict[str, object]] = defaultdict(dict)
    for handled in _handled():
        for activity in handled.outcome.changes.activities:
            written[activity.activity_type] |= json.loads(activity.activity_data)
    release, deployment = json.loads(activity_data("RELEASE")), json.loads(activity_data("DEPLOYMENT"))
    assert release.keys() == written["RELEASE_STATUS_CHANGED"].keys()
    assert deployment.keys() == written["DEPLOYMENT_STATUS_CHANGED"].keys() - {"deployed_at", "deployed_by"}
    for data in (release, deployment):
        assert data["release"].keys() == written["RELEASE_STATUS_CHANGED"]["release"].keys()  # type: ignore[attr-defined]


def _handled() -> Iterator[Handled]:
    for message, world in stream_messages(EVENTS):
        outcome = world.take(message)
        assert isinstance(outcome, Applied)
        outgoing = OUTGOING.of(outcome, message, attempts=1)
        published: list[tuple[object, ...]] = [
            (one.topic, one.key or b"", one.value or b"", tuple(one.headers)) for one in outgoing
        ]
        yield Handled(record=message.record, outcome=outcome, published=published)
