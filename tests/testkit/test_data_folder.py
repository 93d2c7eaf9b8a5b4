"""Data folders in memory do not outlive the tests that were killed."""

from pathlib import Path

import pytest

from tests.testkit import data_folder


def test_folders_of_processes_that_ended_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_folder, "_MEMORY", tmp_path)
    monkeypatch.setattr(data_folder, "_FREE_BYTES_MIN", 0)
    kept = data_folder.data_folder(tmp_path / "none")
    left = tmp_path / "rudder-data-4194305-abc"  # above the largest id of a process
    left.mkdir()
    made = data_folder.data_folder(tmp_path / "none")
    assert sorted(tmp_path.iterdir()) == sorted([kept, made])


def test_folder_is_elsewhere_where_memory_has_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_folder, "_FREE_BYTES_MIN", 2**62)
    assert data_folder.data_folder(tmp_path).parent == tmp_path
