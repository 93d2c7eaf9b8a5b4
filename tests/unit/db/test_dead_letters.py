"""The queries for dead letters, as SQL Server gets them: it runs in no test here."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy.dialects import mssql

from worker.db.dead_letters import count_query, group_query, page_query, redrives_query
from worker.pages import PageKey
from worker.stored_dead_letters import DeadLetterState, Filters

PAGE_KEY = PageKey(datetime(2026, 3, 17, 9, 30, tzinfo=UTC), UUID(int=7))
EVERY_FILTER = Filters(
    reason="invalid_data",
    source="/ci",
    type="dev.rudder.release.created.v1",
    release=UUID(int=1),
    topic="events",
    since=PAGE_KEY.at,
    until=PAGE_KEY.at,
    detail_contains="100%_[a]!",
)


@pytest.mark.parametrize("state", list(DeadLetterState))
def test_page_compiles_for_sql_server(state: DeadLetterState) -> None:
    """TOP instead of LIMIT, and no boolean as a value."""
    page = compiled(Filters(state=state), PAGE_KEY)
    assert page.startswith("SELECT TOP ")
    assert "LIMIT" not in page
    assert "true" not in page.lower()
    assert page.endswith("ORDER BY release_event_rejections.created_at DESC, release_event_rejections.id DESC")


def test_count_is_capped_on_sql_server() -> None:
    query = str(count_query(EVERY_FILTER, 10).compile(dialect=mssql.dialect()))  # type: ignore[no-untyped-call]
    assert "count(*)" in query
    assert "FROM (SELECT TOP " in query


def test_wildcards_in_the_text_are_escaped() -> None:
    """The brackets too, which are wildcards on SQL Server alone."""
    query = page_query(EVERY_FILTER, None, 10).compile(dialect=mssql.dialect())  # type: ignore[no-untyped-call]
    assert "%100!%!_![a]!!%" in query.params.values()
    assert "LIKE lower(:detail_1) ESCAPE '!'" in str(query)


@pytest.mark.parametrize("column", ["reason", "source", "type"])
def test_groups_compile_for_sql_server(column: str) -> None:
    query = str(group_query(EVERY_FILTER, column, 10).compile(dialect=mssql.dialect()))  # type: ignore[no-untyped-call]
    assert query.startswith("SELECT TOP ")
    assert "count(DISTINCT release_event_rejections.release_mgt_id)" in query
    redrives = str(redrives_query(PAGE_KEY.id).compile(dialect=mssql.dialect()))  # type: ignore[no-untyped-call]
    assert redrives.startswith("SELECT TOP ")


def compiled(filters: Filters, after: PageKey) -> str:
    return str(page_query(filters, after, 51).compile(dialect=mssql.dialect()))  # type: ignore[no-untyped-call]
