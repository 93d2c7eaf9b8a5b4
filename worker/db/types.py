"""Column types that mean the same in Python on every database, whatever each of them stores.

The schema was written for SQL Server; PostgreSQL and SQLite get the nearest types. The differences are type variants,
so that statements and callers never ask which database they speak to.
"""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CHAR, DateTime, FunctionElement, Text, Unicode, Uuid
from sqlalchemy.dialects import mssql
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import TypeDecorator, TypeEngine


class _DashedUuid(TypeDecorator[UUID]):
    """A UUID as 36 lower-case characters with dashes: what people and other programs read in a SQLite file."""

    impl = CHAR(36)
    cache_ok = True

    def process_bind_param(self, value: UUID | None, _dialect: Dialect) -> str | None:
        return None if value is None else str(value)

    def process_result_value(self, value: str | None, _dialect: Dialect) -> UUID | None:
        return None if value is None else UUID(value)


class Guid(TypeDecorator[UUID]):
    """`uuid.UUID` in Python; uniqueidentifier, uuid, or dashed lower-case text on SQLite."""

    impl = Uuid().with_variant(_DashedUuid(), "sqlite")
    cache_ok = True


class UtcTimestamp(TypeDecorator[datetime]):
    """An aware UTC `datetime` in Python, both ways; stored without an offset, to the microsecond.

    SQL Server has datetime2, PostgreSQL `timestamp without time zone`, SQLite text with six digits, which sorts by
    time. A naive value is refused (ValueError, which SQLAlchemy wraps in StatementError): its zone is unknown.
    """

    # Plain `datetime` on SQL Server would round to 3.33 ms.
    impl = DateTime().with_variant(mssql.DATETIME2, "mssql")
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.utcoffset() is None:
            raise ValueError(f"a timestamp needs a time zone, this one has none: {value!r}")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


def nvarchar(length_units: int) -> Unicode:
    """nvarchar(n) on SQL Server, where n counts UTF-16 units; varchar(n) on the others."""
    return Unicode(length_units)


def nvarchar_max() -> TypeEngine[str]:
    """nvarchar(max) on SQL Server; text on the others."""
    # UnicodeText would render as the deprecated NTEXT wherever the server's version is unknown, as in --sql mode.
    return Text().with_variant(mssql.NVARCHAR(), "mssql")


class database_now(FunctionElement[datetime]):  # noqa: N801 - reads as the SQL function it stands for
    """The server's default for created_at and updated_at. The worker itself writes event times and never meets it."""

    type = UtcTimestamp()
    inherit_cache = True


@compiles(database_now)
def _(_element: database_now, _compiler: Any, **_options: Any) -> str:
    return "timezone('utc', now())"


@compiles(database_now, "mssql")
def _(_element: database_now, _compiler: Any, **_options: Any) -> str:
    # Local time of the server; given by the release-management schema.
    return "getdate()"  # as the server writes it down


@compiles(database_now, "sqlite")
def _(_element: database_now, _compiler: Any, **_options: Any) -> str:
    # SQLite knows milliseconds only; six digits keep the text sortable beside the worker's own.
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"
