"""A verification from end to end: read everything in an order that allows no false alarm, then check it.

A worker writes its rows, then publishes, then commits. So the order of reading is:

1. the group's commits: records below them have all their effects before anything else is read; then the ends of the
   input topics: a commit beyond its partition's end belongs to an earlier log of the topic;
2. the ends of the output topics: a record below them was written to the tables before it was published;
3. the rows of `app_environments`: the deployments they point at are in the tables, which are read later;
4. the tables: they hold the cause of each published record, and the effects of each committed record, perhaps also
   those of records that are not committed yet;
5. the ends of the input topics again: every record that the tables name is below them.

Then the topics are read up to those ends. Last, the beginnings of the topics: retention may have deleted records
meanwhile.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from schemas.mapping import Mapping as ForeignMapping
from schemas.record import Record
from worker.pipeline.outgoing import Topics
from worker.ports import Partition
from worker.rules.errors import ConfigurationError
from worker.rules.message import RecordPosition
from worker.rules.rows import Rejection
from worker.stored_rows import EnvironmentRow, ReleaseRows
from worker.verify.checking import check
from worker.verify.comparison import REJECTIONS
from worker.verify.deleted_records import Gap
from worker.verify.findings import Finding, Findings, Kind
from worker.verify.history import DeadLetter, Extents, position_of, read_dead_letter, read_state, read_status
from worker.verify.scratch import Scratch, scratch

_HISTORIES_PER_TURN = 64
"""Histories that are checked between two turns of the event loop, which handles Ctrl-C."""


class TopicReader(Protocol):
    """Read only; joins no group. Every method raises Unavailable where no broker answers, and ConfigurationError where
    a topic or the group may not be read.
    """

    async def committed(self, topics: Sequence[str]) -> Mapping[Partition, int]:
        """The group's committed offset of each partition that has one."""
        ...

    async def begins(self, topics: Sequence[str]) -> Mapping[Partition, int]:
        """The first offset of each partition. A missing topic has no partitions."""
        ...

    async def ends(self, topics: Sequence[str]) -> Mapping[Partition, int]:
        """The last stable offset of each partition: open transactions are excluded."""
        ...

    def records(self, ends: Mapping[Partition, int]) -> AsyncIterator[Record]:
        """The records of each partition, in order, from its beginning to these offsets."""
        ...


class TableReader(Protocol):
    """Read only. Every method raises Unavailable where the database does not answer."""

    def releases(self) -> AsyncIterator[ReleaseRows]:
        """Every release, one by one, each as it was at one moment."""
        ...

    def rejections(self) -> AsyncIterator[Rejection]: ...

    def environments(self) -> AsyncIterator[EnvironmentRow]:
        """The rows of `app_environments`; none where the worker does not use the table."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to read, and the settings that the decisions depend on. `source`: of the worker's status events."""

    input_topics: tuple[str, ...]
    topics: Topics
    source: str
    event_bytes_max: int
    event_ahead_max_seconds: int
    findings_max: int
    scratch_folder: Path | None = None
    mapping: ForeignMapping | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`counts`: see `COUNTS`. `expired`: offsets that are committed and deleted, and have no row."""

    findings: Findings
    counts: Mapping[str, int]
    expired: Sequence[Gap] = ()

    def as_json(self) -> dict[str, object]:
        findings = self.findings
        return {
            "ok": not findings.total,
            "counts": dict(self.counts),
            "findings_total": findings.total,
            "findings_by_kind": {kind.value: findings.by_kind[kind] for kind in Kind},
            "findings": [finding.as_json() for finding in findings.kept],
            "expired": [gap.as_json() for gap in self.expired],
        }


COUNTS = {
    "records": "input records",
    "tombstones": "of these, tombstones, which are no events",
    "no_interest": "of these, foreign records that concern no deployment",
    "expired": "records that retention deleted and that have no row: never read, or repeats",
    "recreated": "rows and dead letters from before a topic was deleted and created again: not compared",
    "uncommitted": "input records that the group had not committed when the verification began",
    "pending": "of these, records without an effect so far",
    "releases": "releases",
    "activities": "activities",
    "rejections": "rejections",
    "status_events": "status events",
    "states": "records of the state topic",
    "dead_letters": "dead letters",
    "environments": "rows of app_environments",
    "environments_unset": "of these, rows without a deployment although one succeeded: usually younger rows",
    "foreign": "records of other systems in the output topics: ignored",
    "unverifiable": "activities, rejections and published records that cannot be checked: their records are deleted",
}
"""The counts of a report, in the order in which they are printed, and their meanings."""


async def verify(plan: Plan, topics: TopicReader, tables: TableReader) -> Report:
    """Raises Unavailable and ConfigurationError as the readers do."""
    return await _Verification(plan, topics, tables).run()


class _Verification:
    def __init__(self, plan: Plan, topics: TopicReader, tables: TableReader) -> None:
        self._plan, self._topics, self._tables = plan, topics, tables
        self._findings = Findings(kept_max=plan.findings_max)
        self._counts: Counter[str] = Counter(dict.fromkeys(COUNTS, 0))
        self._read: Counter[Partition] = Counter()

    async def run(self) -> Report:
        plan = self._plan
        outputs = tuple(dict.fromkeys((plan.topics.deployment_status, plan.topics.release_status)))
        states = plan.topics.deployment_state
        every_output = (*outputs, plan.topics.dead_letters, *(() if states is None else (states,)))
        begins = await self._require_topics()
        every_commit = await self._topics.committed(plan.input_topics)
        first_ends = await self._topics.ends(plan.input_topics)
        committed = {at: offset for at, offset in every_commit.items() if offset <= first_ends.get(at, 0)}
        output_ends = await self._topics.ends(every_output)
        with scratch(
            plan.scratch_folder,
            committed=committed,
            begins=begins,
            event_bytes_max=plan.event_bytes_max,
            event_ahead_max_seconds=plan.event_ahead_max_seconds,
            mapping=plan.mapping,
        ) as store:
            await self._read_tables(store)
            input_ends = await self._topics.ends(plan.input_topics)
            store.recreated.add_logs(
                begins, input_ends, recreated={at.topic for at in every_commit if at not in committed}
            )
            await self._read_inputs(store, input_ends, committed)
            await self._read_statuses(store, {at: end for at, end in output_ends.items() if at.topic in outputs})
            await self._read_dead_letters(
                store, {at: end for at, end in output_ends.items() if at.topic == plan.topics.dead_letters}
            )
            await self._read_states(store, {at: end for at, end in output_ends.items() if at.topic == states})
            extents = Extents(
                begins={(at.topic, at.partition): begin for at, begin in await self._begins(plan.input_topics)},
                trimmed=frozenset(await self._trimmed(every_output, output_ends)),
            )
            store.seal()
            await self._check(store, extents)
            expired = self._expired(store, committed)
            self._counts["recreated"] = store.recreated.count()
        return Report(findings=self._findings, counts=self._counts, expired=expired)

    def _expired(self, store: Scratch, committed: Mapping[Partition, int]) -> Sequence[Gap]:
        """Records deleted before the group had read them are findings; other deleted records without a row are gaps."""
        for gap in store.deleted_records.unread(committed):
            self._findings.add(
                Finding(
                    kind=Kind.LOST,
                    position=RecordPosition(gap.topic, gap.partition, gap.first),
                    expected="records that the group has not read yet",
                    found=f"offsets {gap.first} to {gap.last} ({gap.count}) deleted by retention",
                )
            )
            self._counts["expired"] += gap.count
        kept: list[Gap] = []
        for gap in store.deleted_records.without_rows(committed):
            self._counts["expired"] += gap.count
            if len(kept) < self._plan.findings_max:
                kept.append(gap)
        return kept

    async def _require_topics(self) -> Mapping[Partition, int]:
        """The first offset of each partition of the input topics. A misspelt topic would make everything lost."""
        topics = self._plan.topics
        named = [(topic, "RUDDER_INPUT_TOPICS") for topic in self._plan.input_topics]
        named += [(topic, setting) for setting, topic in topics.by_setting.items()]
        begins = await self._topics.begins([topic for topic, _ in named])
        existing = {at.topic for at in begins}
        for topic, setting in named:
            if topic not in existing:
                raise ConfigurationError(f"topic {topic} does not exist; correct {setting} or create the topic")
        return {at: begin for at, begin in begins.items() if at.topic in self._plan.input_topics}

    async def _begins(self, topics: tuple[str, ...]) -> list[tuple[Partition, int]]:
        return list((await self._topics.begins(topics)).items())

    async def _trimmed(self, topics: tuple[str, ...], ends: Mapping[Partition, int]) -> list[str]:
        """Topics with fewer records than offsets. The worker's producer uses no transactions, which leave gaps too."""
        begins = await self._begins(topics)
        return [at.topic for at, begin in begins if begin > 0 or self._read[at] < ends.get(at, 0)]

    async def _read_tables(self, store: Scratch) -> None:
        async for row in self._tables.environments():
            store.pointers.add_row(row)
            self._counts["environments"] += 1
        async for rows in self._tables.releases():
            store.add_release(rows)
            self._counts["releases"] += 1
            self._counts["activities"] += len(rows.activities)
        # After the activities: a redriven event may have both, and only a record in flight can resolve a rejection
        # between the two reads.
        async for rejection in self._tables.rejections():
            store.add_rejection(rejection)
            self._counts["rejections"] += 1

    async def _read_inputs(
        self, store: Scratch, ends: Mapping[Partition, int], committed: Mapping[Partition, int]
    ) -> None:
        async for record in self._topics.records(ends):
            self._counts["records"] += 1
            if record.is_tombstone and not store.is_rejected(record):  # earlier versions rejected them
                self._counts["tombstones"] += 1
                store.recreated.add_tombstone(RecordPosition(record.topic, record.partition, record.offset))
                continue
            if not store.is_of_interest(record):
                self._counts["no_interest"] += 1
                continue
            store.add_input(record)
            self._counts["uncommitted"] += record.offset >= committed.get(Partition(record.topic, record.partition), 0)

    async def _read_statuses(self, store: Scratch, ends: Mapping[Partition, int]) -> None:
        async for record in self._topics.records(ends):
            self._read[Partition(record.topic, record.partition)] += 1
            release_id, status = read_status(record, source=self._plan.source)
            self._counts["status_events" if status.own else "foreign"] += 1
            if release_id is not None:
                store.add_status(release_id, status)
            elif status.own:
                self._findings.add(
                    Finding(
                        kind=Kind.INVENTED,
                        position=status.position,
                        expected="a release_id in a record with the worker's source",
                        found="none",
                    )
                )

    async def _read_dead_letters(self, store: Scratch, ends: Mapping[Partition, int]) -> None:
        async for record in self._topics.records(ends):
            self._read[Partition(record.topic, record.partition)] += 1
            found = read_dead_letter(record)
            self._counts["foreign" if found is None else "dead_letters"] += 1
            if found is not None:
                store.add_dead_letter(*found)

    async def _read_states(self, store: Scratch, ends: Mapping[Partition, int]) -> None:
        async for record in self._topics.records(ends):
            self._read[Partition(record.topic, record.partition)] += 1
            found = read_state(record, source=self._plan.source)
            self._counts["foreign" if found is None else "states"] += 1
            if found is not None:
                store.add_state(*found)

    async def _check(self, store: Scratch, extents: Extents) -> None:
        for number, history in enumerate(store.histories(extents)):
            checked = check(history, extents, self._plan.topics)
            self._counts["unverifiable"] += checked.unverifiable
            self._counts["pending"] += checked.pending
            store.pointers.add_history(history.key, checked.pointers, complete=checked.pointers_complete)
            for finding in checked.findings:
                self._findings.add(finding)
            if number % _HISTORIES_PER_TURN == 0:
                await asyncio.sleep(0)
        for orphan in store.orphans():
            self._orphan(orphan, extents)
        for release, other in store.shared_numbers():
            self._findings.add(
                Finding(
                    kind=Kind.DOUBLED,
                    table="releases",
                    row=release,
                    release=release,
                    expected="one release with this date, number, component and track, or a confusable track",
                    found=f"also release {other}",
                )
            )
        for found in store.pointers.findings():
            if found is None:
                self._counts["unverifiable"] += 1
            else:
                self._findings.add(found)
        self._counts["environments_unset"] = store.pointers.unset_rows()

    def _orphan(self, orphan: DeadLetter | Rejection, extents: Extents) -> None:
        original = orphan.original if isinstance(orphan, DeadLetter) else position_of(orphan)
        if not extents.readable(original):
            self._counts["unverifiable"] += 1
            return
        match orphan:
            case Rejection():
                what, position, row, release = "rejection", original, orphan.id, orphan.release_id
            case DeadLetter():
                what, position, row, release = "dead letter", orphan.position, orphan.rejection_id, None
        self._findings.add(
            Finding(
                kind=Kind.INVENTED,
                position=position,
                table=REJECTIONS,
                row=row,
                release=release,
                expected=f"an input record with this event at {original}",
                found=f"only a {what} of it, {orphan.reason}",
            )
        )
