"""While a dependency is away all wait and one asks; that it is away, and that it is back, is said once."""

import asyncio
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.properties.stepped import SteppedLoop
from worker.pipeline.backoff import Backoff
from worker.pipeline.dependency_monitor import DependencyMonitor
from worker.pipeline.linked_event import LinkedEvent
from worker.rules.errors import ConfigurationError, LeaseLost, LoginRefused, Unavailable
from worker.service.clock import SystemClock
from worker.telemetry import LogEvent, Metrics

BACKOFF = Backoff(initial_seconds=0.1, max_seconds=1.0)


class LoopClock(SystemClock):
    """The loop's time is the test's."""

    def monotonic_seconds(self) -> float:
        return asyncio.get_running_loop().time()

    def chance(self) -> float:
        return 1.0


class Scene:
    """A gate, a dependency that does as it is told, and messages before it."""

    def __init__(self) -> None:
        self.now_seconds = 1000.0
        self.loop = SteppedLoop(lambda: self.now_seconds)
        self.error: Exception | None = None
        self.hangs = False
        self.asked_at_seconds: list[float] = []
        self.asking = self.asking_max = 0
        self.metrics = Metrics()
        self.monitor = DependencyMonitor(
            "database", self._ask, backoff=BACKOFF, patience_seconds=30.0, clock=LoopClock(), metrics=self.metrics
        )

    async def _ask(self) -> None:
        self.asked_at_seconds.append(self.now_seconds)
        self.asking += 1
        self.asking_max = max(self.asking_max, self.asking)
        try:
            await asyncio.sleep(0)
            if self.hangs:
                await asyncio.Event().wait()
        finally:
            self.asking -= 1
        if self.error is not None:
            raise self.error

    def message(self, *, fails: bool = True, ended: LinkedEvent | None = None) -> asyncio.Task[bool]:
        """One that comes to the gate: because it failed, or because it is to be begun."""

        async def come() -> bool:
            if fails:
                self.monitor.suspect()
            return await self.monitor.wait_until_available(ended or LinkedEvent())

        task = self.loop.create_task(come())
        self.loop.settle()
        return task

    def problem(self) -> str | None:
        return self.loop.run_until_complete(self.monitor.problem())

    def pass_time(self, seconds: float) -> None:
        """From timer to timer."""
        until_seconds = self.now_seconds + seconds
        self.loop.settle()
        while (due_seconds := self.loop.timer_due_seconds) is not None and due_seconds <= until_seconds:
            self.now_seconds = max(due_seconds, self.now_seconds)
            self.loop.settle()
        self.now_seconds = until_seconds
        self.loop.settle()

    @property
    def up(self) -> float | None:
        return self.metrics.registry.get_sample_value("rudder_dependency_up", {"dependency": "database"})


@pytest.fixture
def scene() -> Iterator[Scene]:
    made = Scene()
    yield made
    assert made.loop.end() == []


def told(logs: list[Any]) -> list[str]:
    return [log["event"] for log in logs]


def test_available_dependency_costs_no_wait(scene: Scene) -> None:
    assert scene.message(fails=False).result() is False
    assert scene.asked_at_seconds == []


def test_failure_of_one_message_is_not_an_outage(scene: Scene) -> None:
    """A lock that was not had in time, say: the database answers, nothing is said, and the message backs off alone."""
    with capture_logs() as logs:
        assert scene.message().result() is False
    assert len(scene.asked_at_seconds) == 1
    assert logs == []
    assert scene.up == 1


def test_unexpected_probe_error_means_unavailable(scene: Scene) -> None:
    """A library's, say: it would end the worker. It is told with its traceback, once."""
    scene.error = RuntimeError("the handler is closed")
    with capture_logs() as logs:
        message = scene.message()
        scene.pass_time(60.0)
        assert not message.done()
        scene.error = None
        scene.pass_time(BACKOFF.max_seconds)
    assert message.result() is True
    assert told(logs) == [LogEvent.DEPENDENCY_UNAVAILABLE, LogEvent.DEPENDENCY_AVAILABLE]
    assert logs[0]["cause"] == "RuntimeError: the handler is closed"
    assert isinstance(logs[0]["exc_info"], RuntimeError)


def test_one_probe_runs_in_an_outage_and_all_resume_at_once(scene: Scene) -> None:
    """A hundred that failed and a hundred that were not begun: one question at a time, one line each way."""
    scene.error = Unavailable("connection refused")
    with capture_logs() as logs:
        messages = [scene.message(fails=n % 2 == 0) for n in range(200)]
        scene.pass_time(3600.0)
        assert not any(message.done() for message in messages)
        assert told(logs) == [LogEvent.DEPENDENCY_UNAVAILABLE]
        assert logs[0]["cause"] == "connection refused"
        assert scene.up == 0
        asked = len(scene.asked_at_seconds)
        assert 3600 <= asked <= 3610, "once a second, however many wait"
        scene.error = None
        scene.pass_time(BACKOFF.max_seconds)
    assert all(message.result() for message in messages)
    assert told(logs) == [LogEvent.DEPENDENCY_UNAVAILABLE, LogEvent.DEPENDENCY_AVAILABLE]
    assert logs[1]["messages"] == 200
    assert logs[1]["lasted_seconds"] >= 3600
    assert (scene.asking_max, scene.up) == (1, 1)


@pytest.mark.parametrize("given_up", [False, True], ids=["open again", "given up"])
def test_waiting_messages_resume_in_their_order(scene: Scene, *, given_up: bool) -> None:
    """Which release goes on first must not depend on where the process keeps what in memory."""
    scene.error = Unavailable("connection refused")
    ended = LinkedEvent()
    gone: list[int] = []
    messages = [scene.message(ended=ended) for _ in range(50)]
    for n, message in enumerate(messages):
        message.add_done_callback(lambda _, n=n: gone.append(n))
    if given_up:
        ended.set()
    scene.error = None
    scene.pass_time(BACKOFF.max_seconds)
    first, *others = range(50)  # the first asks, and so may leave after those whom it wakes
    assert [n for n in gone if n != first] == others
    assert all(isinstance(message.exception(), LeaseLost) == given_up for message in messages)


def test_probe_interval_grows(scene: Scene) -> None:
    scene.error = Unavailable("down")
    scene.message()
    scene.pass_time(5.0)
    asked = scene.asked_at_seconds
    waits_seconds = [round(later - earlier, 3) for earlier, later in pairwise(asked)]
    assert waits_seconds[:6] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


@pytest.mark.parametrize("error", [ConfigurationError("password changed"), MemoryError(), Unavailable("down")])
def test_every_probe_failure_is_an_outage(scene: Scene, error: Exception) -> None:
    scene.error = error
    message = scene.message()
    scene.pass_time(10.0)
    assert scene.monitor.in_outage
    scene.error = None
    scene.pass_time(1.0)
    assert message.result() is True


def test_hanging_probe_alternates_short_and_long_timeouts(scene: Scene) -> None:
    """A host that swallows packets must not cost a driver's time-out each time; one that is slow must be found too."""
    scene.hangs = True
    scene.message()
    scene.pass_time(29.0)
    assert not scene.monitor.in_outage, "the first is asked with patience: to be slow is not to be away"
    scene.pass_time(60.0)
    assert scene.monitor.in_outage
    asked = scene.asked_at_seconds
    waits_seconds = [later - earlier for earlier, later in pairwise(asked)]
    assert waits_seconds[0] >= 30
    assert max(waits_seconds[1:4]) <= 3.0
    assert max(waits_seconds[4:]) >= 30


def test_cancelled_waiter_passes_the_probe_on(scene: Scene) -> None:
    """The one that asks is one of those that wait; its partition may go at any time."""
    scene.error = Unavailable("down")
    ended = LinkedEvent()
    first, second, third = scene.message(ended=ended), scene.message(), scene.message(fails=False, ended=ended)
    scene.pass_time(10.0)
    ended.set()
    scene.loop.settle()
    for gone in (first, third):
        assert isinstance(gone.exception(), LeaseLost)
    asked = len(scene.asked_at_seconds)
    scene.pass_time(10.0)
    assert len(scene.asked_at_seconds) >= asked + 10
    scene.error = None
    scene.pass_time(1.0)
    assert second.result() is True


def test_cancelled_prober_passes_the_probe_on(scene: Scene) -> None:
    scene.hangs = True
    first, second = scene.message(), scene.message()
    scene.hangs = False
    first.cancel()
    scene.loop.settle()
    assert first.cancelled()
    assert second.result() is False
    assert len(scene.asked_at_seconds) == 2


def test_outage_without_waiters_ends_with_the_next_message(scene: Scene) -> None:
    """All partitions were taken away: nobody waits, and nobody asks. Then there are some again."""
    scene.error = Unavailable("down")
    ended = LinkedEvent()
    scene.message(ended=ended)
    scene.pass_time(5.0)
    ended.set()
    asked = len(scene.asked_at_seconds)
    scene.pass_time(100.0)
    assert len(scene.asked_at_seconds) == asked
    assert scene.monitor.in_outage
    scene.error = None
    with capture_logs() as logs:
        message = scene.message(fails=False)
        scene.pass_time(1.0)
    assert message.result() is True
    assert told(logs) == [LogEvent.DEPENDENCY_AVAILABLE]


def test_health_check_does_not_probe_during_an_outage(scene: Scene) -> None:
    """Somebody asks already, and the answer is as old as the last question."""
    scene.error = Unavailable("down")
    scene.message()
    scene.pass_time(10.0)
    asked = len(scene.asked_at_seconds)
    assert [scene.problem() for _ in range(50)] == ["down"] * 50
    assert len(scene.asked_at_seconds) == asked


def test_failed_health_check_begins_no_outage(scene: Scene) -> None:
    scene.error = Unavailable("down")
    with capture_logs() as logs:
        assert scene.problem() == "down"
    assert logs == []
    assert not scene.monitor.blocked


def test_health_check_ends_an_outage_without_waiters(scene: Scene) -> None:
    scene.error = Unavailable("down")
    ended = LinkedEvent()
    scene.message(ended=ended)
    scene.pass_time(5.0)
    ended.set()
    scene.pass_time(5.0)
    scene.error = None
    assert scene.problem() is None
    assert not scene.monitor.blocked


def test_revoked_message_does_not_resume(scene: Scene) -> None:
    """Found by the plans of the property tests: a drain had ended, and a publication began after it."""
    scene.error = Unavailable("down")
    ended = LinkedEvent()
    first, second = scene.message(), scene.message(ended=ended)
    scene.pass_time(5.0)
    scene.error = None
    scene.now_seconds += 1.0
    while scene.monitor.blocked:
        scene.loop.run_until_complete(asyncio.sleep(0))
    ended.set()
    scene.loop.settle()
    assert first.result() is True
    assert isinstance(second.exception(), LeaseLost)


def test_refused_login_is_retried_rarely(scene: Scene) -> None:
    """Some databases lock an account for failed logins: neither a message nor /readyz may cause many."""
    scene.error = LoginRefused("login failed")
    message = scene.message()
    scene.pass_time(65.0)
    assert [later - earlier for earlier, later in pairwise(scene.asked_at_seconds)] == [30.0, 30.0]
    assert scene.problem() == "login failed"
    scene.error = None
    scene.pass_time(30.0)
    assert message.result() is True
    assert scene.problem() is None
