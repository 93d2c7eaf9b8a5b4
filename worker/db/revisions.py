"""Which revision a database is at, and which ones this version has, without Alembic.

Alembic changes databases. A worker only looks whether that happened, and does not load a migration tool.
"""

import re
from functools import cache
from pathlib import Path

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


def require_head(revision: str | None) -> None:
    """Look whether the tables are those that this version was written for. `revision`: that of the database; None:
    it was never migrated.

    Raises:
        ConfigurationError: they are not there, or older.
    """
    head = head_revision()
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
