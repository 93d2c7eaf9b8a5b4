"""Where the servers of the tests keep their data: in memory, where there is room.

Each database has hundreds of files, and tests create and drop thousands of databases. On ext4 that took a quarter of
the machine: it does not use the inodes of files that were deleted in the last seconds again, and looks at each.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

_MEMORY: Final = Path("/dev/shm")
_FREE_BYTES_MIN: Final = 2 * 1024**3
"""A container has 64 MiB by default."""

_NAME: Final = "rudder-data"


def data_folder(otherwise: Path) -> Path:
    """A new folder in memory, or in `otherwise` if memory has no room. Removes those that killed tests have left."""
    if not _MEMORY.is_dir() or shutil.disk_usage(_MEMORY).free < _FREE_BYTES_MIN:
        return Path(tempfile.mkdtemp(prefix=f"{_NAME}-", dir=otherwise))
    for left in _MEMORY.glob(f"{_NAME}-*-*"):
        if not Path("/proc", left.name.split("-")[2]).exists():  # its servers have died with it
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{_NAME}-{os.getpid()}-", dir=_MEMORY))
