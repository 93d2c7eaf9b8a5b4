"""The SELECT that loads for many messages on SQL Server."""

import json
import re
from datetime import date
from uuid import UUID

import pytest

from worker.db.loads import ATTEMPTS_MAX
from worker.db.mssql.batched_load import batched_load
from worker.db.pointers import ComponentKey
from worker.rules.query import Query, QueryVariant

RELEASE = UUID(int=7)


def query(variant: QueryVariant, number: int) -> Query:
    return Query(
        variant=variant,
        event_id=UUID(int=number),
        release_id=RELEASE,
        environment_id='quoted "Ø"',
        release_date=date(2026, 3, 17),
        release_number=number,
        deployment_track_id="main",
    )


@pytest.mark.parametrize("component", [None, *ComponentKey])
def test_batched_load_has_one_parameter_and_no_lock_hint(component: ComponentKey | None) -> None:
    """Its text and its plan are the same for any number of queries."""
    sql = batched_load(component).statement.sql
    assert sql.count("?") == 1
    assert re.search(r"NOLOCK|UPDLOCK|HOLDLOCK|READPAST|SERIALIZABLE", sql) is None
    assert ("app_environments" in sql) == (component is not None)
    assert f"TOP ({ATTEMPTS_MAX + 1})" in sql


def test_batched_load_reads_versions_first() -> None:
    """What is read after them is at least as new, also without READ_COMMITTED_SNAPSHOT."""
    sql = batched_load(ComponentKey.UUID).statement.sql
    assert sql.count("release_versions") == 1
    assert sql.index("release_versions") < min(
        sql.index(f"FROM {table}") for table in ("releases", "release_deployments")
    )


def test_queries_are_rows_with_the_same_keys() -> None:
    queries = [query(QueryVariant.DEPLOYMENT, 1), query(QueryVariant.DEPLOYMENT_SUCCEEDED, 2)]
    [parameter] = batched_load(ComponentKey.UUID).values_of(queries, frozenset({1}))
    first, second = json.loads(str(parameter))
    assert first == {
        "position": 1,
        "event_id": str(UUID(int=1)),
        "release_id": str(RELEASE),
        "attempts_of": None,
        "environment_id": None,
        "release_date": "2026-03-17",
        "release_number": 1,
        "component_id": None,
        "deployment_track_id": "main",
    }
    assert first.keys() == second.keys()
    assert (second["attempts_of"], second["environment_id"]) == (str(RELEASE), 'quoted "Ø"')
