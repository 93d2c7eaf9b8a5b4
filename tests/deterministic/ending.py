"""The result of a history: rows, topics and offsets, so that two histories can be compared."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.deterministic.broker import Broker
from worker.ports import OutgoingRecord, Partition

STATES = "rudder.deployment-state"


@dataclass(frozen=True, slots=True)
class LinkedEvent:
    """`told`: the records of each topic and key, in order, repeats left out; of the compacted topic the last one."""

    rows: Mapping[str, Sequence[str]]
    told: Mapping[tuple[str, bytes | None], Sequence[Any]]
    committed: Mapping[Partition, int]


def ending(broker: Broker, path: Path) -> LinkedEvent:
    return LinkedEvent(rows(path), _told(broker.published), broker.committed)


def rows(path: Path) -> dict[str, list[str]]:
    with closing(sqlite3.connect(path)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {table: sorted(map(repr, database.execute(f'SELECT * FROM "{table}"'))) for table in tables}


def told_too_early(broker: Broker, path: Path) -> set[str]:
    """The ids of published records without a row: events of a change that may never be committed."""
    with closing(sqlite3.connect(path)) as database:
        known = {
            id_
            for table in ("release_activity_logs", "release_event_rejections")
            for (id_,) in database.execute(f"SELECT id FROM {table}")
        }
    return {_id(one) for one in broker.published} - known


def _told(published: Iterable[OutgoingRecord]) -> dict[tuple[str, bytes | None], list[Any]]:
    """A repeated record has the id and content of the first; only a dead letter's count of attempts may differ. A state
    that another has replaced before it was published is never published.
    """
    found: dict[tuple[str, bytes | None], list[Any]] = {}
    for one in published:
        headers = tuple((name, value) for name, value in one.headers if name != "rudder-attempts")
        topic, content = found.setdefault((one.topic, one.key), []), (_id(one), one.value, headers)
        if one.topic == STATES:
            topic[:] = [content]
        elif content not in topic:
            topic.append(content)
    return found


def _id(outgoing_record: OutgoingRecord) -> str:
    """The id of the record's row. A dead letter has the event's own headers before those that the worker added."""
    ids = [value for name, value in outgoing_record.headers if name in {"ce_id", "rudder-id"} and value is not None]
    return ids[-1].decode().removesuffix("/state")
