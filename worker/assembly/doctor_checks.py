"""Wires the checks of `doctor` to the broker, the database and the files of the settings."""

import platform
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from importlib.metadata import version

from worker.assembly.databases import store
from worker.assembly.handling import reader
from worker.assembly.kafka_clients import kafka_connection, output_topics, publisher, topic_check, topic_reader
from worker.database_behind import check_group
from worker.db.diagnosis import diagnose
from worker.db.revisions import head_revision, known_revisions
from worker.doctor import checks
from worker.doctor.examination import Check, examine
from worker.doctor.facts import (
    Bounds,
    Certificate,
    ClockDifference,
    DatabaseFacts,
    PartitionOffsets,
    TopicRole,
)
from worker.doctor.findings import Finding, not_checked, ok
from worker.kafka import certificates
from worker.kafka.group_description import described_group
from worker.ports import GroupDescription, TopicFindings
from worker.rules.errors import ConfigurationError
from worker.settings import Settings
from worker.version import __version__

Look = Callable[[], Awaitable[Iterable[Finding]]]

_PACKAGES = ("aiokafka", "sqlalchemy")


async def doctor(settings: Settings, bounds: Bounds) -> Sequence[Finding]:
    """The findings of all checks. Nothing is written, created or joined.

    Raises:
        ConfigurationError: the settings name a database or files that cannot be used.
    """
    examined = _Doctor(settings, bounds)
    try:
        return await examine(examined.checks())
    finally:
        await examined.close()


def topic_roles(settings: Settings) -> Sequence[TopicRole]:
    """The topics of the settings, each once: a topic that is read as well as written is an input."""
    named = [
        *((topic, "RUDDER_INPUT_TOPICS", True) for topic in settings.input_topics),
        *((topic, setting, False) for setting, topic in output_topics(settings).by_setting.items()),
    ]
    roles: dict[str, TopicRole] = {}
    for name, setting, is_input in named:
        role = TopicRole(
            name=name,
            setting=setting,
            is_input=is_input,
            is_dead_letters=name == settings.dead_letter_topic,
            is_states=name == settings.deployment_state_topic,
        )
        roles.setdefault(name, role)
    return tuple(roles.values())


class _Doctor:
    """The facts that later checks need of earlier ones."""

    def __init__(self, settings: Settings, bounds: Bounds) -> None:
        self._settings = settings
        self._bounds = bounds
        self._connection = kafka_connection(settings)
        self._producer = publisher(settings, self._connection)
        self._topics = topic_check(settings, self._producer)
        self._reader = topic_reader(settings)
        self._roles = topic_roles(settings)
        self._database: DatabaseFacts | None = None
        self._group: GroupDescription | None = None

    def checks(self) -> Sequence[Check]:
        return (
            Check(name="versions", look=self._versions),
            Check(name="certificates", look=self._certificates),
            Check(name="database", look=self._look_at_database, required=True),
            Check(name="schema", look=self._of_database(checks.schema), needs=("database",)),
            Check(name="pooling", look=self._pooling, needs=("database",)),
            Check(name="clock of the database", look=self._of_database(self._clock), needs=("database",)),
            Check(name="broker", look=self._look_at_broker, required=True),
            Check(name="clock of the broker", look=self._broker_clock),
            Check(name="topics", look=self._look_at_topics, needs=("broker",), required=True),
            Check(name="cleanup policy", look=self._cleanup, needs=("topics",)),
            Check(name="retention", look=self._retention, needs=("topics",)),
            Check(name="privileges", look=self._privileges, needs=("broker",)),
            Check(name="members", look=self._members, needs=("broker",)),
            Check(name="partitions", look=self._partitions, needs=("topics",)),
            Check(name="lag", look=self._lag, needs=("broker",)),
            Check(name="breaker", look=self._breaker, needs=("database",)),
            Check(name="database behind", look=self._database_behind, needs=("database", "broker")),
            Check(name="dead letters", look=self._dead_letters, needs=("database",)),
        )

    async def close(self) -> None:
        async with AsyncExitStack() as closing:
            closing.push_async_callback(self._producer.stop)
            closing.push_async_callback(self._reader.stop)

    async def _versions(self) -> Iterable[Finding]:
        programs = {"rudder-worker": __version__, "Python": platform.python_version()}
        return checks.versions(programs | {name: version(name) for name in _PACKAGES})

    async def _certificates(self) -> Iterable[Finding]:
        try:
            of_files = list(certificates.of_files(self._connection))
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"a RUDDER_KAFKA_SSL_… file cannot be read: {error}") from error
        found = [Certificate(holder=holder, expires_at=expires_at) for holder, expires_at in of_files]
        unknown = []
        for server, expiry in await certificates.of_servers(self._connection):
            if isinstance(expiry, str):
                unknown.append(not_checked("certificates", f"the certificate of {server} is not known: {expiry}"))
            else:
                found.append(Certificate(holder=f"server {server}", expires_at=expiry))
        if unknown and not found:
            return unknown
        return [*checks.certificates(found, self._bounds, now=datetime.now(UTC)), *unknown]

    async def _look_at_database(self) -> Iterable[Finding]:
        found = await diagnose(
            self._settings.database_url.get_secret_value(),
            head=head_revision(),
            timeout_seconds=self._settings.database_timeout_seconds,
        )
        clock = None
        if found.clock_ahead_seconds is not None:
            clock = ClockDifference(seconds=found.clock_ahead_seconds, round_trip_seconds=found.round_trip_seconds)
        self._database = DatabaseFacts(
            product=found.product,
            revision=found.revision,
            head=head_revision(),
            known=frozenset(known_revisions()),
            clock=clock,
            advice=found.advice,
            oldest_open=found.oldest_open,
        )
        return checks.database_advice(self._database)

    def _of_database(self, check: Callable[[DatabaseFacts], Iterable[Finding]]) -> Look:
        async def look() -> Iterable[Finding]:
            return check(self._require_database())

        return look

    def _require_database(self) -> DatabaseFacts:
        if self._database is None:
            raise RuntimeError("the database was not looked at")
        return self._database

    def _clock(self, facts: DatabaseFacts) -> Iterable[Finding]:
        return checks.clock("database", facts.clock, self._bounds)

    async def _broker_clock(self) -> Iterable[Finding]:
        return checks.broker_clock()

    async def _pooling(self) -> Iterable[Finding]:
        database = store(self._settings)
        try:
            await database.connect()  # refuses a pooler without sessions
        finally:
            await database.close()
        return [ok("pooling", "each connection keeps its session")]

    async def _look_at_broker(self) -> Iterable[Finding]:
        await self._producer.start()
        await self._reader.start()
        cluster = await self._reader.cluster_id()
        return [
            ok("broker", f"Kafka at {self._settings.kafka_bootstrap_servers} answers; cluster {cluster}"),
            not_checked("broker version", "Kafka's protocol does not report it; ask kafka-broker-api-versions.sh"),
        ]

    async def _look_at_topics(self) -> Iterable[Finding]:
        found: TopicFindings = await self._topics.check()
        return checks.topics(found)

    async def _cleanup(self) -> Iterable[Finding]:
        return checks.cleanup(self._roles, self._topics.described)

    async def _retention(self) -> Iterable[Finding]:
        return checks.retention(self._roles, self._topics.described, self._bounds)

    async def _partitions(self) -> Iterable[Finding]:
        return checks.partitions(self._roles, self._topics.described, self._group)

    async def _privileges(self) -> Iterable[Finding]:
        unknown = (*await self._topics.check_privileges(), *await self._reader.check_privileges())
        return [not_checked("privileges", line) for line in unknown] or [
            ok("privileges", "this login may read the input, write the output and join the group")
        ]

    async def _members(self) -> Iterable[Finding]:
        self._group = await described_group(self._connection, self._settings.group_id)
        return checks.members(self._group)

    async def _lag(self) -> Iterable[Finding]:
        topics = self._settings.input_topics
        committed = await self._reader.committed(topics)
        begins, ends = await self._reader.begins(topics), await self._reader.ends(topics)
        offsets = [
            PartitionOffsets(
                topic=partition.topic,
                partition=partition.partition,
                begin=begins.get(partition, 0),
                end=end,
                committed=committed.get(partition),
            )
            for partition, end in sorted(ends.items())
        ]
        return checks.lag(offsets, self._bounds)

    async def _breaker(self) -> Iterable[Finding]:
        database = store(self._settings)
        try:
            opening = await database.openings().current(self._settings.group_id)
        finally:
            await database.close()
        return checks.breaker(self._settings.group_id, opening)

    async def _database_behind(self) -> Iterable[Finding]:
        if self._require_database().revision != head_revision():
            return [not_checked("database behind", "the tables are not those of this version")]
        database = store(self._settings)
        try:
            found = await check_group(
                self._settings.input_topics, self._reader, database.known_events(), reader(self._settings)
            )
        finally:
            await database.close()
        return checks.database_behind(found)

    async def _dead_letters(self) -> Iterable[Finding]:
        return checks.dead_letters(self._require_database(), self._topics.described, now=datetime.now(UTC))
