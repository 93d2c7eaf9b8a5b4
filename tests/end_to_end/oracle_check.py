"""What the oracle says of all that is in the topics and the database of a system."""

from collections.abc import Iterable
from dataclasses import dataclass

from confluent_kafka import Message

from tests.conformance.producers import record_of
from tests.conformance.table_contents import contents
from tests.end_to_end.system import System
from tests.oracle.comparison import differences
from tests.oracle.content import Row
from tests.oracle.oracle import Oracle
from tests.oracle.records import Record

_POINTER_COLUMNS = ("release_mgt_release_id", "release_mgt_deployment_id", "release_mgt_deployment_name")


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleCheck:
    """`records`: how many the input topic has. `published`: how many the status topics and the dead letters have."""

    oracle: Oracle
    records: int
    published: int
    differences: list[str]


async def check_with_oracle(
    system: System, environments: Iterable[Row] | None = None, *, late_states: bool = False
) -> OracleCheck:
    """`environments`: the rows of `app_environments` before the first event; by default today's, pointing nowhere.
    `late_states`: as `tests.oracle.comparison.state_differences`.

    The order of a release's events is that of their offsets: all of them must be in one partition.
    """
    tables = await contents(system.database_url)
    if environments is None:
        environments = [row | dict.fromkeys(_POINTER_COLUMNS) for row in tables["app_environments"]]
    oracle = Oracle(environments=environments)
    topics = system.topics
    inputs, deployment_statuses, release_statuses, dead_letters, deployment_states = [
        [oracle_record(message) for message in await system.read(topic)]
        for topic in (
            topics.events,
            topics.deployment_status,
            topics.release_status,
            topics.dead_letters,
            topics.deployment_state,
        )
    ]
    for record in inputs:
        oracle.handle(record)
    return OracleCheck(
        oracle=oracle,
        records=len(inputs),
        published=len(deployment_statuses) + len(release_statuses) + len(dead_letters),
        differences=differences(
            oracle,
            tables=tables,
            deployment_statuses=deployment_statuses,
            release_statuses=release_statuses,
            dead_letters=dead_letters,
            deployment_states=deployment_states,
            late_states=late_states,
        ),
    )


def oracle_record(message: Message) -> Record:
    record = record_of(message)
    position = (record.topic, record.partition, record.offset, record.timestamp_ms)
    return Record(*position, record.value, record.headers, record.key)
