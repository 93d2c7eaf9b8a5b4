"""A child sees the demo's settings only, writes to the log, and ends when asked."""

import sys
from pathlib import Path

import pytest

from worker.demo.child import Child


@pytest.fixture
def in_place_of_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Put a script where the interpreter would be: the worker itself is not what is tested here."""
    script = tmp_path / "interpreter"
    script.write_text(
        '#!/bin/sh\necho "$3 a=$RUDDER_A b=$RUDDER_B"\n[ "$3" = fail ] && exit 4\nexec tail -f /dev/null\n'
    )
    script.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setenv("RUDDER_B", "from outside")
    return tmp_path / "out" / "worker.log"


async def test_failing_child_leaves_exit_code_and_output(in_place_of_python: Path) -> None:
    """What the demo shows when the worker dies; settings of the user's own environment are withheld."""
    in_place_of_python.parent.mkdir()
    async with Child("fail", settings={"RUDDER_A": "1"}, log_path=in_place_of_python) as child:
        assert await child.wait(timeout_seconds=10) == 4
        assert child.exit_code == 4
    assert child.last_words() == "fail a=1 b="


async def test_child_ends_with_its_context(in_place_of_python: Path) -> None:
    """By SIGTERM, which this one does not handle."""
    in_place_of_python.parent.mkdir()
    async with Child("run", settings={}, log_path=in_place_of_python) as child:
        assert child.exit_code is None
    assert child.exit_code == -15
