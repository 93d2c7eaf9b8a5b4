"""The executor keeps the order of one key and runs different keys concurrently, up to the bound."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from worker.pipeline.executor import CHAIN_MAX, Executor

Job = Callable[[], Awaitable[None]]


async def run_each(jobs: Sequence[Job]) -> None:
    for job in jobs:
        await job()


class Work:
    """Jobs that record their beginning and end; the test decides when they end."""

    def __init__(self, executor: Executor[Job]) -> None:
        self.executor = executor
        self.begun: list[str] = []
        self.ended: list[str] = []
        self._monitors: dict[str, asyncio.Event] = {}

    def job(self, name: str) -> Callable[[], Awaitable[None]]:
        monitor = self._monitors[name] = asyncio.Event()

        async def run() -> None:
            async with self.executor.slot:
                self.begun.append(name)
                await monitor.wait()
                self.ended.append(name)

        return run

    def finish(self, *names: str) -> None:
        for name in names:
            self._monitors[name].set()


async def settle() -> None:
    """Let every task run until it waits for an event that only the test sets."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_one_key_runs_in_the_order_of_submission() -> None:
    """Invariant 3 begins here: the second job of a release does not begin before the first has ended."""
    async with asyncio.TaskGroup() as group:
        executor = Executor(group, run_each, concurrency=8)
        work = Work(executor)
        for name in ("a1", "a2", "a3"):
            executor.submit("a", work.job(name))
        await settle()
        assert work.begun == ["a1"]
        work.finish("a3", "a2")  # later jobs could end at once, and still wait for the first
        await settle()
        assert work.begun == ["a1"]
        work.finish("a1")
    assert work.ended == ["a1", "a2", "a3"]


async def test_different_keys_run_concurrently_up_to_the_bound() -> None:
    async with asyncio.TaskGroup() as group:
        executor = Executor(group, run_each, concurrency=2)
        work = Work(executor)
        for key in "abc":
            executor.submit(key, work.job(key))
        await settle()
        assert work.begun == ["a", "b"]
        work.finish("b")
        await settle()
        assert work.begun == ["a", "b", "c"]
        work.finish("a", "c")


async def test_waiting_job_without_a_slot_blocks_no_other() -> None:
    """A release whose event is being retried blocks only itself."""
    async with asyncio.TaskGroup() as group:
        executor = Executor(group, run_each, concurrency=1)
        work = Work(executor)
        retry = asyncio.Event()

        async def waits_for_its_next_try() -> None:
            await retry.wait()

        executor.submit("in trouble", waits_for_its_next_try)
        executor.submit("in trouble", work.job("behind"))
        executor.submit("other", work.job("other"))
        work.finish("other", "behind")
        await settle()
        assert work.ended == ["other"]
        retry.set()
    assert work.ended == ["other", "behind"]


async def test_key_can_return_after_its_queue_was_dropped() -> None:
    async with asyncio.TaskGroup() as group:
        executor = Executor(group, run_each, concurrency=1)
        work = Work(executor)
        for name in ("first", "second"):
            executor.submit("a", work.job(name))
            work.finish(name)
            await settle()
    assert work.ended == ["first", "second"]


async def test_job_that_raises_ends_the_group() -> None:
    """An exception that a job does not handle is raised by the task group of the caller."""

    async def broken() -> None:
        raise LookupError("a fault")

    with pytest.raises(ExceptionGroup) as raised:
        async with asyncio.TaskGroup() as group:
            Executor(group, run_each, concurrency=1).submit("a", broken)
    assert raised.group_contains(LookupError, match="a fault")


async def test_cancel_stops_every_key_and_ends_the_group() -> None:
    async with asyncio.TaskGroup() as group:
        executor = Executor(group, run_each, concurrency=1)
        work = Work(executor)
        for key in "ab":
            executor.submit(key, work.job(key))
        await settle()
        executor.cancel()
    assert work.ended == []


async def test_jobs_with_a_common_claim_run_in_the_order_of_submission() -> None:
    async with asyncio.TaskGroup() as group:
        executor = Executor(group, run_each, concurrency=8)
        work = Work(executor)
        executor.submit("a", work.job("a1"), claims=("x", "y"))
        executor.submit("b", work.job("b1"), claims=("y",))
        executor.submit("c", work.job("c1"), claims=("z",))
        executor.submit("b", work.job("b2"), claims=("x",))
        await settle()
        assert work.begun == ["a1", "c1"]
        work.finish("a1", "c1")
        await settle()
        assert work.begun == ["a1", "c1", "b1"]
        work.finish("b1", "b2")
    assert work.ended == ["a1", "c1", "b1", "b2"]
    assert executor._claims == {}


async def test_waiting_items_of_one_key_form_a_chain() -> None:
    """What waits for another key's item, or is alone, begins another chain."""
    chains: list[list[str]] = []
    first, other = asyncio.Event(), asyncio.Event()
    held = {"a1": first, "b": other}

    async def run(names: Sequence[str]) -> None:
        chains.append(list(names))
        if names[0] in held:
            await held[names[0]].wait()

    async with asyncio.TaskGroup() as group:
        executor = Executor(group, run, concurrency=8)
        executor.submit("a", "a1")
        await settle()
        for name in ("a2", "a3"):
            executor.submit("a", name)
        executor.submit("a", "a4", claims=("x",), identity="id")
        executor.submit("a", "a5", claims=("x",))
        executor.submit("a", "again", identity="id")
        executor.submit("other", "b", claims=("y",))
        executor.submit("a", "behind b", claims=("y",))
        executor.submit("a", "a6", alone=True)
        for number in range(CHAIN_MAX + 1):
            executor.submit("a", f"b{number}")
        await settle()
        assert chains == [["a1"], ["b"]]
        first.set()
        await settle()
        assert chains[2:] == [["a2", "a3", "a4", "a5"], ["again"]], "`behind b` waits for b"
        other.set()
    assert chains[4:6] == [["behind b"], ["a6"]]
    assert [len(chain) for chain in chains[6:]] == [CHAIN_MAX, 1]


class Second:
    """`worker.pipeline.executor.SecondStep`, which the test ends. `log`: what the executor called, of all chains."""

    def __init__(self, name: str, log: list[str], *, beside_next: bool = True) -> None:
        self.name, self.beside_next = name, beside_next
        self.end = asyncio.Event()
        self._log = log

    def wait(self) -> None:
        self._log.append(f"{self.name} waits")

    async def run(self, *, completed: bool) -> bool:
        self._log.append(f"{self.name} second{'' if completed else ', the one before is not completed'}")
        await self.end.wait()
        self._log.append(f"{self.name} ended")
        return self.name != "b"


async def test_first_step_runs_beside_the_second_step_before() -> None:
    """Second steps run in order, one at a time. What is alone, or cannot overlap, waits for all of them."""
    log: list[str] = []
    seconds = {name: Second(name, log, beside_next=name != "d") for name in "abcd"}

    async def run(items: Sequence[str]) -> Second | None:
        name = items[0][0]
        log.append(f"{name} first")
        return seconds[name] if len(items) > 1 else None

    async with asyncio.TaskGroup() as group:
        executor = Executor(group, run, concurrency=8)
        for name, identity in (("a1", 1), ("a2", 2), ("b1", 1), ("b2", 2), ("c1", 1), ("c2", 2), ("d1", 1), ("d2", 2)):
            executor.submit("key", name, identity=identity)
        executor.submit("key", "e1", identity=1, claims=("x",))
        await settle()
        assert log == ["a first", "b first", "b waits", "a second"], "c waits for the end of a"
        seconds["a"].end.set()
        await settle()
        assert log[4:] == ["a ended", "b second", "c first", "c waits"]
        seconds["b"].end.set()
        await settle()
        assert log[8:] == ["b ended", "c second, the one before is not completed", "d first", "d waits"]
        seconds["c"].end.set()
        await settle()
        assert log[12:] == ["c ended", "d second"]
        assert executor.is_running(["x"])
        seconds["d"].end.set()
    assert log[14:] == ["d ended", "e first"]
    assert not executor.is_running(["x"])
