"""A disk is full until it is not."""

import pytest

from tests.testkit.small_disk import DiskUnavailable, SmallDisk


def test_full_disk_refuses_writes_and_is_restored() -> None:
    try:
        with SmallDisk.mounted(1) as disk:
            file = disk.folder / "file"
            file.write_bytes(b"before")
            with disk.full(), pytest.raises(OSError, match="No space left"):
                (disk.folder / "other").write_bytes(bytes(4096))
            (disk.folder / "other").write_bytes(bytes(4096))
            assert file.read_bytes() == b"before"
    except DiskUnavailable as error:
        pytest.skip(f"no small file system can be mounted here: {error}")
    assert not disk.folder.exists()
