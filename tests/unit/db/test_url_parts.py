"""A database URL is read as SQLAlchemy reads it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from worker.db.url_parts import url_parts

PARTS = ("drivername", "username", "password", "host", "port", "database")


def assert_read_as_by_sqlalchemy(url: str) -> None:
    ours, theirs = url_parts(url), make_url(url)
    assert [getattr(ours, name) for name in PARTS] == [getattr(theirs, name) for name in PARTS]
    assert dict(ours.query) == dict(theirs.query)
    assert ours.masked() == theirs.render_as_string(hide_password=True)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+asyncpg://u:p%40x@h:6432/d?sslmode=require&a=1&a=2&a=3&blank=",
        "postgresql+asyncpg://u@[::1]:1/d",
        "postgresql+asyncpg:///d?host=/run/postgresql",
        "postgresql+asyncpg://u:@h/d%20e",
        "mssql+aioodbc:///?odbc_connect=Driver%3D%7BFreeTDS%7D%3BServer%3Ddb",
        "sqlite+aiosqlite:////var/lib/ru dder.db",
        "sqlite+aiosqlite:///file:f.db?uri=true&mode=rw",
        "sqlite+aiosqlite://",
    ],
)
def test_url_is_read_as_by_sqlalchemy(url: str) -> None:
    assert_read_as_by_sqlalchemy(url)


@given(st.text(alphabet="abAB01:/@?&=%+[]., \u00fc", max_size=40))
def test_any_url_is_read_as_by_sqlalchemy(rest: str) -> None:
    url = f"postgresql+asyncpg://{rest}"
    try:
        make_url(url)
    except (ValueError, TypeError):  # a port that is no number, or empty
        return
    assert_read_as_by_sqlalchemy(url)


@pytest.mark.parametrize("url", ["", "nonsense", "postgresql", "postgresql+asyncpg://h:port/d"])
def test_other_text_is_no_url(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|int\(\)"):
        url_parts(url)
