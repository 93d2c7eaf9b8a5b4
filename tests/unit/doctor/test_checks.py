"""Each check of `doctor` on facts: its level, its object, and what to do."""

import math
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from worker.database_behind import Behind, Expired
from worker.doctor import checks
from worker.doctor.examination import Check, examine
from worker.doctor.facts import Bounds, Certificate, ClockDifference, DatabaseFacts, PartitionOffsets, TopicRole
from worker.doctor.findings import Finding, Level, ok, warning, worst
from worker.ports import GroupDescription, GroupMember, Partition, TopicDescription, TopicFindings
from worker.rules.errors import ConfigurationError, Unavailable

NOW = datetime(2026, 3, 10, tzinfo=UTC)
DAY = 86_400.0
BOUNDS = Bounds(replay_seconds=7 * DAY, lag_records=100, clock_seconds=5, certificate_days=30)
EVENTS = TopicRole(name="events", setting="RUDDER_INPUT_TOPICS", is_input=True, is_dead_letters=False)
STATUS = TopicRole(name="status", setting="RUDDER_RELEASE_STATUS_TOPIC", is_input=False, is_dead_letters=False)
DEAD = TopicRole(name="dead", setting="RUDDER_DEAD_LETTER_TOPIC", is_input=False, is_dead_letters=True)
ROLES = (EVENTS, STATUS, DEAD)
DESCRIBED = TopicDescription(
    partitions=3, cleanup_policy="delete", retention_seconds=30 * DAY, retention_bytes=math.inf
)
DATABASE = DatabaseFacts(
    product="postgresql 18",
    revision="0.0.9",
    head="0.0.9",
    known=frozenset({"0.0.8", "0.0.9"}),
    clock=None,
    advice=(),
    oldest_open={},
)
MEMBER = GroupMember(client_id="rudder-worker", host="/10.0.0.7")
GROUP = GroupDescription(group_id="rudder-worker", state="Stable", members=(MEMBER,))


def levels(findings: Iterable[Finding]) -> list[Level]:
    return [finding.level for finding in findings]


@pytest.mark.parametrize(
    ("revision", "level"),
    [(None, Level.FAULT), ("0.0.8", Level.FAULT), ("0.0.9", Level.OK), ("0.0.10", Level.WARNING)],
)
def test_schema_must_be_that_of_this_version(revision: str | None, level: Level) -> None:
    """A newer one is what a rollout leaves for a while."""
    assert levels(checks.schema(replace(DATABASE, revision=revision))) == [level]


def test_database_advice_is_a_warning() -> None:
    assert levels(checks.database_advice(DATABASE)) == [Level.OK]
    [found] = checks.database_advice(replace(DATABASE, advice=("READ_COMMITTED_SNAPSHOT is off",)))
    assert (found.level, found.text) == (Level.WARNING, "READ_COMMITTED_SNAPSHOT is off")


def test_missing_topic_is_a_fault() -> None:
    found = TopicFindings(outputs=("topic dead does not exist",), advice=("max.message.bytes is small",))
    assert levels(checks.topics(found)) == [Level.FAULT, Level.WARNING]
    assert levels(checks.topics(TopicFindings())) == [Level.OK]


@pytest.mark.parametrize(
    ("changed", "level", "words"),
    [
        ({}, Level.OK, "events, dead"),
        ({"retention_seconds": math.inf}, Level.OK, "events, dead"),
        ({"retention_seconds": 6.5 * DAY}, Level.WARNING, "6.5 days"),
        ({"retention_bytes": 1_000_000.0}, Level.WARNING, "retention.bytes=1000000"),
        ({"retention_seconds": None}, Level.NOT_CHECKED, "retention.ms"),
    ],
)
def test_retention_must_be_enough_for_a_replay(changed: dict[str, Any], level: Level, words: str) -> None:
    """Of the input and of the dead letters; status topics are not read again."""
    topic = replace(DESCRIBED, **changed)
    found = list(checks.retention(ROLES, {"events": topic, "dead": topic, "status": topic}, BOUNDS))
    assert {finding.level for finding in found} == {level}
    assert words in found[0].text
    assert "status" not in "".join(finding.text for finding in found)


@pytest.mark.parametrize("policy", ["compact", "compact,delete"])
def test_compaction_is_a_fault(policy: str) -> None:
    compacted = {"events": replace(DESCRIBED, cleanup_policy=policy), "status": DESCRIBED}
    found, rest = checks.cleanup(ROLES, compacted)
    assert (found.level, found.action) == (Level.FAULT, "set cleanup.policy=delete")
    assert "topic events (RUDDER_INPUT_TOPICS)" in found.text
    assert rest.level is Level.OK
    assert levels(checks.cleanup(ROLES, {"dead": replace(DESCRIBED, cleanup_policy=None)})) == [Level.NOT_CHECKED]


@pytest.mark.parametrize(
    ("policy", "level"), [("compact", Level.OK), ("delete", Level.WARNING), ("compact,delete", Level.WARNING)]
)
def test_topic_of_states_must_be_compacted(policy: str, level: Level) -> None:
    """And nothing else: deleted states are lacking for subscribers that start later."""
    states = TopicRole(
        name="states",
        setting="RUDDER_DEPLOYMENT_STATE_TOPIC",
        is_input=False,
        is_dead_letters=False,
        is_states=True,
    )
    [found] = checks.cleanup([states], {"states": replace(DESCRIBED, cleanup_policy=policy)})
    assert found.level is level
    assert "states" in found.text


def test_idle_members_are_a_warning() -> None:
    crowd = replace(GROUP, members=(MEMBER,) * 4)
    described = {"events": DESCRIBED, "dead": DESCRIBED}
    assert levels(checks.partitions(ROLES, described, GROUP)) == [Level.OK]
    assert levels(checks.partitions(ROLES, described, crowd)) == [Level.OK, Level.WARNING]
    assert levels(checks.partitions(ROLES, {}, None)) == [Level.NOT_CHECKED]


@pytest.mark.parametrize(
    ("group", "level"),
    [
        (GROUP, Level.OK),
        (replace(GROUP, state="PreparingRebalance"), Level.WARNING),
        (replace(GROUP, state="Empty", members=()), Level.WARNING),
    ],
)
def test_group_must_have_members(group: GroupDescription, level: Level) -> None:
    found = next(iter(checks.members(group)))
    assert found.level is level
    assert "10.0.0.7" in found.text or not group.members


@pytest.mark.parametrize(
    ("committed", "level"),
    [(950, Level.OK), (899, Level.WARNING), (None, Level.WARNING), (99, Level.FAULT), (1_001, Level.FAULT)],
)
def test_lag_is_compared_with_its_bound(committed: int | None, level: Level) -> None:
    """A commit outside the topic is a fault: records were deleted unread, or the topic was created again."""
    offsets = PartitionOffsets(topic="events", partition=0, begin=100, end=1_000, committed=committed)
    assert worst(checks.lag([offsets], BOUNDS)) is level


@pytest.mark.parametrize(
    ("difference", "level"),
    [
        (None, Level.OK),
        (ClockDifference(seconds=-4.9, round_trip_seconds=0.001), Level.OK),
        (ClockDifference(seconds=5.2, round_trip_seconds=0.6), Level.OK),
        (ClockDifference(seconds=-5.2, round_trip_seconds=0.01), Level.WARNING),
    ],
)
def test_clock_difference_beyond_its_error_is_a_warning(difference: ClockDifference | None, level: Level) -> None:
    assert levels(checks.clock("database", difference, BOUNDS)) == [level]


def test_broker_clock_is_not_measurable() -> None:
    assert levels(checks.broker_clock()) == [Level.NOT_CHECKED]


@pytest.mark.parametrize(
    ("age_days", "retention", "level", "words"),
    [
        (1, 30 * DAY, Level.OK, "keeps records for 30.0 days"),
        (25, 30 * DAY, Level.WARNING, "deletes its record after 30.0 days"),
        (31, 30 * DAY, Level.WARNING, "its record is deleted"),
        (31, math.inf, Level.OK, "any time"),
        (1, None, Level.WARNING, "not known"),
    ],
)
def test_dead_letter_is_compared_with_its_retention(
    age_days: int, retention: float | None, level: Level, words: str
) -> None:
    facts = replace(DATABASE, oldest_open={"events": NOW - timedelta(days=age_days)})
    [found] = checks.dead_letters(facts, {"events": replace(DESCRIBED, retention_seconds=retention)}, now=NOW)
    assert (found.level, words in found.text) == (level, True), found.text


def test_unknown_dead_letters_are_not_checked() -> None:
    """Another revision may have other tables."""
    assert levels(checks.dead_letters(DATABASE, {}, now=NOW)) == [Level.OK]
    assert levels(checks.dead_letters(replace(DATABASE, oldest_open=None), {}, now=NOW)) == [Level.NOT_CHECKED]


@pytest.mark.parametrize(("days", "level"), [(31, Level.OK), (29, Level.WARNING), (0, Level.FAULT), (-1, Level.FAULT)])
def test_certificate_that_expires_is_found(days: int, level: Level) -> None:
    certificate = Certificate(holder="ca.pem", expires_at=NOW + timedelta(days=days))
    assert levels(checks.certificates([certificate], BOUNDS, now=NOW)) == [level]
    assert levels(checks.certificates([], BOUNDS, now=NOW)) == [Level.OK]


async def test_failed_check_is_a_finding_and_others_continue() -> None:
    """What needs it is not checked, and names it."""

    async def refused() -> Iterable[Finding]:
        raise ConfigurationError("the login is refused")

    async def unavailable() -> Iterable[Finding]:
        raise Unavailable("no answer")

    async def good() -> Iterable[Finding]:
        return [ok("lag", "0 records"), warning("lag", "1 record")]

    found = await examine(
        [
            Check(name="database", look=refused),
            Check(name="schema", look=good, needs=("database",)),
            Check(name="clock", look=good, needs=("schema",)),
            Check(name="broker", look=unavailable, required=True),
            Check(name="members", look=unavailable),
            Check(name="lag", look=good),
        ]
    )
    assert [(finding.check, finding.level) for finding in found] == [
        ("database", Level.FAULT),
        ("schema", Level.NOT_CHECKED),
        ("clock", Level.NOT_CHECKED),
        ("broker", Level.FAULT),
        ("members", Level.NOT_CHECKED),
        ("lag", Level.OK),
        ("lag", Level.WARNING),
    ]
    assert found[1].text == "the check of the database failed"
    assert worst(found) is Level.FAULT


def test_missing_committed_event_is_a_fault() -> None:
    partition = Partition("events", 3)
    behind = Behind(partition=partition, committed=7, offset=6, event="/ci 42")
    expired = Expired(partition=partition, committed=7, begin=9)
    assert levels(checks.database_behind([behind, expired])) == [Level.FAULT, Level.NOT_CHECKED]
    assert levels(checks.database_behind([])) == [Level.OK]
