"""The recount: read everything again, work it out anew from the contract, and list what disagrees.

The demo believes nothing the worker says about itself; an empty list is its proof.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from worker.demo.contract_model import ContractModel
from worker.demo.record import TopicRecord
from worker.demo.recount_rows import compare_rows
from worker.demo.recount_topics import compare_dead_letters, compare_statuses
from worker.demo.topic_reader import read_topic


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicNames:
    """The four topics, as the contract names them by default."""

    events: str = "rudder.deployment-events"
    deployment_status: str = "rudder.deployment-status"
    release_status: str = "rudder.release-status"
    dead_letters: str = "rudder.dead-letters"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recount:
    """The second opinion; `differences` is empty where it agrees with the first."""

    differences: tuple[str, ...]
    model: ContractModel
    records: int


async def recount(*, bootstrap_servers: str, database_path: Path, topics: TopicNames) -> Recount:
    """Read the four topics and the SQLite file, and compare them with the contract's model."""
    events, deployment_statuses, release_statuses, dead_letters = [
        await read_topic(bootstrap_servers=bootstrap_servers, topic=topic)
        for topic in (topics.events, topics.deployment_status, topics.release_status, topics.dead_letters)
    ]
    with closing(open_read_only(database_path)) as connection:
        return compare(
            events=events,
            deployment_statuses=deployment_statuses,
            release_statuses=release_statuses,
            dead_letters=dead_letters,
            connection=connection,
        )


def open_read_only(database_path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{database_path.absolute().as_uri()}?mode=ro", uri=True)


def compare(
    *,
    events: Iterable[TopicRecord],
    deployment_statuses: Iterable[TopicRecord],
    release_statuses: Iterable[TopicRecord],
    dead_letters: Iterable[TopicRecord],
    connection: sqlite3.Connection,
) -> Recount:
    """Replay the events through the model, then compare every row and every published record with it."""
    model = ContractModel()
    inputs = {record.place: record for record in events}
    predictions = {place: model.apply(record) for place, record in inputs.items()}
    rejections = connection.execute("SELECT topic, topic_partition, topic_offset, id FROM release_event_rejections")
    differences = (
        *compare_rows(model, connection),
        *compare_statuses(model, release_statuses, about="release"),
        *compare_statuses(model, deployment_statuses, about="deployment"),
        *compare_dead_letters(
            model,
            dead_letters,
            inputs=inputs,
            predictions=predictions,
            rejection_ids={"/".join(map(str, place)): identifier for *place, identifier in rejections},
        ),
    )
    return Recount(differences=differences, model=model, records=len(inputs))
