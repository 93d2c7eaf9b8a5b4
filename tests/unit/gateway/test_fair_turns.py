"""Groups take turns, and only a few requests are examined in one iteration of the event loop."""

import asyncio

import pytest

from worker.gateway.fair_turns import FairTurns


async def test_groups_take_turns_in_their_own_order() -> None:
    """One request behind a thousand of another group waits for one of them."""
    turns, order = FairTurns(1), list[str]()

    async def work(group: str, name: str) -> None:
        async with turns.turn(group):
            order.append(name)

    async with asyncio.TaskGroup() as group:
        for number in range(1_000):
            group.create_task(work("flood", f"flood {number}"))
        group.create_task(work("other", "other"))
    assert order.index("other") <= 2
    assert [name for name in order if name != "other"] == [f"flood {number}" for number in range(1_000)]


async def test_no_more_than_the_turns_are_at_once() -> None:
    turns, at_once, most = FairTurns(3), 0, 0

    async def work() -> None:
        nonlocal at_once, most
        async with turns.turn("a"):
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0)
            at_once -= 1

    await asyncio.gather(*(work() for _ in range(50)))
    assert (most, at_once, turns._free) == (3, 0, 3)


async def test_cancelled_or_failed_work_gives_its_turn_back() -> None:
    turns, waiting = FairTurns(1), asyncio.Event()

    async def work() -> None:
        async with turns.turn("a"):
            await waiting.wait()

    tasks = [asyncio.ensure_future(work()) for _ in range(5)]
    await asyncio.sleep(0)
    for number in (3, 0, 1):
        tasks[number].cancel()
        await asyncio.sleep(0)
    waiting.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    with pytest.raises(ValueError, match="failed"):
        async with turns.turn("a"):
            raise ValueError("failed")
    assert turns._free == 1
    assert not turns._waiting
