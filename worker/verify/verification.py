"""A verification from end to end: read everything in an order that a live worker cannot confuse, then check it.

The order in which things are looked at is what makes false alarms impossible, since a worker always writes its rows,
then publishes, then commits:

1. the group's commits: a record below them has had all of its effects, for good, before anything else is read; then
   the ends of the input topics: a commit beyond its partition's end is of an earlier log of the topic;
2. the ends of the output topics: what those records caused is below them, and what is below them was written to the
   tables before it was published, so
3. the rows of app_environments: what they point at is in the tables, which are read later;
4. the tables, read now, hold the cause of each published record, and the effects of each committed one, and perhaps of
   some that are not committed yet;
5. the ends of the input topics again: whatever the tables tell of was read from below them.

Then the topics are read up to those ends, however long that takes. What retention deletes meanwhile is asked for last.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from worker.pipeline.outgoing import Topics
from worker.ports import Partition
from worker.rules.errors import ConfigurationError
from worker.rules.rows import Rejection
from worker.verify.checking import check
from worker.verify.deciding import REJECTIONS
from worker.verify.expired import Gap
from worker.verify.findings import Finding, Findings, Kind, Place
from worker.verify.history import Extents, Letter, place_of
from worker.verify.inputs import TableReader, TopicReader
from worker.verify.received import letter_of, status_of
from worker.verify.scratch import Scratch, scratch

_BREATH = 64
"""Histories between two turns of the loop, in which a Ctrl-C is noticed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to read and how to judge it: plain values, as the settings have them. `source`: of the status events."""

    input_topics: tuple[str, ...]
    topics: Topics
    source: str
    event_bytes_max: int
    event_ahead_max_seconds: int
    findings_max: int
    scratch_folder: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """`counts`: what was read, by what it is; see `COUNTS`. `expired`: offsets that were committed, are no longer in
    their topic and have no row.
    """

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
    "tombstones": "of them tombstones, which are no events",
    "expired": "records that retention deleted and no row tells of: passed over unread, or repeats",
    "recreated": "rows and dead letters of topics that were deleted and created again, from before that: not compared",
    "uncommitted": "input records not committed by the group when the verification began",
    "pending": "of these not processed yet: no row and no rejection, and none is due",
    "releases": "releases",
    "entries": "entries of the activity log",
    "rejections": "rejections",
    "status_events": "status events",
    "dead_letters": "dead letters",
    "pointers": "rows of app_environments",
    "unpointed": "of them without a deployment though one succeeded there before the verification: younger, as a rule",
    "foreign": "records of other systems in the output topics, ignored",
    "unverifiable": "entries, rejections and publications that cannot be checked: what they follow from is gone",
}
"""The counts of a report, in the order in which they are told, and what each means."""


async def verify(plan: Plan, topics: TopicReader, tables: TableReader) -> Report:
    """Raises Unavailable, ConfigurationError: as the readers."""
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
        every_output = (*outputs, plan.topics.dead_letters)
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
        ) as store:
            await self._read_tables(store)
            input_ends = await self._topics.ends(plan.input_topics)
            store.recreated.add_logs(
                begins, input_ends, recreated={at.topic for at in every_commit if at not in committed}
            )
            await self._read_inputs(store, input_ends, committed)
            await self._read_statuses(store, {at: end for at, end in output_ends.items() if at.topic in outputs})
            await self._read_letters(store, {at: end for at, end in output_ends.items() if at.topic not in outputs})
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
        """What retention deleted before the group had read it is lost; of what it may have read, the gaps are told."""
        for gap in store.expired.unread(committed):
            self._findings.add(
                Finding(
                    kind=Kind.LOST,
                    place=Place(gap.topic, gap.partition, gap.first),
                    expected="to be read before retention deletes it",
                    found=f"offsets {gap.first} to {gap.last} are deleted and not committed ({gap.count})",
                )
            )
            self._counts["expired"] += gap.count
        kept: list[Gap] = []
        for gap in store.expired.untraced(committed):
            self._counts["expired"] += gap.count
            if len(kept) < self._plan.findings_max:
                kept.append(gap)
        return kept

    async def _require_topics(self) -> Mapping[Partition, int]:
        """Where the partitions of the input topics begin. Of a topic that is misnamed all would be lost."""
        topics = self._plan.topics
        named = [(topic, "RUDDER_INPUT_TOPICS") for topic in self._plan.input_topics]
        named += [
            (topics.deployment_status, "RUDDER_DEPLOYMENT_STATUS_TOPIC"),
            (topics.release_status, "RUDDER_RELEASE_STATUS_TOPIC"),
            (topics.dead_letters, "RUDDER_DEAD_LETTER_TOPIC"),
        ]
        begins = await self._topics.begins([topic for topic, _ in named])
        there = {at.topic for at in begins}
        for topic, setting in named:
            if topic not in there:
                raise ConfigurationError(f"there is no topic {topic}; {setting} names it")
        return {at: begin for at, begin in begins.items() if at.topic in self._plan.input_topics}

    async def _begins(self, topics: tuple[str, ...]) -> list[tuple[Partition, int]]:
        return list((await self._topics.begins(topics)).items())

    async def _trimmed(self, topics: tuple[str, ...], ends: Mapping[Partition, int]) -> list[str]:
        """Topics with fewer records than offsets; transactions leave gaps too, but the worker's producer has none."""
        begins = await self._begins(topics)
        return [at.topic for at, begin in begins if begin > 0 or self._read[at] < ends.get(at, 0)]

    async def _read_tables(self, store: Scratch) -> None:
        async for pointing in self._tables.pointings():
            store.pointing.add_row(pointing)
            self._counts["pointers"] += 1
        async for rows in self._tables.releases():
            store.add_release(rows)
            self._counts["releases"] += 1
            self._counts["entries"] += len(rows.activities)
        # After the log: a rejection that a redrive has settled is in both, and only a record in flight can settle one
        # between the two.
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
                store.recreated.add_tombstone(Place(record.topic, record.partition, record.offset))
                continue
            store.add_input(record)
            self._counts["uncommitted"] += record.offset >= committed.get(Partition(record.topic, record.partition), 0)

    async def _read_statuses(self, store: Scratch, ends: Mapping[Partition, int]) -> None:
        async for record in self._topics.records(ends):
            self._read[Partition(record.topic, record.partition)] += 1
            release_id, status = status_of(record, source=self._plan.source)
            self._counts["status_events" if status.own else "foreign"] += 1
            if release_id is not None:
                store.add_status(release_id, status)
            elif status.own:
                expected = "a status event, with its release"
                self._add(Kind.INVENTED, status.place, expected, "a record of the worker's source without a release")

    async def _read_letters(self, store: Scratch, ends: Mapping[Partition, int]) -> None:
        async for record in self._topics.records(ends):
            self._read[Partition(record.topic, record.partition)] += 1
            found = letter_of(record)
            self._counts["foreign" if found is None else "dead_letters"] += 1
            if found is not None:
                store.add_letter(*found)

    def _add(self, kind: Kind, place: Place, expected: str, found: str) -> None:
        self._findings.add(Finding(kind=kind, place=place, expected=expected, found=found))

    async def _check(self, store: Scratch, extents: Extents) -> None:
        for number, history in enumerate(store.histories(extents)):
            checked = check(history, extents, self._plan.topics)
            self._counts["unverifiable"] += checked.unverifiable
            self._counts["pending"] += checked.pending
            store.pointing.add_history(history.key, checked.pointed, all_of_it=checked.pointed_all)
            for finding in checked.findings:
                self._findings.add(finding)
            if number % _BREATH == 0:
                await asyncio.sleep(0)
        for orphan in store.orphans():
            self._orphan(orphan, extents)
        for found in store.pointing.findings():
            if found is None:
                self._counts["unverifiable"] += 1
            else:
                self._findings.add(found)
        self._counts["unpointed"] = store.pointing.unpointed()

    def _orphan(self, orphan: Letter | Rejection, extents: Extents) -> None:
        of = orphan.of if isinstance(orphan, Letter) else place_of(orphan)
        if not extents.readable(of):
            self._counts["unverifiable"] += 1
            return
        match orphan:
            case Rejection():
                what, place, row, release = "rejection", of, orphan.id, orphan.release_id
            case Letter():
                what, place, row, release = "dead letter", orphan.place, orphan.rejection_id, None
        self._findings.add(
            Finding(
                kind=Kind.INVENTED,
                place=place,
                table=REJECTIONS,
                row=row,
                release=release,
                expected=f"an input record at {of} that is this event",
                found=f"a {what} of it, {orphan.reason}",
            )
        )
