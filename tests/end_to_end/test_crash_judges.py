"""The judges of the plans do find what is wrong: each harm done by hand to a sound system, by each of them."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from tests.conformance.contents import insert_environments, rows
from tests.conformance.producers import ToSend, headers_of, send
from tests.end_to_end.days import day_of
from tests.end_to_end.stage import Stage
from tests.fault_injection.judging import Judgement, judged
from tests.properties.two_opinions import in_order

SEED = 3
HARMS: Mapping[str, str] = {
    "DELETE FROM release_activity_logs WHERE id = (SELECT min(id) FROM release_activity_logs)": "release_activity_logs",
    "DELETE FROM release_event_rejections": "release_event_rejections",
    "UPDATE releases SET created_by = 'nobody'": "releases",
    "UPDATE release_deployments SET comment = 'nothing'": "release_deployments",
}
"""Statements, and the table of which something must be said."""


async def played(stage: Stage) -> list[dict[str, Any]]:
    """A quiet day; the environments before it."""
    await insert_environments(stage.database_url, SEED)
    environments = in_order(await rows(stage.database_url, "app_environments"))
    with stage.worker() as worker:
        await stage.send(day_of(SEED, releases=16).daytime)
        await stage.caught_up(worker)
        assert await worker.stop() == 0
    return environments


@pytest.mark.parametrize("pair", ["embedded+sqlite"], indirect=True)
async def test_correct_day_passes_and_each_fault_is_found_by_both(stage: Stage) -> None:
    environments = await played(stage)
    assert await judged(stage, environments) == Judgement(complaints=(), more_published=0)
    sound = (stage.folder / "rudder.sqlite3").read_bytes()
    for statement, table in HARMS.items():
        path = stage.folder / "harmed.sqlite3"
        path.write_bytes(sound)
        with closing(sqlite3.connect(path)) as connection, connection:
            assert connection.execute(statement).rowcount
        harmed = replace(stage, database_url=f"sqlite+aiosqlite:///{path}")
        found = (await judged(harmed, environments)).complaints
        for decider in ("verify", "model"):
            assert any(line.startswith(decider) and table in line for line in found), (statement, decider, found)


@pytest.mark.parametrize("pair", ["embedded+sqlite"], indirect=True)
async def test_wrong_publication_is_found_by_both(stage: Stage) -> None:
    """A mere repeat is counted and is no fault; one that says something else is."""
    environments = await played(stage)
    topic = stage.topics.deployment_status
    first = (await stage.read(topic))[0]
    key, value = first.key(), first.value()
    assert isinstance(key, bytes)
    assert isinstance(value, bytes)
    again = ToSend(key=key, value=value, headers=headers_of(first), partition=first.partition() or 0)
    send(stage.bootstrap_servers, topic, [again])
    assert await judged(stage, environments) == Judgement(complaints=(), more_published=1)
    send(stage.bootstrap_servers, topic, [replace(again, value=value.replace(b'"status"', b'"Status"'))])
    found = (await judged(stage, environments)).complaints
    for decider in ("verify", "model"):
        assert any(line.startswith(decider) for line in found), (decider, found)
