"""The demo: a small day, with the worker killed in the middle, is verified."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from worker.demo.broker import EmbeddedBroker
from worker.demo.demonstration import run_demo


async def test_demo_of_a_small_day_is_verified(embedded_broker: EmbeddedBroker, tmp_path: Path) -> None:
    """`embedded_broker` skips the test where the wheel is missing; the demo starts a broker of its own."""
    (tmp_path / "verify.txt").write_text("of an earlier demo")
    console = Console(file=io.StringIO(), width=120)
    assert await run_demo(seed=5, serve=False, output_path=tmp_path, releases=20, console=console) == 0
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    for expected in ("The worker was killed (SIGKILL).", "applied", "→ DEPLOYED", " 0 findings", "Verified:"):
        assert expected in text
    assert "earlier demo" not in text


async def test_demo_that_cannot_start_the_worker_fails(
    embedded_broker: EmbeddedBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of the worker's log is printed."""
    monkeypatch.setattr("sys.executable", "/bin/false")
    console = Console(file=io.StringIO(), width=120)
    assert await run_demo(seed=5, serve=False, output_path=tmp_path, releases=1, console=console) == 1
    assert isinstance(console.file, io.StringIO)
    assert "The demo failed: migrate ended with 1" in console.file.getvalue()
