"""The parent-death pipe: a socket as standard input of a worker process, which closes when its parent exits.

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
"""Standard input: every system passes it to a child, and a worker reads nothing else from it."""

_REFUSAL_BYTES_MAX = 4_096
"""Far less than a socket buffers without a reader."""


def on_parent_death(react: Callable[[], None]) -> None:
    """In the child: call `react` once, on the running event loop, when the parent has exited."""
    loop = asyncio.get_running_loop()

    def closed() -> None:
        loop.remove_reader(_CHILD_END)
        react()

    loop.add_reader(_CHILD_END, closed)  # the parent never writes: what can be read is the end


def refuse(line: str) -> None:
    """In the child, before it exits: report why it cannot run."""
    with contextlib.suppress(OSError):  # the parent is gone
        os.write(_CHILD_END, line.encode("utf-8", "replace")[:_REFUSAL_BYTES_MAX])


def refusal(parent_end: socket.socket) -> str:
    """In the parent, after the child has exited: why it could not run; empty if it reported nothing."""
    try:
        return parent_end.recv(_REFUSAL_BYTES_MAX, socket.MSG_DONTWAIT).decode("utf-8", "replace")
    except OSError:
        return ""
