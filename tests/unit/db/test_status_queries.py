"""The statements of the status commands, compiled for SQL Server, which cannot always be run."""

import re
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Select
from sqlalchemy.dialects import mssql

from migrations.versions import v0_0_232_activity_log_ends as ends
from worker.db.status_queries import (
    activities_query,
    attempts_query,
    changes_query,
    dead_letters_query,
    environments_query,
    release_query,
    releases_count_query,
    releases_query,
)
from worker.pages import PageKey
from worker.stored_status import EnvironmentFilters, ReleaseFilters

ID = UUID("9d1e6b4c-1f0a-4c56-9a77-52f6f3d2b8aa")
TIME = datetime(2026, 3, 1, tzinfo=UTC)
CURSOR = PageKey(TIME, ID)
EVERY_FILTER = ReleaseFilters(status="FAILED", component=ID, environment="production", since=TIME, until=TIME)
QUERIES: dict[str, Select[Any]] = {
    "environments": environments_query(EnvironmentFilters(), 10),
    "environments, filtered": environments_query(
        EnvironmentFilters(environment="production", component=ID, organization="org"), 10
    ),
    "releases": releases_query(ReleaseFilters(), None, 10),
    "releases, filtered": releases_query(EVERY_FILTER, CURSOR, 10),
    "count": releases_count_query(EVERY_FILTER),
    "release": release_query(ID),
    "attempts": attempts_query(ID),
    "activities": activities_query(ID),
    "dead letters": dead_letters_query(ID),
    "changes": changes_query("production", TIME, None, 10),
    "changes, next page": changes_query("production", TIME, (TIME, ID), 10),
}


def compiled(query: Select[Any]) -> str:
    return " ".join(str(query.compile(dialect=mssql.dialect())).split())  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("name", QUERIES)
def test_query_compiles_for_sql_server(name: str) -> None:
    """TOP instead of LIMIT, no boolean as a value, and no order that T-SQL does not have."""
    sql = compiled(QUERIES[name])
    assert not re.search(r"\b(LIMIT|NULLS (FIRST|LAST)|true|false)\b", sql)
    if name != "release":
        assert "TOP " in sql


def test_changes_query_has_the_filter_of_its_index() -> None:
    """As literals: a filtered index is not used for parameters."""
    sql = re.sub(r"\[|\]|release_activity_logs\.", "", compiled(QUERIES["changes"]))
    assert ends.CONDITION in sql


def test_only_statuses_are_literals() -> None:
    """Values that are given become parameters, in every statement."""
    for query in QUERIES.values():
        literals = set(re.findall(r"'([^']*)'", compiled(query)))
        assert literals <= {"SUCCESS", "FAILED", "ROLLED_BACK", "CANCELLED", "DEPLOYMENT_STATUS_CHANGED"}
