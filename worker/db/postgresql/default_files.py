"""The files that PostgreSQL's clients look for in `~/.postgresql`, where that folder may not be looked into.

libpq does without them. asyncpg raises PermissionError, before it connects and also for a connection without TLS:
https://github.com/MagicStack/asyncpg/issues/910
"""

import os
from pathlib import Path

from asyncpg import connect_utils

_path = connect_utils._dot_postgresql_path  # noqa: SLF001 - see `install`


def install() -> None:
    """Have every connection of this process do without files that cannot be read. asyncpg offers no seam for it."""
    connect_utils._dot_postgresql_path = _readable_path  # noqa: SLF001


def _readable_path(filename: str) -> Path | None:
    """None is what asyncpg itself has where there is no home."""
    path: Path | None = _path(filename)
    return path if path is not None and os.access(path, os.R_OK) else None
