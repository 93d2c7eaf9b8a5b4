"""The database refuses what the status machines refuse, pair by pair, and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, date, datetime
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Insert, Table, insert, select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from schemas.statuses import DeploymentStatus, ReleaseStatus
from worker.db import migration
from worker.db.models import Base
from worker.rules.transitions import DEPLOYMENT_TRANSITIONS, RELEASE_TRANSITIONS

TABLES: Mapping[str, Table] = Base.metadata.tables
MACHINES: Mapping[str, Mapping[Any, frozenset[Any]]] = {
    "release_deployments": DEPLOYMENT_TRANSITIONS,
    "releases": RELEASE_TRANSITIONS,
}
RELEASE = UUID(int=1)


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[AsyncConnection]:
    """A connection to a migrated database that holds one release."""
    await asyncio.to_thread(migration.upgrade, database_url)
    engine = create_async_engine(database_url, poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.execute(row("releases", id=RELEASE, status="APPROVED", release_number=1))
        await connection.commit()
        yield connection
    await engine.dispose()


@pytest.mark.parametrize("table", MACHINES)
async def test_exactly_the_allowed_transitions_pass(connection: AsyncConnection, table: str) -> None:
    """Every pair of statuses: those of the machine and those that change nothing pass, all others are refused."""
    machine = MACHINES[table]
    refused = set()
    for old, new in product(machine, repeat=2):
        ids = await insert_in_each_of(connection, table, [old])
        error = await error_of(connection, update(TABLES[table]).where(TABLES[table].c.id == ids[0]).values(status=new))
        if error is not None:
            assert f"{table}: status {old} may not become {new}" in str(error.orig)
            refused.add((old, new))
    allowed = {(old, new) for old, followers in machine.items() for new in {*followers, old}}
    assert refused == set(product(machine, repeat=2)) - allowed


@pytest.mark.parametrize("table", MACHINES)
async def test_one_refused_row_refuses_the_whole_update(connection: AsyncConnection, table: str) -> None:
    """The guard checks an UPDATE row by row; the UPDATE changes all of its rows or none."""
    ids = await insert_in_each_of(connection, table, ["FAILED", "ROLLED_BACK", "FAILED"])
    guarded = TABLES[table]
    # Allowed for ROLLED_BACK of releases, not for a deployment; DRAFT and PENDING follow none of these.
    wanted = "DRAFT" if table == "releases" else "PENDING"
    assert await error_of(connection, update(guarded).where(guarded.c.id.in_(ids)).values(status=wanted)) is not None
    found = await connection.scalars(select(guarded.c.status).where(guarded.c.id.in_(ids)))
    assert sorted(found) == ["FAILED", "FAILED", "ROLLED_BACK"]


@pytest.mark.parametrize("table", MACHINES)
async def test_other_columns_change_in_every_status(connection: AsyncConnection, table: str) -> None:
    """The guard checks the status only: other columns of a row in a final status can change."""
    guarded = TABLES[table]
    ids = await insert_in_each_of(connection, table, list(MACHINES[table]))
    later = datetime(2031, 1, 1, tzinfo=UTC)
    assert await error_of(connection, update(guarded).where(guarded.c.id.in_(ids)).values(updated_at=later)) is None


@pytest.mark.parametrize("table", [*MACHINES, "release_activity_logs"])
@pytest.mark.parametrize("status", ["DONE", "", "success", "Failed", "FAILED ", " FAILED"])
async def test_unknown_status_is_refused(connection: AsyncConnection, table: str, status: str) -> None:
    """By INSERT and by UPDATE; letter case and blanks count, whatever the database's collation."""
    guarded = TABLES[table]
    assert await error_of(connection, row(table, status=status)) is not None
    ids = await insert_in_each_of(connection, table, ["FAILED"])
    assert await error_of(connection, update(guarded).where(guarded.c.id == ids[0]).values(status=status)) is not None


async def test_activities_accept_the_statuses_of_both_machines(connection: AsyncConnection) -> None:
    """A log entry has the status of a release or of a deployment."""
    statuses = {*DeploymentStatus, *ReleaseStatus}
    assert len(await insert_in_each_of(connection, "release_activity_logs", sorted(statuses))) == len(statuses)


@pytest.mark.parametrize("attempt", [0, -1])
async def test_attempts_count_from_one(connection: AsyncConnection, attempt: int) -> None:
    """Zero and less are no attempts."""
    assert await error_of(connection, row("release_deployments", status="PENDING", attempt=attempt)) is not None


def test_frozen_transition_tables_match_the_rules() -> None:
    """Each revision carries its own copy, for every database alike; here they are compared without one."""
    scripts = ScriptDirectory.from_config(migration._config())
    triggers = scripts.get_revision("0.0.219").module
    checks = scripts.get_revision("0.0.218").module
    assert {old: set(new) for old, new in triggers.DEPLOYMENT_TRANSITIONS.items()} == DEPLOYMENT_TRANSITIONS
    assert {old: set(new) for old, new in triggers.RELEASE_TRANSITIONS.items()} == RELEASE_TRANSITIONS
    assert set(checks.DEPLOYMENT_STATUSES) == set(DeploymentStatus)
    assert set(checks.RELEASE_STATUSES) == set(ReleaseStatus)
    assert set(checks.LOG_STATUSES) == {*DeploymentStatus, *ReleaseStatus}


async def insert_in_each_of(connection: AsyncConnection, table: str, statuses: list[str]) -> list[UUID]:
    """Any status can be inserted; returns the new ids."""
    ids = [uuid4() for _ in statuses]
    for row_id, status in zip(ids, statuses, strict=True):
        assert await error_of(connection, row(table, id=row_id, status=status)) is None
    return ids


async def error_of(connection: AsyncConnection, statement: Any) -> DBAPIError | None:
    """Runs the statement in a transaction of its own; returns the error that the database refused it with."""
    try:
        await connection.execute(statement)
    except DBAPIError as error:
        await connection.rollback()
        return error
    await connection.commit()
    return None


def row(table: str, **values: Any) -> Insert:
    """An INSERT of a row that is valid but for what `values` say."""
    row_id = values.pop("id", None) or uuid4()
    unique_number = row_id.int % 2_000_000_000 + 2
    valid: dict[str, dict[str, Any]] = {
        "releases": {
            "release_date": date(2024, 2, 29),
            "release_number": unique_number,
            "project_id": uuid4(),
            "organization_id": "organization",
            "created_by": "somebody",
            "component_id": UUID(int=2),
            "deployment_track_id": "main",
        },
        "release_deployments": {"release_mgt_id": RELEASE, "environment_id": "prod", "attempt": unique_number},
        "release_activity_logs": {"release_mgt_id": RELEASE, "activity_type": "NOTE"},
    }
    return insert(TABLES[table]).values(id=row_id, **{**valid[table], **values})
