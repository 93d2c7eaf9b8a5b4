"""The line between a process that watches and a worker process: a socket that is the worker process's standard input.

While the parent lives the line is open and silent. It is cut when the parent is gone, however it went, SIGKILL
included; then the child stops in order. (Linux could signal the child instead, but would do so at the end of the thread
that started it, and other systems cannot.) The child says one thing on it at most: why it cannot run, so that the
parent says it once for all.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Self

_CHILD_END = 0
"""Standard input: it is handed down on every system, and a worker reads nothing else from it."""

_REFUSAL_BYTES_MAX = 4_096
"""Far below what a socket takes without a reader."""


class ParentDeathPipe:
    """The parent's end, and the child's until that has been handed down."""

    def __init__(self) -> None:
        self._own, self._childs = socket.socketpair()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def child_end(self) -> int:
        """The descriptor that is to be the child's standard input."""
        return self._childs.fileno()

    def handed_down(self) -> None:
        """The child has its end now, and this process no use for it."""
        self._childs.close()

    def close(self) -> None:
        """Cut it."""
        self._own.close()
        self._childs.close()

    def refusal(self) -> str:
        """Why the child, which has ended, could not run; empty if it did not say so."""
        try:
            return self._own.recv(_REFUSAL_BYTES_MAX, socket.MSG_DONTWAIT).decode("utf-8", "replace")
        except OSError:
            return ""


def when_cut(react: Callable[[], None]) -> None:
    """In the child: call `react` once, on the running event loop, when the parent is gone."""
    loop = asyncio.get_running_loop()

    def cut() -> None:
        loop.remove_reader(_CHILD_END)
        react()

    loop.add_reader(_CHILD_END, cut)  # the parent never writes: what can be read is the end


def refuse(line: str) -> None:
    """In the child, before it ends: why it cannot run."""
    with contextlib.suppress(OSError):  # nobody listens any more
        os.write(_CHILD_END, line.encode("utf-8", "replace")[:_REFUSAL_BYTES_MAX])
