"""Where the servers of the tests keep their data: in memory, where there is room.

Each database has hundreds of files, and tests create and drop thousands of databases. On ext4 that took a quarter of
the machine: it does not use the inodes of files that were deleted in the last seconds again, and looks at each.
"""

import shutil
from pathlib import Path
from typing import Final

_MEMORY: Final = Path("/dev/shm")
_FREE_BYTES_MIN: Final = 2 * 1024**3
"""A container has 64 MiB by default."""


def data_parent() -> Path | None:
    """The folder to make data folders in; None: that of temporary files."""
    if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _FREE_BYTES_MIN:
        return _MEMORY
    return None
