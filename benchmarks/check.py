"""Whether a contender did what it was timed for: its rows and status events against the oracle of the tests.

A contender that is fast because it leaves something out has won nothing. The oracle shares no code with any contender.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from benchmarks.topics import Outputs, read_topic
from tests.conformance.table_contents import contents
from tests.oracle.comparison import TABLES, row_differences, status_differences
from tests.oracle.oracle import Oracle
from tests.oracle.records import Record
from tests.oracle.status_machines import DEPLOYMENT_STATUS_CHANGED, RELEASE_STATUS_CHANGED

DIFFERENCES_KEPT: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """Status events, by their topics."""

    deployment_status: tuple[Record, ...] = ()
    release_status: tuple[Record, ...] = ()

    def __add__(self, other: "Published") -> "Published":
        return Published(
            deployment_status=self.deployment_status + other.deployment_status,
            release_status=self.release_status + other.release_status,
        )

    @property
    def append_times_ms(self) -> list[int]:
        """When the broker appended each, where the topics have the broker's timestamps."""
        return sorted(record.timestamp_ms for record in (*self.deployment_status, *self.release_status))


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What the oracle expects after some input topics, one after the other."""

    oracle: Oracle
    events: int
    status_records: int


def published(bootstrap_servers: str, outputs: Outputs) -> Published:
    return Published(
        deployment_status=tuple(read_topic(bootstrap_servers, outputs.deployment_status)),
        release_status=tuple(read_topic(bootstrap_servers, outputs.release_status)),
    )


def expectation(records: Iterable[Record]) -> Expectation:
    """Give the records to the oracle; those of one release must come in their order."""
    oracle = Oracle()
    for record in records:
        oracle.handle(record)
    kinds = {DEPLOYMENT_STATUS_CHANGED, RELEASE_STATUS_CHANGED}  # the benchmarks publish no states
    status_records = sum(one.kind in kinds for one in oracle.published)
    return Expectation(oracle=oracle, events=oracle.outcomes.total(), status_records=status_records)


def differences(expected: Expectation, *, database_url: str, seen: Published, dead_letters: int) -> list[str]:
    """Return one line per difference, the first twenty of them; none means that everything is as the contract says."""
    found = [f"{dead_letters} dead letters, though every event is valid"] if dead_letters else []
    found += row_differences(expected.oracle, asyncio.run(contents(database_url, *TABLES)))
    found += status_differences(expected.oracle, seen.deployment_status, kind=DEPLOYMENT_STATUS_CHANGED)
    found += status_differences(expected.oracle, seen.release_status, kind=RELEASE_STATUS_CHANGED)
    if len(found) > DIFFERENCES_KEPT:
        found[DIFFERENCES_KEPT:] = [f"… and {len(found) - DIFFERENCES_KEPT} more"]
    return found
