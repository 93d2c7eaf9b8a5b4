"""The line between a process and its child is cut by the end of either, and carries one word at most."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from worker.service import parent_death
from worker.service.parent_death import ParentDeathPipe, refuse, when_cut


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> Iterator[ParentDeathPipe]:
    """Both ends in this process; the child's as it has it when it was handed down."""
    with ParentDeathPipe() as line:
        childs = os.dup(line.child_end)
        line.handed_down()
        monkeypatch.setattr(parent_death, "_CHILD_END", childs)
        yield line
        os.close(childs)


async def test_child_is_notified_once_of_the_parents_death(line: ParentDeathPipe) -> None:
    heard: list[None] = []
    cut = asyncio.Event()

    def react() -> None:
        heard.append(None)
        cut.set()

    when_cut(react)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not cut.is_set()
    line.close()
    await cut.wait()
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(heard) == 1


def test_parent_reads_the_childs_refusal(line: ParentDeathPipe) -> None:
    refuse("no täbles")
    assert line.refusal() == "no täbles"


def test_silent_child_is_not_waited_for(line: ParentDeathPipe) -> None:
    assert line.refusal() == ""


def test_long_refusal_is_cut(line: ParentDeathPipe) -> None:
    refuse("ä" * 10_000_000)
    assert 1000 < len(line.refusal()) < 10_000


def test_unread_refusal_is_no_error(line: ParentDeathPipe) -> None:
    line.close()
    refuse("no tables")
