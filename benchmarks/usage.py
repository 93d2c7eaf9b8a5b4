"""What processes cost: processor time and memory, read from Linux's /proc for whole families of processes.

Processor time per event is the figure that a shared machine disturbs least, and the one that says what stands in the
way. Servers and contenders alike fork; what a child used still counts once it has gone, since its parent inherits it.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
_FIELDS_BEFORE: Final = 3
"""pid, name and state; the numbers of proc_pid_stat(5) count from 1."""
_PARENT, _FIRST_TIME, _LAST_TIME = 4, 14, 17


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a family of processes has used so far, and the most memory that each of its living ones ever had, summed."""

    cpu_seconds: float = 0.0
    rss_bytes: int = 0
    rss_peak_bytes: int = 0


def usage_of(*roots: int) -> Usage:
    """Return the sum over the processes and all their living descendants; processes that are gone count as nothing."""
    ticks = rss_kb = peak_kb = 0
    for pid in _family(roots):
        stat = _stat(pid)
        if stat is None:
            continue
        ticks += sum(int(field) for field in stat[_FIRST_TIME - _FIELDS_BEFORE : _LAST_TIME - _FIELDS_BEFORE + 1])
        memory = _memory_kb(pid)
        rss_kb += memory.get("VmRSS", 0)
        peak_kb += memory.get("VmHWM", 0)
    return Usage(cpu_seconds=ticks / _TICKS_PER_SECOND, rss_bytes=rss_kb * 1024, rss_peak_bytes=peak_kb * 1024)


def process_with(argument: str) -> int:
    """Return the id of the one process that has this among its arguments; LookupError where there is none."""
    for folder in _PROC.glob("[0-9]*"):
        try:
            arguments = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if argument.encode() in arguments:
            return int(folder.name)
    raise LookupError(f"no process has the argument {argument}")


def _family(roots: Iterable[int]) -> Iterator[int]:
    children: dict[int, list[int]] = {}
    for folder in _PROC.glob("[0-9]*"):
        stat = _stat(int(folder.name))
        if stat is not None:
            children.setdefault(int(stat[_PARENT - _FIELDS_BEFORE]), []).append(int(folder.name))
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting.extend(children.get(pid, ()))


def _stat(pid: int) -> list[str] | None:
    """The fields from the state on: the name before it may hold blanks and parentheses."""
    try:
        text = (_PROC / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def _memory_kb(pid: int) -> dict[str, int]:
    try:
        lines = (_PROC / str(pid) / "status").read_text("utf-8", "replace").splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines if line.startswith(("VmRSS", "VmHWM")))
    return {name: int(value.split()[0]) for name, value in pairs}
