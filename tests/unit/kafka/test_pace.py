"""What is published is sent at once while there is little of it, and together while there is much."""

import asyncio
from collections.abc import Iterator

import pytest

from worker.kafka.pace import Pace

LONGEST_SECONDS = 0.02


class Loop:
    """An event loop whose time passes when the test says so."""

    def __init__(self) -> None:
        self.asyncio = asyncio.SelectorEventLoop()
        self.now_seconds = 1_000.0
        self.asyncio.time = lambda: self.now_seconds  # type: ignore[method-assign]

    def turns(self, number: int = 5) -> None:
        async def turn() -> None:
            for _ in range(number):
                await asyncio.sleep(0)

        self.asyncio.run_until_complete(turn())

    def pass_seconds(self, seconds: float) -> None:
        self.now_seconds += seconds
        self.turns()


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.asyncio.close()


def sent(loop: Loop, pace: Pace, messages: int, records: int = 1) -> list[asyncio.Task[None]]:
    tasks = [loop.asyncio.create_task(pace.turn(records)) for _ in range(messages)]
    loop.turns()
    return tasks


def test_first_message_does_not_wait(loop: Loop) -> None:
    [first] = sent(loop, Pace(longest_seconds=LONGEST_SECONDS), 1)
    assert first.done()


def test_occasional_message_does_not_wait(loop: Loop) -> None:
    """A quiet worker answers as soon as it can: ten a second are no reason to gather."""
    pace = Pace(longest_seconds=LONGEST_SECONDS)
    for _ in range(20):
        [task] = sent(loop, pace, 1)
        assert task.done()
        loop.pass_seconds(0.1)


def test_frequent_messages_wait_and_are_sent_together(loop: Loop) -> None:
    """For no longer than they may."""
    pace = Pace(longest_seconds=LONGEST_SECONDS)
    sent(loop, pace, 1)
    waiting: list[asyncio.Task[None]] = []
    for _ in range(10):  # 10,000 records a second
        loop.pass_seconds(0.001)
        waiting += sent(loop, pace, 5, records=2)
    loop.pass_seconds(LONGEST_SECONDS)
    assert all(task.done() for task in waiting)
    waiting = sent(loop, pace, 50)
    assert not any(task.done() for task in waiting)
    loop.pass_seconds(LONGEST_SECONDS / 2)
    waiting += sent(loop, pace, 50)
    assert not any(task.done() for task in waiting)
    loop.pass_seconds(LONGEST_SECONDS / 2)
    assert all(task.done() for task in waiting)


def test_wait_adapts_to_the_traffic(loop: Loop) -> None:
    """After a burst a single message is on its way at once again."""
    pace = Pace(longest_seconds=LONGEST_SECONDS)
    sent(loop, pace, 1)
    loop.pass_seconds(0.001)
    sent(loop, pace, 500)
    loop.pass_seconds(LONGEST_SECONDS)
    sent(loop, pace, 1)
    loop.pass_seconds(1.0)
    [task] = sent(loop, pace, 1)
    assert task.done()
    loop.pass_seconds(0.1)
    [task] = sent(loop, pace, 1)
    assert task.done()


def test_wait_can_be_switched_off(loop: Loop) -> None:
    pace = Pace(longest_seconds=0.0)
    for _ in range(3):
        assert all(task.done() for task in sent(loop, pace, 100))


def test_cancelled_wait_cancels_no_other(loop: Loop) -> None:
    pace = Pace(longest_seconds=LONGEST_SECONDS)
    for _ in range(3):
        sent(loop, pace, 100)
        loop.pass_seconds(0.001)
    one, other = sent(loop, pace, 2)
    assert not one.done()
    one.cancel()
    loop.pass_seconds(LONGEST_SECONDS)
    assert one.cancelled()
    assert other.done()
    assert not other.cancelled()
