"""What a family of processes costs, by Linux's own account."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.usage import Usage, process_with, usage_of

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="there is no /proc")

# A parent with a child that takes processor time and memory, both waiting for their input to end.
PROGRAM = """
import subprocess, sys, time
if sys.argv[1] == "child":
    kept = bytearray(50_000_000)
    while time.process_time() < 0.3:  # Linux counts in ticks, and leaves out what is begun of one
        pass
    print("done", flush=True)
    sys.stdin.read()
else:
    subprocess.run([sys.executable, "-c", sys.argv[2], "child"])
    print("ended", flush=True)
    sys.stdin.read()
"""


@contextmanager
def _family(mark: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", PROGRAM, "parent", PROGRAM, mark]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "done\n"
            yield process
        finally:
            assert process.stdin
            process.stdin.close()


def test_usage_includes_child_processes() -> None:
    with _family("a-family") as process:
        usage = usage_of(process.pid)
        assert usage.cpu_seconds >= 0.2
        assert usage.rss_peak_bytes >= usage.rss_bytes > 50_000_000


def test_usage_keeps_ended_child_processes() -> None:
    """Database servers end a process with each connection: their time must not vanish."""
    with _family("a-family-that-shrinks") as process:
        [child] = _children(process.pid)
        subprocess.run(["kill", str(child)], check=True)
        assert process.stdout
        assert process.stdout.readline() == "ended\n"
        usage = usage_of(process.pid)
        assert usage.cpu_seconds >= 0.2
        assert usage.rss_bytes < 50_000_000


def test_process_is_found_by_its_argument() -> None:
    with _family("a-family-with-a-name") as process:
        assert process_with("a-family-with-a-name") == process.pid


def test_usage_of_no_process_is_zero() -> None:
    assert usage_of() == Usage()
    assert usage_of(2**30) == Usage()
    with pytest.raises(LookupError):
        process_with("no-process-has-this" + "-argument")


def _children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]
