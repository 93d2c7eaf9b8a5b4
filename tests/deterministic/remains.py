"""What is left of a process that dies: the database's files, the broker, and nothing else.

A process that is killed runs no line more, so nothing needs to be killed to see what it would leave: at each of its
awaits that is copied, and the next process starts from the copy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.deterministic.broker import Broker

Files = Mapping[str, bytes]
"""By what follows the database's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """`unanswered`: the kinds of what was asked of the broker and the database, and not answered yet."""

    where: str
    now_seconds: float
    unanswered: frozenset[str]
    broker: Broker
    files: Files


def database_files(path: Path) -> Files:
    """As another process would find them if this one were gone.

    Without the index of the log, which SQLite takes for worthless then. To read a file here drops this process's locks
    on it, on POSIX systems; they are of no use where nobody else opens it.
    """
    parts = {suffix: path.with_name(path.name + suffix) for suffix in ("", "-wal")}
    return {suffix: part.read_bytes() for suffix, part in parts.items() if part.exists()}


def lay_out(files: Files, path: Path) -> None:
    """Make them the database at `path`, whatever was there."""
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        part.unlink(missing_ok=True)
        if suffix in files:
            part.write_bytes(files[suffix])
