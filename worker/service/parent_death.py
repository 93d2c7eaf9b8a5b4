"""The parent-death pipe: a socket that is the standard input of a worker process, by which it notices its parent's end.

The socket is silent while the parent lives, and closed when it is gone, however it ended, SIGKILL included. (Linux can
send a signal instead, but does so at the end of the thread that started the process; other systems cannot.) The worker
process writes at most one line: why it cannot run, so that the parent logs it once for all processes.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable

_CHILD_END = 0
"""Standard input: every system hands it to a child, and a worker reads nothing else from it."""

_REFUSAL_BYTES_MAX = 4_096
"""Far below what a socket takes without a reader."""


def on_parent_death(react: Callable[[], None]) -> None:
    """In the child: call `react` once, on the running event loop, when the parent is gone."""
    loop = asyncio.get_running_loop()

    def closed() -> None:
        loop.remove_reader(_CHILD_END)
        react()

    loop.add_reader(_CHILD_END, closed)  # the parent never writes: what can be read is the end


def refuse(line: str) -> None:
    """In the child, before it ends: why it cannot run."""
    with contextlib.suppress(OSError):  # the parent is gone
        os.write(_CHILD_END, line.encode("utf-8", "replace")[:_REFUSAL_BYTES_MAX])


def refusal(parent_end: socket.socket) -> str:
    """In the parent: why the child, which has ended, could not run; empty if it did not write it."""
    try:
        return parent_end.recv(_REFUSAL_BYTES_MAX, socket.MSG_DONTWAIT).decode("utf-8", "replace")
    except OSError:
        return ""
