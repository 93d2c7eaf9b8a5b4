"""Inputs of commands: files, and standard input for a thread that can be stopped while it waits."""

import os
import select
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from worker.rules.errors import ConfigurationError

_CLOSED = "standard input is closed; give a file, or pipe the events in"
_CHUNK_BYTES = 65_536
_POLL_SECONDS = 0.1


def standard_input(stopped: threading.Event) -> Iterator[bytes]:
    """The lines, without their ends, until the input ends or `stopped` is set.

    A blocked read would keep the process from ending, so each read waits until data is available.

    Raises:
        ConfigurationError: standard input is closed.
    """
    if sys.stdin is None:
        raise ConfigurationError(_CLOSED)
    try:
        descriptor = sys.stdin.fileno()
    except (OSError, ValueError):  # replaced by an object without a descriptor
        yield from sys.stdin.buffer
        return
    parts: list[bytes] = []  # of the incomplete line; joined once, which stays linear for long lines
    while not stopped.is_set():
        if not _readable(descriptor):
            continue
        chunk = os.read(descriptor, _CHUNK_BYTES)
        if not chunk:
            break
        first, *others = chunk.split(b"\n")
        parts.append(first)
        for line in others:
            yield b"".join(parts)
            parts = [line]
    if rest := b"".join(parts):
        yield rest


def _readable(descriptor: int) -> bool:
    if sys.platform == "win32":  # select supports sockets only
        return True
    return bool(select.select([descriptor], [], [], _POLL_SECONDS)[0])


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """A file, or standard input for `-`.

    Raises:
        ConfigurationError: it cannot be read.
    """
    if str(path) == "-":
        if sys.stdin is None:
            raise ConfigurationError(_CLOSED)
        yield sys.stdin.buffer
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    with file:
        yield file
