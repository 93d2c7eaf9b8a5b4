"""The scripted scenario, undisturbed, ends as the oracle expects: what every death is compared with is correct."""

import asyncio
from pathlib import Path

from schemas.record import Record
from tests.conformance.table_contents import contents
from tests.deterministic.process import Process
from tests.deterministic.scenario import BEGAN_SECONDS, scenario
from tests.oracle.comparison import differences
from tests.oracle.oracle import Oracle
from tests.oracle.records import Record as OracleRecord
from worker.db import migration
from worker.ports import OutgoingRecord


def test_undisturbed_scenario_agrees_with_the_oracle(tmp_path: Path) -> None:
    path = tmp_path / "worker.db"
    url = f"sqlite+aiosqlite:///{path}"
    migration.upgrade(url, "head")
    broker = scenario()
    Process(broker, path, now_seconds=BEGAN_SECONDS).run()
    oracle = Oracle()
    for _, record in broker.records:
        oracle.handle(_input(record))
    assert {outcome.split()[0] for outcome in oracle.outcomes} == {"Applied", "Duplicate", "Rejected"}
    outputs = [_output(offset, outgoing) for offset, outgoing in enumerate(broker.published)]
    found = differences(
        oracle,
        tables=asyncio.run(contents(url)),
        deployment_statuses=[record for record in outputs if record.topic == "rudder.deployment-status"],
        release_statuses=[record for record in outputs if record.topic == "rudder.release-status"],
        dead_letters=[record for record in outputs if record.topic == "rudder.dead-letters"],
        deployment_states=[record for record in outputs if record.topic == "rudder.deployment-state"],
    )
    assert found == []


def _input(record: Record) -> OracleRecord:
    position = (record.topic, record.partition, record.offset, record.timestamp_ms)
    return OracleRecord(*position, record.value, record.headers, record.key)


def _output(offset: int, outgoing: OutgoingRecord) -> OracleRecord:
    return OracleRecord(outgoing.topic, 0, offset, 0, outgoing.value, tuple(outgoing.headers), outgoing.key)
