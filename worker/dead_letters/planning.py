"""Makes the plan of a redrive: reads the rejected records, orders them, and predicts each decision. Sends nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from schemas.record import Record
from worker.dead_letters.originals import Decode, Missing, Originals, RecordReader, digest
from worker.dead_letters.plan import (
    Decision,
    Origin,
    PlannedRecord,
    RedrivePlan,
    as_sent,
    in_original_order,
    predicted,
)
from worker.prediction import Prediction
from worker.rules.message import Message, RecordPosition
from worker.rules.rows import Rejection
from worker.stored_redrives import Pinned

_REDRIVES_MAX = 16
"""How many earlier redrives of one event are followed to its first record."""

_BEYOND_ALL = 2**62
"""Offsets of predicted records: behind every record that exists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planning:
    """What a plan is made with. `reader`: of the same topics as `originals`."""

    originals: Originals
    reader: RecordReader
    decode: Decode
    prediction: Prediction

    async def plan(
        self, rejections: Sequence[Rejection], *, now: datetime, include_failing: bool = False
    ) -> RedrivePlan:
        """`now`: the timestamp of the records if they were sent now.

        Raises:
            Unavailable: the database or the broker does not answer.
            ConfigurationError: a topic may not be read.
        """
        now_ms = int(now.timestamp() * 1000)
        releases = {one.id: one.release_id for one in rejections}
        read: dict[Pinned, _Read] = {}
        missing: dict[Pinned, Missing] = {}
        async for pinned, found in self.originals.of([Pinned.of(one) for one in rejections]):
            if isinstance(found, Missing):
                missing[pinned] = found
            else:
                read[pinned] = self._read(pinned, found, now_ms=now_ms)
        ordered = in_original_order(await self._origins(read))
        messages = [_placed(read[pinned].message, number) for number, pinned in enumerate(ordered)]
        await self.prediction.load(messages)
        records = [
            _planned(pinned, read[pinned], message, self.prediction)
            for pinned, message in zip(ordered, messages, strict=True)
        ]
        records += [_unreadable(pinned, releases[pinned.rejection_id], missing[pinned]) for pinned in _sorted(missing)]
        return RedrivePlan(created_at=now.isoformat(), include_failing=include_failing, records=tuple(records))

    def _read(self, pinned: Pinned, record: Record, *, now_ms: int) -> "_Read":
        return _Read(
            message=as_sent(record, pinned, self.decode, now_ms=now_ms),
            sha256=digest(record),
            timestamp_ms=record.timestamp_ms,
            redrive_of=self.decode(record).redrive_of,
        )

    async def _origins(self, read: dict[Pinned, "_Read"]) -> dict[Pinned, Origin]:
        """An event that was rejected again stands at the position of its last redrive, whose header names the record
        before it.
        """
        origins = {pinned: Origin(pinned.position.offset, one.timestamp_ms) for pinned, one in read.items()}
        earlier = {pinned: one.redrive_of for pinned, one in read.items()}
        for _ in range(_REDRIVES_MAX):
            followed = {
                pinned: at
                for pinned, at in earlier.items()
                if at is not None and at[:2] == pinned.position[:2] and at.offset < origins[pinned].offset
            }
            if not followed:
                break
            for pinned, at in followed.items():
                origins[pinned] = replace(origins[pinned], offset=at.offset)
            found: dict[RecordPosition, Record] = {}
            async for record in self.reader.records_at(set(followed.values())):
                found[RecordPosition(record.topic, record.partition, record.offset)] = replace(record, value=None)
            earlier = {}
            for pinned, at in followed.items():
                if (before := found.get(at)) is not None:
                    origins[pinned] = replace(origins[pinned], timestamp_ms=before.timestamp_ms)
                    earlier[pinned] = Message(record=before, content=read[pinned].message.content).redrive_of
        return origins


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """`message`: the record as it would be sent now. `timestamp_ms`: of the rejected record. `redrive_of`: the record
    before it, if the rejected record was a redrive.
    """

    message: Message
    sha256: str
    timestamp_ms: int
    redrive_of: RecordPosition | None


def _placed(message: Message, number: int) -> Message:
    return replace(message, record=replace(message.record, offset=_BEYOND_ALL + number))


def _planned(pinned: Pinned, read: _Read, message: Message, prediction: Prediction) -> PlannedRecord:
    decision, why, detail = predicted(prediction.decide(message))
    return PlannedRecord(
        pinned=pinned, release_id=message.release_id, decision=decision, why=why, detail=detail, sha256=read.sha256
    )


def _unreadable(pinned: Pinned, release_id: UUID | None, why: Missing) -> PlannedRecord:
    return PlannedRecord(pinned=pinned, release_id=release_id, decision=Decision.UNREADABLE, why=why.value)


def _sorted(missing: dict[Pinned, Missing]) -> list[Pinned]:
    return sorted(missing, key=lambda one: (one.position, one.rejection_id))
