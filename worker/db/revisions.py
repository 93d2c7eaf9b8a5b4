"""Which revision a database is at, and which ones this version has, without Alembic.

Alembic changes databases. A worker only looks whether that happened, and does not load a migration tool.
"""

import re
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

import migrations
from worker.rules.errors import ConfigurationError

VERSION_TABLE = "rudder_alembic_version"
"""Alembic's own name for it belongs to whichever application came first."""

_FILE = re.compile(r"v(\d+)_(\d+)_(\d+)_\w+\.py")
"""The name of a revision's module begins with the revision; a test compares them with what Alembic reads."""


@cache
def known_revisions() -> tuple[str, ...]:
    """Every revision that this version of the package has, oldest first."""
    names = (_FILE.fullmatch(path.name) for path in (Path(migrations.__file__).parent / "versions").iterdir())
    numbers = sorted(tuple(map(int, name.groups())) for name in names if name)
    return tuple(".".join(map(str, number)) for number in numbers)


def head_revision() -> str:
    """The revision this worker was written for."""
    return known_revisions()[-1]


async def current_revision(connection: AsyncConnection) -> str | None:
    """The revision the database is at; None where it was never migrated."""
    return await connection.run_sync(_current_revision)


async def require_current(connection: AsyncConnection) -> None:
    """Look whether the tables are those that this version was written for.

    Raises:
        ConfigurationError: they are not there, or older.
    """
    revision, head = await current_revision(connection), head_revision()
    # A revision that this version does not know is a newer one: a rollout migrates before it restarts.
    if revision != head and (revision is None or revision in known_revisions()):
        if revision is None:
            raise ConfigurationError(
                "the database has no tables of rudder-worker, or this login may not see them: "
                "run `rudder-worker migrate` first, or grant what `rudder-worker migrate --grants` prints"
            )
        raise ConfigurationError(
            f"the database is at revision {revision}; this version needs {head}: run `rudder-worker migrate` first"
        )


def _current_revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608 - our name
    return found
