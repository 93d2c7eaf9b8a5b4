"""Standard input, output and error, where the process was started without them (`<&-`, `>&-`, `2>&-`)."""

import io
import os
import sys


def open_missing() -> None:
    """Have a missing stream read nothing and write nowhere.

    Else the next file or socket that is opened gets its descriptor, and is closed or written to as if it were the
    stream.
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
    os.set_inheritable(descriptor, True)  # as the real one is
    raw = io.FileIO(descriptor, "r" if name == "stdin" else "w", closefd=False)
    buffered = io.BufferedReader(raw) if name == "stdin" else io.BufferedWriter(raw)
    setattr(sys, name, io.TextIOWrapper(buffered, encoding="utf-8", errors="backslashreplace"))
