"""Constructs what commands and services read and write in the database. Connects to nothing.

What only operators' commands use is imported where it is made: it loads SQLAlchemy.
"""

from typing import TYPE_CHECKING

from worker.db.database_url import require_database
from worker.db.store import SqlStore
from worker.settings import Settings

if TYPE_CHECKING:
    from worker.db.action_log import SqlActionLog
    from worker.db.operators_database import OperatorsDatabase
    from worker.db.status_queries import SqlStatusTables
    from worker.db.table_reader import SqlTableReader


def store(settings: Settings) -> SqlStore:
    """Raises ConfigurationError as `SqlStore.open`."""
    return SqlStore.open(
        settings.database_url.get_secret_value(),
        connections_max=settings.connections_max,
        timeout_seconds=settings.database_timeout_seconds,
    )


def table_reader(settings: Settings) -> "SqlTableReader":
    """Raises ConfigurationError as `SqlTableReader.open`, and `require_database`."""
    from worker.db.table_reader import SqlTableReader

    require_database(settings.database_url.get_secret_value())
    return SqlTableReader.open(
        settings.database_url.get_secret_value(), timeout_seconds=settings.database_timeout_seconds
    )


def action_log(settings: Settings) -> "SqlActionLog":
    """Raises ConfigurationError as `SqlActionLog.open`."""
    from worker.db.action_log import SqlActionLog

    return SqlActionLog.open(
        settings.database_url.get_secret_value(), timeout_seconds=settings.database_timeout_seconds
    )


def operators_database(settings: Settings) -> "OperatorsDatabase":
    """Raises ConfigurationError as `OperatorsDatabase.open`, and `require_database`."""
    from worker.db.operators_database import OperatorsDatabase

    require_database(settings.database_url.get_secret_value())
    return OperatorsDatabase.open(
        settings.database_url.get_secret_value(), timeout_seconds=settings.database_timeout_seconds
    )


def status_tables(settings: Settings) -> "SqlStatusTables":
    """Raises ConfigurationError as `SqlStatusTables.open`."""
    from worker.db.status_queries import SqlStatusTables

    return SqlStatusTables.open(
        settings.database_url.get_secret_value(), timeout_seconds=settings.database_timeout_seconds
    )
