"""A worker that was paused for longer than its session repairs the states that it publishes late."""

import json
import signal
import sys
from collections.abc import Iterable
from typing import Any

import pytest

from tests.conformance.deadlines import until
from tests.conformance.groups import members_of
from tests.end_to_end.paused_worker import PAUSE
from tests.end_to_end.release_records import ReleaseRecords
from tests.end_to_end.system import PARTITIONS, System
from tests.end_to_end.verify_reports import verify_report

ON_APACHE = pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)
"""The embedded broker keeps the session of a member that another one waits for."""

PAUSED_WORKER = (sys.executable, "-m", "tests.end_to_end.paused_worker")


async def statuses(system: System) -> list[str]:
    """Those of the state topic, which has one key, in order."""
    found: list[dict[str, Any]] = [
        json.loads(message.value() or b"") for message in await system.read(system.topics.deployment_state)
    ]
    return [data["status"] for data in found]


@ON_APACHE
async def test_paused_worker_repairs_its_late_states(system: System) -> None:
    """Its publication arrives after its successor's later state; without an operator the last record is right."""
    builder = ReleaseRecords()
    with system.worker("paused", command=PAUSED_WORKER) as paused:
        await system.send([*builder.approved(), builder.deploy("requested")])
        await system.caught_up(paused)
        before = await members_of(system.bootstrap_servers, system.group_id)
        pause = system.folder / PAUSE
        pause.touch()
        await system.send([builder.deploy("started")])
        await until(lambda: not pause.exists(), what=paused.output)
        with system.worker("successor") as successor:
            await until(lambda: _has_all_partitions(system, other_than=before), what=successor.output)
            await system.send([builder.deploy("succeeded")])
            await system.caught_up(successor)
            assert await statuses(system) == ["PENDING", "IN_PROGRESS", "SUCCESS"]
            paused.send_signal(signal.SIGCONT)

            async def repaired() -> bool:
                return await statuses(system) == ["PENDING", "IN_PROGRESS", "SUCCESS", "IN_PROGRESS", "SUCCESS"]

            await until(repaired, what=lambda: f"the repair: {paused.output()}")

            async def counted() -> bool:  # once the repair is acknowledged
                return "rudder_states_repaired_total 1.0" in (await paused.get("/metrics")).text

            await until(counted, what=lambda: f"the repair is counted: {paused.output()}")
            assert await paused.stop() == 0
            assert await successor.stop() == 0
    report = await verify_report(system)
    assert report["findings"] == []


async def _has_all_partitions(system: System, *, other_than: Iterable[str]) -> bool:
    """Whether a member that is none of these has all of them."""
    members = await members_of(system.bootstrap_servers, system.group_id)
    return any(len(partitions) == PARTITIONS for member, partitions in members.items() if member not in set(other_than))
