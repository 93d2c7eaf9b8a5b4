"""What the figures were measured on: without it they mean nothing, and with it still little on another machine."""

import os
import platform
import statistics
import tempfile
import time
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

_PACKAGES: Final = ("aiokafka", "asyncpg", "confluent-kafka", "faststream", "sqlalchemy", "uvloop")
_FLUSHES: Final = 200
_BLOCK_BYTES: Final = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """`flush_us`: how long the disk under the temporary folder takes for 8 KiB, written and flushed. `load` is the
    average of the last minute before the run: on a machine of one's own it is near 0.
    """

    processor: str
    cores: int
    memory_gb: float
    system: str
    python: str
    packages: dict[str, str]
    flush_us: float
    load: float


def this_machine() -> Machine:
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(
        processor=_processor(),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=round(memory_bytes / 1_000_000_000, 1),
        system=f"{platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        packages=dict(_versions()),
        flush_us=round(_flush_us()),
        load=round(os.getloadavg()[0], 2),
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _versions() -> list[tuple[str, str]]:
    found = []
    for package in _PACKAGES:
        try:
            found.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            found.append((package, "not installed"))
    return found


def _flush_us() -> float:
    taken_us = []
    with tempfile.TemporaryFile() as file:
        for _ in range(_FLUSHES):
            began_at_seconds = time.perf_counter()
            os.pwrite(file.fileno(), b"\0" * _BLOCK_BYTES, 0)
            os.fdatasync(file.fileno())
            taken_us.append((time.perf_counter() - began_at_seconds) * 1_000_000)
    return statistics.median(taken_us)
