"""Constructs what the status commands read with. Apart from `worker.assembly`, which loads the clients of the broker
and the HTTP server: a status command loads only what it uses.
"""

from worker.db.status_queries import SqlStatusTables
from worker.settings import Settings


def status_tables(settings: Settings) -> SqlStatusTables:
    """Raises ConfigurationError as `SqlStatusTables.open`."""
    return SqlStatusTables.open(
        settings.database_url.get_secret_value(), timeout_seconds=settings.database_timeout_seconds
    )
