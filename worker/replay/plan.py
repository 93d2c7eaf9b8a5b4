"""The plan of a replay: which records are read, and what that would change.

Nothing is written. Records are read in the order in which the execution dispatches them: each partition's in order,
across partitions by their timestamps. Each unknown event is decided after the earlier ones, in memory.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, assert_never
from uuid import UUID

from schemas.record import Record
from worker.plan_file import PlanFile, Target
from worker.ports import Decider, Partition
from worker.prediction import Prediction
from worker.replay.changes import Change, RowChange, RowChanges, row_changes
from worker.replay.pointers import PointerPrediction
from worker.replay.reading import Records, Tables, bounds, chunks, logged_types, rejected_before
from worker.replay.scope import Filters, Pinned, Scope, pinned
from worker.rules.effects import DEPLOYMENT_STATUS_CHANGED, RELEASE_CREATED, RELEASE_STATUS_CHANGED
from worker.rules.errors import ConfigurationError
from worker.rules.message import Message, RecordPosition
from worker.rules.rows import Rejection
from worker.rules.state import Applied, Duplicate, Outcome, Rejected, Stale

KIND = "replay"
"""Of the plan's file."""

UNKNOWN_MAX = 100_000
"""Events that the database does not know: the rows of their releases are in memory."""

ROWS_MAX = 10_000
"""Changed rows that a plan lists; all are counted."""

DUPLICATE = "duplicate"

_STATUS_TYPES = frozenset({RELEASE_CREATED, RELEASE_STATUS_CHANGED, DEPLOYMENT_STATUS_CHANGED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Publishing:
    """Whether the replay publishes, and where: None is the worker's own topics."""

    enabled: bool = False
    topic: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayPlan:
    """`counts`: see COUNTS. `outcomes`: events by their code, see `code_of`. `predicted`: the codes of those that are
    no duplicates, by position. `changed`: rows by table and kind of change; `rows`: the first of them. `notes`: what an
    operator should know before the execution.
    """

    ranges: Mapping[Partition, range]
    filters: Filters = field(default_factory=Filters)
    publishing: Publishing = field(default_factory=Publishing)
    counts: Mapping[str, int] = field(default_factory=dict)
    outcomes: Mapping[str, int] = field(default_factory=dict)
    predicted: Mapping[RecordPosition, str] = field(default_factory=dict)
    changed: Mapping[tuple[str, Change], int] = field(default_factory=dict)
    rows: tuple[RowChange, ...] = ()
    notes: tuple[str, ...] = ()

    def continued(self, positions: Mapping[Partition, int]) -> "ReplayPlan":
        """The part from these positions on; partitions without one are complete.

        Raises:
            ConfigurationError: a position is not in the plan.
        """
        for partition, first in positions.items():
            offsets = self.ranges.get(partition)
            if offsets is None or not offsets.start <= first <= offsets.stop:
                raise ConfigurationError(
                    f"--continue-at {partition.topic}/{partition.partition}@{first} is not in the plan"
                )
        left = {partition: range(first, self.ranges[partition].stop) for partition, first in positions.items()}
        return replace(self, ranges={partition: offsets for partition, offsets in left.items() if offsets})

    @property
    def changes_nothing(self) -> bool:
        return not self.changed and not (self.publishing.enabled and self.published)

    @property
    def published(self) -> int:
        """The records that the plan publishes, or that it would publish with --publish."""
        return self.counts["status_events"] + self.counts["dead_letters"]

    @property
    def offsets(self) -> int:
        """How many offsets are read."""
        return sum(map(len, self.ranges.values()))

    def as_json(self) -> dict[str, Any]:
        return {
            "ranges": [[*partition, offsets.start, offsets.stop] for partition, offsets in self.ranges.items()],
            "filters": self.filters.as_json(),
            "publish": self.publishing.enabled,
            "publish_to": self.publishing.topic,
            "counts": dict(self.counts),
            "outcomes": dict(self.outcomes),
            "changed": [[table, change.value, count] for (table, change), count in sorted(self.changed.items())],
            "rows": [row.as_json() for row in self.rows],
            "notes": list(self.notes),
            "predicted": [[*position, code] for position, code in self.predicted.items()],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "ReplayPlan":
        return cls(
            ranges={Partition(topic, number): range(first, stop) for topic, number, first, stop in value["ranges"]},
            filters=Filters.from_json(value["filters"]),
            publishing=Publishing(enabled=value["publish"], topic=value["publish_to"]),
            counts=value["counts"],
            outcomes=value["outcomes"],
            changed={(table, Change(change)): count for table, change, count in value["changed"]},
            rows=tuple(RowChange.from_json(row) for row in value["rows"]),
            notes=tuple(value["notes"]),
            predicted={RecordPosition(*position): code for *position, code in value["predicted"]},
        )

    def file(self, target: Target) -> PlanFile:
        return PlanFile(kind=KIND, target=target, content=self.as_json())


COUNTS = {
    "records": "records",
    "tombstones": "of these, tombstones, which are no events",
    "left_out": "of these, left out by the filters",
    "events": "events to replay",
    "unknown": "of these, events that the database does not know, or redrives that are decided again",
    "status_events": "status events",
    "dead_letters": "dead letters",
}
"""The counts of a plan and their meanings."""


def code_of(outcome: Outcome) -> str:
    """The outcome as plans and reports name it; of a rejection with its reason."""
    match outcome:
        case Applied():
            return "applied"
        case Stale():
            return "stale"
        case Duplicate():
            return DUPLICATE
        case Rejected(rejection=rejection):
            return f"rejected: {rejection.reason}"
        case _:
            assert_never(outcome)


async def target(records: Records, tables: Tables, *, group: str) -> Target:
    """What a plan is made for, or executed on."""
    return Target(database=await tables.identity(), cluster=await records.cluster_id(), group=group)


async def require_records(plan: ReplayPlan, records: Records) -> None:
    """Raises ConfigurationError if records of the plan no longer exist: its topic shrank, or was created anew."""
    topics = sorted({partition.topic for partition in plan.ranges})
    begins, ends = await records.begins(topics), await records.ends(topics)
    for partition, offsets in plan.ranges.items():
        begin, end = begins.get(partition, 0), ends.get(partition, 0)
        if offsets.start < begin or offsets.stop > end:
            raise ConfigurationError(
                f"{partition.topic}/{partition.partition} has the offsets {begin} to {end - 1} now, not "
                f"{offsets.start} to {offsets.stop - 1} as in the plan; make a new plan"
            )


class Planner:
    """Makes one plan. `read`: the worker's decoder. `decider`: the rules, with the operator's allowed sources.
    `progress`: called with the number of records that have been read, and of offsets in the scope.
    """

    def __init__(
        self,
        records: Records,
        tables: Tables,
        *,
        read: Callable[[Record], Message | None],
        decider: Decider,
        progress: Callable[[int, int], None] = lambda _records, _offsets: None,
        unknown_max: int = UNKNOWN_MAX,
        rows_max: int = ROWS_MAX,
    ) -> None:
        self._records = records
        self._tables = tables
        self._read = read
        self._progress = progress
        self._unknown_max = unknown_max
        self._pointers = PointerPrediction(tables, decider)
        self._prediction = Prediction(tables, self._pointers.decide)
        self._rejections_before: dict[UUID, Rejection | None] = {}
        self._changes = RowChanges(kept_max=rows_max)
        self._counts: Counter[str] = Counter(dict.fromkeys(COUNTS, 0))
        self._outcomes: Counter[str] = Counter()
        self._predicted: dict[RecordPosition, str] = {}

    async def plan(
        self, scope: Scope, *, input_topics: Sequence[str], publishing: Publishing = Publishing()
    ) -> ReplayPlan:
        """Raises:
        Unavailable: the database or the broker does not answer.
        ConfigurationError: the scope has no records, or too many unknown events.
        """
        limits = await bounds(scope, self._records, input_topics=input_topics)
        found = pinned(scope, limits, input_topics=input_topics)
        offsets = sum(map(len, found.ranges.values()))
        async for chunk in chunks(self._records.records_by_time(found.ranges)):
            await self._add(chunk, scope.filters)
            self._progress(self._counts["records"], offsets)
        for change in row_changes(self._prediction, self._pointers, self._rejections_before):
            self._changes.add(change)
        return ReplayPlan(
            ranges=found.ranges,
            filters=scope.filters,
            publishing=publishing,
            counts=dict(self._counts),
            outcomes=dict(self._outcomes),
            predicted=self._predicted,
            changed=dict(self._changes.counts),
            rows=tuple(self._changes.kept),
            notes=(*_notes(found), *await self._unknown_before(found, limits.begins)),
        )

    async def _add(self, chunk: Sequence[Record], filters: Filters) -> None:
        self._counts["records"] += len(chunk)
        read = [message for record in chunk if (message := self._read(record)) is not None]
        self._counts["tombstones"] += len(chunk) - len(read)
        messages = [message for message in read if filters.match(message)]
        self._counts["left_out"] += len(read) - len(messages)
        self._counts["events"] += len(messages)
        logged = await logged_types(self._tables, messages)
        others = [message for message in messages if message.id not in logged]
        rejections = await self._tables.rejections_of([message.id for message in others])
        # What an earlier event of this replay changes is in the prediction: then its state decides.
        unknown = [
            message
            for message in others
            if message.id in self._rejections_before or rejected_before(message, rejections) is None
        ]
        self._counts["unknown"] += len(unknown)
        if self._counts["unknown"] > self._unknown_max:
            raise ConfigurationError(
                f"the database does not know more than {self._unknown_max:,} events of the scope; replay the oldest "
                "part first (--to or --offsets), or rebuild an empty database with --into"
            )
        await self._load(unknown, rejections)
        to_decide = {id(message) for message in unknown}
        for message in messages:
            if id(message) in to_decide:
                self._decide(message)
            else:
                self._outcomes[DUPLICATE] += 1
                types = logged.get(message.id)
                self._counts["dead_letters"] += types is None
                self._counts["status_events"] += sum(one in _STATUS_TYPES for one in types or ())

    async def _load(self, messages: Sequence[Message], rejections: Mapping[UUID, Rejection]) -> None:
        if not messages:
            return
        await self._prediction.load(messages)
        await self._pointers.load(messages)
        for message in messages:
            self._rejections_before.setdefault(message.id, rejections.get(message.id))
            if message.corrects is not None:
                corrected = self._prediction.rejections.get(message.corrects)
                self._rejections_before.setdefault(message.corrects, corrected)

    def _decide(self, message: Message) -> None:
        outcome = self._prediction.decide(message)
        code = code_of(outcome)
        self._outcomes[code] += 1
        if code != DUPLICATE:
            self._predicted[RecordPosition.of(message.record)] = code
        match outcome:
            case Applied(changes=changes):
                types = [activity.activity_type for activity in changes.activities]
                self._counts["status_events"] += sum(one in _STATUS_TYPES for one in types)
            case Rejected():
                self._counts["dead_letters"] += 1
            case Duplicate(activities=activities, rejection=rejection):
                self._counts["status_events"] += sum(one.activity_type in _STATUS_TYPES for one in activities)
                self._counts["dead_letters"] += not activities and rejection is not None
            case Stale():
                pass
            case _:
                assert_never(outcome)

    async def _unknown_before(self, found: Pinned, begins: Mapping[Partition, int]) -> Sequence[str]:
        """A note if the record before a range is unknown too: earlier events would be decided after later ones."""
        if not self._predicted:
            return ()
        before = {
            partition: range(offsets.start - 1, offsets.start)
            for partition, offsets in found.ranges.items()
            if offsets.start > begins[partition]
        }
        notes: list[str] = []
        async for record in self._records.records_by_time(before):
            message = self._read(record)
            if message is None or await logged_types(self._tables, [message]):
                continue
            if not await self._tables.rejections_of([message.id]):
                position = RecordPosition.of(record)
                notes.append(
                    f"{position}, the record before the scope, is unknown to the database too; events decided out of "
                    "order can be rejected or stale: begin earlier"
                )
        return notes


def _notes(found: Pinned) -> Sequence[str]:
    notes = []
    if found.uncommitted:
        notes.append(
            f"{found.uncommitted:,} offsets are left out: the group has not committed them, so the workers decide them"
        )
    if found.expired:
        notes.append(f"{found.expired:,} offsets of --offsets are left out: retention deleted them")
    return notes
