"""The checks of `doctor`: each from facts to findings, without IO and without a clock."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from worker.database_behind import Behind, Expired
from worker.doctor.facts import Bounds, Certificate, ClockDifference, DatabaseFacts, PartitionOffsets, TopicRole
from worker.doctor.findings import Finding, fault, not_checked, ok, warning
from worker.group_breaker import Opening
from worker.ports import GroupDescription, TopicDescription, TopicFindings

_DAY_SECONDS = 86_400

_STABLE = "Stable"
_EMPTY = frozenset({"Empty", "Dead"})
"""States of a group without members."""

_NEAR_RETENTION = 0.8
"""The part of the retention at which a dead letter's record will soon be deleted."""


def versions(programs: Mapping[str, str]) -> Iterator[Finding]:
    yield ok("versions", ", ".join(f"{name} {version}" for name, version in programs.items()))


def schema(facts: DatabaseFacts) -> Iterator[Finding]:
    if facts.revision is None:
        yield fault("schema", "the database has no tables of rudder-worker, or this login may not see them",
                    "run `rudder-worker migrate`, or grant what `rudder-worker migrate --grants` prints")  # fmt: skip
    elif facts.revision == facts.head:
        yield ok("schema", f"the database is at revision {facts.revision}")
    elif facts.revision in facts.known:
        yield fault("schema", f"the database is at revision {facts.revision}; this version needs {facts.head}",
                    "run `rudder-worker migrate`")  # fmt: skip
    else:
        yield warning("schema", f"the database is at revision {facts.revision}, which is newer than {facts.head}",
                      "install the version of rudder-worker that migrated it")  # fmt: skip


def database_advice(facts: DatabaseFacts) -> Iterator[Finding]:
    """READ_COMMITTED_SNAPSHOT and indexes of app_environments, on SQL Server."""
    for line in facts.advice:
        yield warning("database", line)
    if not facts.advice:
        yield ok("database", f"{facts.product} needs no change")


def topics(found: TopicFindings) -> Iterator[Finding]:
    """As `run` finds them: missing topics, and `max.message.bytes`."""
    for line in found.problems:
        yield fault("topics", line)
    for line in found.advice:
        yield warning("topics", line)
    if not found.problems and not found.advice:
        yield ok("topics", "all topics exist and take the worker's records")


def retention(
    roles: Sequence[TopicRole], described: Mapping[str, TopicDescription], bounds: Bounds
) -> Iterator[Finding]:
    """Whether topics keep what a replay reads: the input, and the dead letters."""
    kept = []
    for role in roles:
        if not (role.is_input or role.is_dead_letters) or role.name not in described:
            continue
        seconds, size = described[role.name].retention_seconds, described[role.name].retention_bytes
        named = f"topic {role.name} ({role.setting})"
        if seconds is None:
            yield not_checked("retention", f"the broker does not describe retention.ms of {named}")
        elif seconds < bounds.replay_seconds:
            yield warning(
                "retention",
                f"{named} keeps records for {_days(seconds)}; a replay may need {_days(bounds.replay_seconds)}",
                f"set retention.ms to {bounds.replay_seconds * 1000:.0f} or more, or name another bound by --replay",
            )
        elif size is not None and size < float("inf"):
            yield warning(
                "retention",
                f"{named} has retention.bytes={size:.0f}: records are deleted by size, however new they are",
                "set retention.bytes=-1, or make sure that it is enough for a replay",
            )
        else:
            kept.append(role.name)
    if kept:
        yield ok("retention", f"{', '.join(kept)}: long enough for a replay of {_days(bounds.replay_seconds)}")


def cleanup(roles: Sequence[TopicRole], described: Mapping[str, TopicDescription]) -> Iterator[Finding]:
    """Compaction deletes events: all records of a release have one key. The topic of states needs it: its last record
    of each key is the state.
    """
    kept, compacted = [], []
    for role in roles:
        if role.name not in described:
            continue
        policy = described[role.name].cleanup_policy
        named = f"topic {role.name} ({role.setting})"
        if policy is None:
            yield not_checked("cleanup policy", f"the broker does not describe cleanup.policy of {named}")
        elif role.is_states and policy != "compact":
            yield warning("cleanup policy", f"{named} has cleanup.policy={policy}: states that do not change are "
                          "deleted after the retention time, and a subscriber that starts later lacks them",
                          "set cleanup.policy=compact, then run `rudder-worker state publish`")  # fmt: skip
        elif role.is_states:
            compacted.append(role.name)
        elif "compact" in policy:
            yield fault("cleanup policy", f"{named} has cleanup.policy={policy}: compaction deletes all but the last "
                        "event of a release", "set cleanup.policy=delete")  # fmt: skip
        else:
            kept.append(role.name)
    if kept:
        yield ok("cleanup policy", f"{', '.join(kept)}: delete")
    if compacted:
        yield ok("cleanup policy", f"{', '.join(compacted)}: compact")


def partitions(
    roles: Sequence[TopicRole], described: Mapping[str, TopicDescription], group: GroupDescription | None
) -> Iterator[Finding]:
    counts = {role.name: described[role.name].partitions for role in roles if role.name in described}
    if not counts:
        yield not_checked("partitions", "no topic is described")
        return
    yield ok("partitions", ", ".join(f"{name}: {count}" for name, count in counts.items()))
    inputs = sum(counts.get(role.name, 0) for role in roles if role.is_input)
    if group is not None and len(group.members) > inputs:
        yield warning("partitions", f"the group has {len(group.members)} members for {inputs} input partitions: "
                      "the others stand by", "add partitions, or run fewer workers")  # fmt: skip


def members(group: GroupDescription) -> Iterator[Finding]:
    """Client ids and hosts. Kafka does not report the versions of a group's members."""
    if group.state in _EMPTY or not group.members:
        yield warning("members", f"group {group.group_id} has no members", "start `rudder-worker run`")
        return
    counts = Counter(f"{member.client_id} at {member.host.removeprefix('/')}" for member in group.members)
    listed = ", ".join(f"{name}{f' ({count} times)' if count > 1 else ''}" for name, count in sorted(counts.items()))
    if group.state == _STABLE:
        yield ok("members", f"group {group.group_id}: {listed}")
    else:
        yield warning("members", f"group {group.group_id} is in state {group.state}: {listed}",
                      "run `rudder-worker doctor` again; a rebalance takes seconds")  # fmt: skip
    yield not_checked("member versions", "Kafka does not report them; /metrics of each worker has rudder_build_info")


def lag(offsets: Sequence[PartitionOffsets], bounds: Bounds) -> Iterator[Finding]:
    committed = [one for one in offsets if one.committed is not None]
    if offsets and not committed:
        yield warning(
            "lag", "the group has committed no offsets", "start `rudder-worker run`, or check RUDDER_GROUP_ID"
        )
        return
    for one in committed:
        at = f"{one.topic}/{one.partition}"
        if one.committed is not None and one.committed < one.begin:
            yield fault("lag", f"{at}: the topic begins at {one.begin}, and the group has committed {one.committed}: "
                        f"{one.begin - one.committed:,} offsets were deleted before they were read",
                        "raise retention.ms, and run `rudder-worker verify`")  # fmt: skip
        elif one.committed is not None and one.committed > one.end:
            yield fault("lag", f"{at}: the group has committed {one.committed}, and the topic ends at {one.end}: it "
                        "was created again", "reset the group's offsets to the beginning of the topic")  # fmt: skip
    total = sum(max(0, one.end - max(one.committed or 0, one.begin)) for one in offsets)
    if total > bounds.lag_records:
        yield warning("lag", f"{total:,} records are not processed, more than {bounds.lag_records:,}",
                      "see docs/how-to/monitor.md, or name another bound by --lag")  # fmt: skip
    else:
        yield ok("lag", f"{total:,} records are not processed")


def clock(name: str, difference: ClockDifference | None, bounds: Bounds) -> Iterator[Finding]:
    check = f"clock of the {name}"
    if difference is None:
        yield ok(check, "the database is on this machine")
        return
    text = f"{abs(difference.seconds):.3f} s {'ahead of' if difference.seconds > 0 else 'behind'} this machine's"
    text += f", measured to {difference.round_trip_seconds / 2:.3f} s"
    if abs(difference.seconds) - difference.round_trip_seconds / 2 > bounds.clock_seconds:
        yield warning(check, text, "set both clocks by NTP")
    else:
        yield ok(check, text)


def broker_clock() -> Iterator[Finding]:
    yield not_checked("clock of the broker", "not measurable: no answer of Kafka has the broker's time")


def breaker(group_id: str, opening: Opening | None) -> Iterator[Finding]:
    if opening is None:
        yield ok("breaker", f"the breaker of group {group_id} is closed")
    else:
        yield fault("breaker", f"the breaker of group {group_id} is open: {opening}", "see docs/how-to/breaker.md")


def database_behind(found: Sequence[Behind | Expired]) -> Iterator[Finding]:
    check = "database behind"
    for finding in found:
        if isinstance(finding, Behind):
            yield fault(check, str(finding), "see docs/how-to/restored-database.md")
        else:
            yield not_checked(check, str(finding))
    if not found:
        yield ok(check, "the database has the last event that the group committed in each partition")


def dead_letters(
    facts: DatabaseFacts, described: Mapping[str, TopicDescription], *, now: datetime
) -> Iterator[Finding]:
    """Whether the records of open dead letters are still in their topics."""
    if facts.oldest_open is None:
        yield not_checked("dead letters", "the tables are not those of this version")
        return
    if not facts.oldest_open:
        yield ok("dead letters", "no dead letter is open")
    for topic, created_at in sorted(facts.oldest_open.items()):
        age_seconds = (now - created_at).total_seconds()
        text = f"the oldest open dead letter of topic {topic} is {_days(age_seconds)} old"
        kept = described[topic].retention_seconds if topic in described else None
        action = "redrive or dismiss it: `rudder-worker dead-letters list`"
        if kept is None:
            yield warning("dead letters", f"{text}; the retention of that topic is not known", action)
        elif age_seconds > kept:
            yield warning("dead letters", f"{text}, and the topic keeps records for {_days(kept)}: its record is "
                          "deleted, and a redrive needs the copy in the dead-letter topic", action)  # fmt: skip
        elif age_seconds > kept * _NEAR_RETENTION:
            yield warning("dead letters", f"{text}; the topic deletes its record after {_days(kept)}", action)
        else:
            yield ok("dead letters", f"{text}; the topic keeps records for {_days(kept)}")


def certificates(found: Sequence[Certificate], bounds: Bounds, *, now: datetime) -> Iterator[Finding]:
    if not found:
        yield ok("certificates", "the broker's listener has no TLS")
    for certificate in found:
        days = (certificate.expires_at - now).total_seconds() / _DAY_SECONDS
        text = f"{certificate.holder}: valid until {certificate.expires_at:%Y-%m-%d %H:%M}Z"
        if days <= 0:
            yield fault("certificates", f"{text}, expired", "replace the certificate")
        elif days < bounds.certificate_days:
            yield warning("certificates", f"{text}, {days:.0f} days from now", "replace the certificate")
        else:
            yield ok("certificates", text)


def _days(seconds: float) -> str:
    if seconds == float("inf"):
        return "any time"
    return f"{seconds / _DAY_SECONDS:.1f} days" if seconds >= _DAY_SECONDS else f"{seconds / 3_600:.1f} hours"
