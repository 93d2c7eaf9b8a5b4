"""Whether a contender did what it was timed for: its rows and status events against the contract's model.

A contender that is quick because it leaves something out has won nothing, so each lap is recounted by the demo's
second implementation of the rules, which shares no code with any contender.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from benchmarks.rows import rows_in_sqlite
from benchmarks.topics import Outputs, read_topic
from worker.demo.contract_model import ContractModel
from worker.demo.record import TopicRecord
from worker.demo.recount_rows import compare_rows
from worker.demo.recount_topics import compare_statuses

DIFFERENCES_KEPT: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Status events, by their topics."""

    deployment_status: tuple[TopicRecord, ...] = ()
    release_status: tuple[TopicRecord, ...] = ()

    def __add__(self, other: "Published") -> "Published":
        return Published(
            deployment_status=self.deployment_status + other.deployment_status,
            release_status=self.release_status + other.release_status,
        )

    @property
    def append_times_ms(self) -> list[int]:
        """When the broker took each, where the topics are stamped by the broker's clock."""
        return sorted(record.timestamp_ms for record in (*self.deployment_status, *self.release_status))


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What the contract's model says of some input topics, one after the other."""

    model: ContractModel
    events: int
    status_records: int


def published(bootstrap_servers: str, outputs: Outputs) -> Published:
    return Published(
        deployment_status=tuple(read_topic(bootstrap_servers, outputs.deployment_status)),
        release_status=tuple(read_topic(bootstrap_servers, outputs.release_status)),
    )


def expectation(records: Iterable[TopicRecord]) -> Expectation:
    """Replay the records; those of one release must come in their order."""
    model = ContractModel()
    events = 0
    for record in records:
        model.apply(record)
        events += 1
    status_records = sum(activity.about != "neither" for judged in model.judged for activity in judged.activities)
    return Expectation(model=model, events=events, status_records=status_records)


def differences(expected: Expectation, *, database_url: str, seen: Published, dead_letters: int) -> list[str]:
    """Return one line per difference, the first twenty of them; none means that everything is as the contract wants."""
    found = [f"{dead_letters} dead letters, though every event is valid"] if dead_letters else []
    with rows_in_sqlite(database_url) as connection:
        found += compare_rows(expected.model, connection)
    found += compare_statuses(expected.model, seen.deployment_status, about="deployment")
    found += compare_statuses(expected.model, seen.release_status, about="release")
    if len(found) > DIFFERENCES_KEPT:
        found[DIFFERENCES_KEPT:] = [f"… and {len(found) - DIFFERENCES_KEPT} more"]
    return found
