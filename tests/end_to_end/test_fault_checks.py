"""Both checks of the fault plans, `verify` and the oracle, find each fault that is made by hand."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from tests.conformance.producers import ToSend, headers_of, send
from tests.conformance.table_contents import insert_environments, rows
from tests.end_to_end.demo_day import day_of
from tests.end_to_end.system import System
from tests.fault_injection.checking import Check, check
from tests.oracle.comparison import in_order

SEED = 3
FAULTS: Mapping[str, str] = {
    "DELETE FROM release_activity_logs WHERE id = (SELECT min(id) FROM release_activity_logs)": "release_activity_logs",
    "DELETE FROM release_event_rejections": "release_event_rejections",
    "UPDATE releases SET created_by = 'nobody'": "releases",
    "UPDATE release_deployments SET comment = 'nothing'": "release_deployments",
}
"""Statements, and the table that must be reported."""


async def after_a_day(system: System) -> list[dict[str, Any]]:
    """The environments before a day without faults."""
    await insert_environments(system.database_url, SEED)
    environments = in_order(await rows(system.database_url, "app_environments"))
    with system.worker() as worker:
        await system.send(day_of(SEED, releases=16).daytime)
        await system.caught_up(worker)
        assert await worker.stop() == 0
    return environments


@pytest.mark.parametrize("pair", ["embedded+sqlite"], indirect=True)
async def test_correct_day_passes_and_each_fault_is_found_by_both(system: System) -> None:
    environments = await after_a_day(system)
    assert await check(system, environments) == Check(differences=(), published_again=0)
    intact = (system.folder / "rudder.sqlite3").read_bytes()
    for statement, table in FAULTS.items():
        path = system.folder / "changed.sqlite3"
        path.write_bytes(intact)
        with closing(sqlite3.connect(path)) as connection, connection:
            assert connection.execute(statement).rowcount
        changed = replace(system, database_url=f"sqlite+aiosqlite:///{path}")
        found = (await check(changed, environments)).differences
        for name in ("verify", "oracle"):
            assert any(line.startswith(name) and table in line for line in found), (statement, name, found)


@pytest.mark.parametrize("pair", ["embedded+sqlite"], indirect=True)
async def test_wrong_publication_is_found_by_both(system: System) -> None:
    """A repeat is counted and is no fault; a repeat with other data is."""
    environments = await after_a_day(system)
    topic = system.topics.deployment_status
    first = (await system.read(topic))[0]
    key, value = first.key(), first.value()
    assert isinstance(key, bytes)
    assert isinstance(value, bytes)
    again = ToSend(key=key, value=value, headers=headers_of(first), partition=first.partition() or 0)
    send(system.bootstrap_servers, topic, [again])
    assert await check(system, environments) == Check(differences=(), published_again=1)
    send(system.bootstrap_servers, topic, [replace(again, value=value.replace(b'"status"', b'"Status"'))])
    found = (await check(system, environments)).differences
    for name in ("verify", "oracle"):
        assert any(line.startswith(name) for line in found), (name, found)
