"""The parent-death pipe reports the parent's end to the child, and at most one line to the parent."""

import asyncio
import socket
from collections.abc import Iterator

import pytest

from worker.service import parent_death
from worker.service.parent_death import on_parent_death, refusal, refuse


@pytest.fixture
def parent_end(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Both ends in this process; the child's is not its standard input."""
    parent_end, child_end = socket.socketpair()
    with parent_end, child_end:
        monkeypatch.setattr(parent_death, "_CHILD_END", child_end.fileno())
        yield parent_end


async def test_child_is_notified_once_of_the_parents_death(parent_end: socket.socket) -> None:
    logged: list[None] = []
    gone = asyncio.Event()

    def react() -> None:
        logged.append(None)
        gone.set()

    on_parent_death(react)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not gone.is_set()
    parent_end.close()
    await gone.wait()
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(logged) == 1


def test_parent_reads_the_childs_refusal(parent_end: socket.socket) -> None:
    refuse("no täbles")
    assert refusal(parent_end) == "no täbles"


def test_silent_child_is_not_waited_for(parent_end: socket.socket) -> None:
    assert refusal(parent_end) == ""


def test_long_refusal_is_cut(parent_end: socket.socket) -> None:
    refuse("ä" * 10_000_000)
    assert 1000 < len(refusal(parent_end)) < 10_000


def test_unread_refusal_is_no_error(parent_end: socket.socket) -> None:
    parent_end.close()
    refuse("no tables")
