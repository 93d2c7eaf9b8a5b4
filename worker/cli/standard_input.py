"""Standard input, line by line, for a thread that must be able to stop although nothing more comes."""

import os
import select
import sys
import threading
from collections.abc import Iterator

_CHUNK_BYTES = 65_536
_GLANCE_SECONDS = 0.1


def standard_input(stopped: threading.Event) -> Iterator[bytes]:
    """The lines, without their ends, until the input ends or `stopped` is set.

    A thread that is blocked in a read keeps the process from ending, so it is asked first whether there is something.
    """
    try:
        descriptor = sys.stdin.fileno()
    except (OSError, ValueError):  # a stand-in that is no file
        yield from sys.stdin.buffer
        return
    rest = b""
    while not stopped.is_set():
        if not _readable(descriptor):
            continue
        chunk = os.read(descriptor, _CHUNK_BYTES)
        if not chunk:
            break
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    if rest:
        yield rest


def _readable(descriptor: int) -> bool:
    if sys.platform == "win32":  # select knows sockets only
        return True
    return bool(select.select([descriptor], [], [], _GLANCE_SECONDS)[0])
