"""The state that a dead process leaves: the database's files and the broker, and nothing else.

A killed process executes nothing more, so no process needs to be killed: the test copies that state at each await of
the running process, and the next process starts from the copy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.deterministic.broker import Broker

Files = Mapping[str, bytes]
"""The content of each file, by the suffix that follows the database's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """`unanswered`: the kinds of the requests to the broker and the database that have no response yet."""

    where: str
    now_seconds: float
    unanswered: frozenset[str]
    broker: Broker
    files: Files


def database_files(path: Path) -> Files:
    """The files as another process would find them after the death of this one.

    The WAL index (`-shm`) is left out: SQLite rebuilds it. On POSIX systems reading a file here drops this process's
    locks on it; that is harmless, since no other process opens it.
    """
    parts = {suffix: path.with_name(path.name + suffix) for suffix in ("", "-wal")}
    return {suffix: part.read_bytes() for suffix, part in parts.items() if part.exists()}


def lay_out(files: Files, path: Path) -> None:
    """Replace the database at `path` with these files."""
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        part.unlink(missing_ok=True)
        if suffix in files:
            part.write_bytes(files[suffix])
