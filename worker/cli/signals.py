"""Signal handling from the start of the process: the kernel drops a signal to PID 1 that has no handler.

Handlers are Python's, because not every event loop supports them, and a loop ends before the process does. This module
imports only the standard library, so that it is loaded before slow imports.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOPPING = tuple(
    signal.Signals[name] for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT") if name in signal.Signals.__members__
)
"""Signals that stop the process. Windows has only the first two."""

_EXIT_INTERRUPTED = 130
_CLEANUP_SECONDS = 8.0
"""Time limit of an interrupted command's clean-up: a driver's thread could hang."""

_EXIT_SECONDS = 5.0
"""Time limit of the interpreter's exit, which waits for every thread."""

_pending: list[signal.Signals] = []


def defer() -> None:
    """Keep the first signal until a command handles it; a second one ends the process."""
    for number in _handled_signals():
        signal.signal(number, _defer_signal)


@contextmanager
def handled(react: Callable[[signal.Signals], None], *, always: tuple[signal.Signals, ...] = ()) -> Iterator[None]:
    """Call `react` for each signal, in the main thread; for an earlier, deferred one too. A signal that was ignored at
    the start of the process (`nohup`, `&` in a script) stays ignored, unless it is one of `always`.
    """
    numbers = _handled_signals(always) if threading.current_thread() is threading.main_thread() else ()
    previous = {number: signal.getsignal(number) or signal.SIG_DFL for number in numbers}
    try:
        for number in numbers:
            signal.signal(number, lambda received, _frame: react(signal.Signals(received)))
        while _pending:
            react(_pending.pop(0))
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def interrupting() -> Iterator[None]:
    """Every signal raises KeyboardInterrupt. The process ends at the second one, or when cleaning up takes too long."""
    guards: list[threading.Timer] = []

    def interrupt(_number: signal.Signals) -> None:
        if guards:
            _end_at_once(_EXIT_INTERRUPTED)
        guards.append(_end_later(_CLEANUP_SECONDS, _EXIT_INTERRUPTED))
        raise KeyboardInterrupt

    try:
        with handled(interrupt):
            yield
    finally:
        for guard in guards:
            guard.cancel()


@contextmanager
def bounded_exit(code: int) -> Iterator[None]:
    """End the process with `code` if the block takes longer than the time limit of an exit."""
    guard = _end_later(_EXIT_SECONDS, code)
    try:
        yield
    finally:
        guard.cancel()


def end(code: int) -> None:
    """End the process, even if a thread hangs."""
    _end_later(_EXIT_SECONDS, code)
    sys.exit(code)


def _handled_signals(always: tuple[signal.Signals, ...] = ()) -> tuple[signal.Signals, ...]:
    return tuple(number for number in STOPPING if number in always or signal.getsignal(number) is not signal.SIG_IGN)


def _defer_signal(number: int, _frame: object) -> None:
    if _pending:
        _end_at_once(_EXIT_INTERRUPTED)
    _pending.append(signal.Signals(number))


def _end_later(seconds: float, code: int) -> threading.Timer:
    guard = threading.Timer(seconds, _end_at_once, (code,))
    guard.daemon = True
    guard.start()
    return guard


def _end_at_once(code: int) -> None:
    os._exit(code)
