"""The plan of a redrive: order, groups, and the bytes that are sent."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from schemas.record import Record
from tests.properties.oracle_scenarios import START, Step, record_of
from tests.properties.redrive_world import RedriveWorld, decoded
from worker.dead_letters.originals import original_of
from worker.dead_letters.plan import Decision, Origin, RedrivePlan, groups, in_original_order, redriven
from worker.dead_letters.redrive import next_size
from worker.pipeline.dead_letter import REASON_HEADERS, dead_letter
from worker.rules.errors import ConfigurationError
from worker.rules.message import RecordPosition
from worker.stored_redrives import Pinned

NOW = START + timedelta(days=2)


def pinned(partition: int, offset: int) -> Pinned:
    return Pinned(UUID(int=partition * 1000 + offset), RecordPosition("in", partition, offset))


def record(**more: Any) -> Record:
    whole = {"topic": "in", "partition": 3, "offset": 7, "timestamp_ms": 5, "key": b"", "value": b"", **more}
    return Record(**whole)


@pytest.mark.parametrize(("key", "value"), [(None, b""), (b"", b"{}"), (b"k", b"\xff")])
def test_redriven_record_keeps_its_bytes(key: bytes | None, value: bytes) -> None:
    """Null is not empty; header order and repetitions are kept; an earlier redrive header is replaced."""
    headers = (("x", None), ("rudder-redrive", b"1"), ("y", b""), ("x", b"2"))
    one = Pinned(uuid4(), RecordPosition("in", 3, 7))
    sent = redriven(record(key=key, value=value, headers=headers), one, event_id=one.rejection_id)
    assert (sent.topic, sent.partition, sent.key, sent.value) == ("in", 3, key, value)
    assert sent.headers == (("x", None), ("y", b""), ("x", b"2"), ("rudder-redrive", b"in/3@7"))
    assert sent.shorter is None


def test_redrive_of_an_event_without_identity_corrects_it() -> None:
    one = Pinned(uuid4(), RecordPosition("in", 3, 7))
    sent = redriven(record(), one, event_id=uuid4())
    assert sent.headers[-1] == ("rudder-corrects", str(one.rejection_id).encode())


def test_order_follows_offsets_before_timestamps() -> None:
    """A partition's offsets order its records, whatever their timestamps; timestamps order partitions."""
    origins = {
        pinned(0, 5): Origin(5, 900),
        pinned(0, 6): Origin(6, 100),
        pinned(1, 1): Origin(1, 500),
        pinned(1, 2): Origin(2, 950),
    }
    assert in_original_order(origins) == [pinned(1, 1), pinned(0, 5), pinned(0, 6), pinned(1, 2)]


def test_order_of_a_rejected_redrive_is_that_of_its_event() -> None:
    """The rejection stands at the last redrive; its event was published before the others."""

    async def play() -> RedrivePlan:
        world = RedriveWorld(now_ms=int(NOW.timestamp() * 1000))
        first = record_of(Step(block=False), 0)
        world.append(first)
        world.append(record_of(Step(kind="deployment.started", block=False), 1))
        for before in (0, 2, 3):
            again = (("rudder-redrive", f"in/0@{before}".encode()),)
            world.append(replace(first, headers=(*first.headers, *again)))
            world.work()
        rejections = list(world.tables.rejections.values())
        return await world.planning().plan(rejections, now=NOW)

    plan = asyncio.run(play())
    assert [one.pinned.position.offset for one in plan.records] == [4, 1]
    assert {one.predicted for one in plan.records} == {"rejected release_not_found"}


def test_groups_link_releases_identities_and_numbers() -> None:
    """Directly, or by another record."""
    steps = [
        Step(release=1),
        Step(release=2),
        Step(release=3, number=9),
        Step(release=2, number=9),
        Step(release=3, kind="activity.recorded", block=False),
    ]
    messages = [decoded(record_of(step, offset)) for offset, step in enumerate(steps)]
    first, *others = groups(messages)
    assert len(set(others)) == 1
    assert first not in others
    assert groups([]) == []


def test_ramp_doubles_up_to_a_bound() -> None:
    sizes = [1]
    while next_size(sizes[-1]) != sizes[-1]:
        sizes.append(next_size(sizes[-1]))
    assert sizes == [1, 2, 5, 10, 20, 40, 80, 100]


REASONS = dict.fromkeys(REASON_HEADERS, "0") | {"rudder-id": str(UUID(int=9)), "rudder-topic": "in"}


def test_complete_dead_letter_is_its_record() -> None:
    original = record(headers=(("x", None), ("rudder-id", b"the publisher's")), partition=0, offset=0, timestamp_ms=0)
    outgoing = dead_letter(original, REASONS, topic="dead")
    published = record(topic="dead", key=outgoing.key, value=outgoing.value, headers=outgoing.headers)
    assert original_of(published) == (Pinned(UUID(int=9), RecordPosition("in", 0, 0)), original)


def test_incomplete_dead_letter_is_no_copy() -> None:
    """Of each shorter form, and of records that are no dead letters."""
    outgoing = dead_letter(record(value=b"v", key=b"k"), REASONS, topic="dead")
    while outgoing.shorter is not None:
        outgoing = outgoing.shorter()
        assert original_of(record(key=outgoing.key, value=outgoing.value, headers=outgoing.headers)) is None
    assert original_of(record()) is None
    broken = tuple((name, b"x" if name == "rudder-offset" else text.encode()) for name, text in REASONS.items())
    assert original_of(record(headers=broken)) is None


@pytest.mark.parametrize("content", [{}, {"records": 1}, {"created_at": "", "include_failing": True, "records": [{}]}])
def test_content_of_another_version_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="make a new one"):
        RedrivePlan.of_json(content)


def test_only_passing_decisions_pass() -> None:
    assert [one for one in Decision if one.passes] == [Decision.APPLIED, Decision.STALE]
