"""The pages docs/reference/sql show the statements that the worker sends now."""

import re
from pathlib import Path

import pytest

from docs import sql_pages
from schemas.types import EventType

FOLDER = Path(__file__).parents[2] / "docs" / "reference" / "sql"


@pytest.mark.parametrize("database", sql_pages.URLS)
def test_sql_page_shows_what_is_sent(database: str) -> None:
    """`make reference` makes it so."""
    page = (FOLDER / f"{database}.md").read_text("utf-8")
    assert sql_pages.load(database) in page
    assert sql_pages.write(database) in page


@pytest.mark.parametrize("database", sql_pages.URLS)
def test_every_event_type_is_on_the_sql_page(database: str) -> None:
    loads = sql_pages.load(database)
    for event_type in EventType:
        assert f"`{event_type}`" in loads


@pytest.mark.parametrize("database", sql_pages.URLS)
def test_sql_page_has_every_table_that_is_written(database: str) -> None:
    # The procedure updates by aliases of one letter; it inserts into all of these tables, too.
    statements = sql_pages.procedure() if database == "mssql" else sql_pages.write(database)
    written = set(re.findall(r"(?:INSERT INTO|UPDATE) (\w{2,})", statements))
    assert written - {"release_apim_base_revisions"} == {
        "app_environments",
        "release_activity_logs",
        "release_deployments",
        "release_event_rejections",
        "release_versions",
        "releases",
    }
