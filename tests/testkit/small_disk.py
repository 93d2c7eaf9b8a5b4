"""A disk that can be full: a small file system in memory, with room that can be taken away and given back."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

_BLOCK = 64 * 1024


class DiskUnavailable(Exception):
    """File systems cannot be mounted here; the message says why."""


class SmallDisk:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    @classmethod
    @contextmanager
    def mounted(cls, megabytes: int) -> Iterator[Self]:
        """DiskUnavailable where that needs rights that one has not."""
        folder = Path(tempfile.mkdtemp(prefix="rudder-disk-"))
        try:
            _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=755", "rudder", str(folder))
            try:
                yield cls(folder)
            finally:
                _run("umount", "--lazy", str(folder))
        finally:
            folder.rmdir()

    @contextmanager
    def full(self) -> Iterator[None]:
        """Not a byte is left; what others give back meanwhile is theirs to use."""
        self._fill()
        try:
            yield
        finally:
            self._ballast.unlink()

    def _fill(self) -> None:
        with self._ballast.open("wb", buffering=0) as ballast:
            block = bytes(_BLOCK)
            while block:
                try:
                    ballast.write(block)
                except OSError:
                    block = block[: len(block) // 2]


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise DiskUnavailable(f"there is no {command[0]}") from error
    except subprocess.CalledProcessError as error:
        raise DiskUnavailable(f"{command[0]}: {error.stderr.strip()}") from error
