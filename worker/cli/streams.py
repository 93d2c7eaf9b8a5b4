"""Standard input, output and error of a process that was started without them (`<&-`, `>&-`, `2>&-`)."""

import io
import os
import sys


def open_missing() -> None:
    """Open the null device for each missing stream.

    Otherwise the next file or socket would get its descriptor, and would be written to as if it were the stream.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            _open(descriptor, name)


def _open(descriptor: int, name: str) -> None:
    opened = os.open(os.devnull, os.O_RDWR)
    if opened != descriptor:
        os.dup2(opened, descriptor)
        os.close(opened)
    os.set_inheritable(descriptor, True)  # like standard streams
    raw = io.FileIO(descriptor, "r" if name == "stdin" else "w", closefd=False)
    buffered = io.BufferedReader(raw) if name == "stdin" else io.BufferedWriter(raw)
    setattr(sys, name, io.TextIOWrapper(buffered, encoding="utf-8", errors="backslashreplace"))
