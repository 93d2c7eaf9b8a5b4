"""While a dependency is unavailable all messages wait and one task probes it; an outage is logged once each way."""

import asyncio
from collections.abc import Iterator
from functools import partial
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
    """A clock with the loop's time, which the test sets."""

    def monotonic_seconds(self) -> float:
        return asyncio.get_running_loop().time()

    def chance(self) -> float:
        return 1.0


class Fixture:
    """A running monitor, a dependency whose behaviour the test sets, and messages that need it."""

    def __init__(self, *, interval_seconds: float | None = None) -> None:
        self.now_seconds = 1000.0
        self.loop = SteppedLoop(lambda: self.now_seconds)
        self.error: Exception | None = None
        self.fails_once = False
        self.hangs = False
        self.probed_at_seconds: list[float] = []
        self.probes = self.probes_max = 0
        self.metrics = Metrics()
        self.monitor = DependencyMonitor(
            "database",
            self._probe,
            backoff=BACKOFF,
            patience_seconds=30.0,
            interval_seconds=interval_seconds,
            clock=LoopClock(),
            metrics=self.metrics,
        )
        self.running = self.loop.create_task(self.monitor.run())
        self.loop.settle()

    async def _probe(self) -> None:
        self.probed_at_seconds.append(self.now_seconds)
        self.probes += 1
        self.probes_max = max(self.probes_max, self.probes)
        try:
            await asyncio.sleep(0)
            if self.hangs:
                await asyncio.Event().wait()
        finally:
            self.probes -= 1
        error = self.error
        if self.fails_once:
            self.error, self.fails_once = None, False
        if error is not None:
            raise error

    @property
    def waits_seconds(self) -> list[float]:
        """The time between each probe and the next."""
        return [round(later - earlier, 3) for earlier, later in pairwise(self.probed_at_seconds)]

    def message(self, *, fails: bool = True, ended: LinkedEvent | None = None) -> asyncio.Task[bool]:
        """A message that needs the dependency: it has failed, or has not begun yet."""

        async def wait() -> bool:
            if fails:
                self.monitor.suspect()
            return await self.monitor.wait_until_available(ended or LinkedEvent())

        task = self.loop.create_task(wait())
        self.loop.settle()
        return task

    def problem(self) -> str | None:
        return self.loop.run_until_complete(self.monitor.problem())

    def pass_time(self, seconds: float) -> None:
        """Advances the time from timer to timer."""
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
def fixture() -> Iterator[Fixture]:
    made = Fixture()
    yield made
    assert made.loop.end() == []


@pytest.fixture
def probed_each_second() -> Iterator[Fixture]:
    made = Fixture(interval_seconds=1.0)
    yield made
    assert made.loop.end() == []


def events(logs: list[Any]) -> list[str]:
    return [log["event"] for log in logs]


def test_available_dependency_is_not_probed(fixture: Fixture) -> None:
    assert fixture.message(fails=False).result() is False
    fixture.pass_time(3600.0)
    assert fixture.probed_at_seconds == []


def test_failure_of_one_message_is_no_outage(fixture: Fixture) -> None:
    """After a lock timeout, for example, the database responds to the probe, and only this message backs off."""
    with capture_logs() as logs:
        assert fixture.message().result() is False
    assert len(fixture.probed_at_seconds) == 1
    assert logs == []
    assert fixture.up == 1


def test_unexpected_error_of_a_probe_is_no_answer(fixture: Fixture) -> None:
    """An unexpected error, such as a library's, does not end the worker, and is logged once with its traceback."""
    fixture.error = RuntimeError("the handler is closed")
    with capture_logs() as logs:
        message = fixture.message()
        fixture.pass_time(60.0)
        assert not message.done()
        fixture.error = None
        fixture.pass_time(BACKOFF.max_seconds)
    assert message.result() is True
    assert events(logs) == [LogEvent.DEPENDENCY_UNAVAILABLE, LogEvent.DEPENDENCY_AVAILABLE]
    assert logs[0]["cause"] == "RuntimeError: the handler is closed"
    assert isinstance(logs[0]["exc_info"], RuntimeError)


def test_outage_is_probed_once_for_all_messages(fixture: Fixture) -> None:
    """A hundred failed and a hundred waiting messages share one probe, one line at the start and one at the end."""
    fixture.error = Unavailable("connection refused")
    with capture_logs() as logs:
        messages = [fixture.message(fails=n % 2 == 0) for n in range(200)]
        fixture.pass_time(3600.0)
        assert not any(message.done() for message in messages)
        assert events(logs) == [LogEvent.DEPENDENCY_UNAVAILABLE]
        assert logs[0]["cause"] == "connection refused"
        assert fixture.up == 0
        probed = len(fixture.probed_at_seconds)
        assert 3600 <= probed <= 3610, "once a second, however many wait"
        fixture.error = None
        fixture.pass_time(BACKOFF.max_seconds)
    assert all(message.result() for message in messages)
    assert events(logs) == [LogEvent.DEPENDENCY_UNAVAILABLE, LogEvent.DEPENDENCY_AVAILABLE]
    assert logs[1]["messages"] == 200
    assert logs[1]["lasted_seconds"] >= 3600
    assert (fixture.probes_max, fixture.up) == (1, 1)


@pytest.mark.parametrize("lease_lost", [False, True], ids=["available again", "lease lost"])
def test_messages_go_on_in_the_order_of_their_arrival(fixture: Fixture, *, lease_lost: bool) -> None:
    """The order of the releases must not depend on memory addresses."""
    fixture.error = Unavailable("connection refused")
    ended = LinkedEvent()
    gone: list[int] = []
    messages = [fixture.message(ended=ended) for _ in range(50)]
    for n, message in enumerate(messages):
        message.add_done_callback(partial(lambda n, _: gone.append(n), n))
    if lease_lost:
        ended.set()
    fixture.error = None
    fixture.pass_time(BACKOFF.max_seconds)
    assert gone == list(range(50))
    assert all(isinstance(message.exception(), LeaseLost) == lease_lost for message in messages)


def test_outage_is_probed_with_growing_waits(fixture: Fixture) -> None:
    fixture.error = Unavailable("down")
    fixture.message()
    fixture.pass_time(5.0)
    assert fixture.waits_seconds[:7] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0]


@pytest.mark.parametrize("error", [ConfigurationError("password changed"), MemoryError(), Unavailable("down")])
def test_each_error_of_a_probe_is_an_outage(fixture: Fixture, error: Exception) -> None:
    fixture.error = error
    message = fixture.message()
    fixture.pass_time(10.0)
    assert fixture.monitor.in_outage
    fixture.error = None
    fixture.pass_time(1.0)
    assert message.result() is True


def test_dependency_that_hangs_is_probed_with_less_patience(fixture: Fixture) -> None:
    """A host that drops packets must not cost the driver's timeout each time; a slow database is detected too."""
    fixture.hangs = True
    fixture.message()
    fixture.pass_time(29.0)
    assert not fixture.monitor.in_outage, "the first probe is patient: to be slow is no outage"
    fixture.pass_time(60.0)
    assert fixture.monitor.in_outage
    waits_seconds = fixture.waits_seconds
    assert waits_seconds[0] >= 30
    assert max(waits_seconds[1:4]) <= 3.0
    assert max(waits_seconds[4:]) >= 30


def test_message_whose_lease_is_lost_stops_waiting(fixture: Fixture) -> None:
    """Its partition may be revoked at any time; the other messages keep waiting."""
    fixture.error = Unavailable("down")
    ended = LinkedEvent()
    first, second, third = fixture.message(ended=ended), fixture.message(), fixture.message(fails=False, ended=ended)
    fixture.pass_time(10.0)
    ended.set()
    fixture.loop.settle()
    for gone in (first, third):
        assert isinstance(gone.exception(), LeaseLost)
    fixture.error = None
    with capture_logs() as logs:
        fixture.pass_time(1.0)
    assert second.result() is True
    assert logs[0]["messages"] == 1


def test_message_that_is_cancelled_takes_no_other_with_it(fixture: Fixture) -> None:
    fixture.hangs = True
    first, second = fixture.message(), fixture.message()
    first.cancel()
    fixture.loop.settle()
    assert first.cancelled()
    assert not second.done()
    fixture.hangs = False
    fixture.pass_time(60.0)
    assert second.result() is True


def test_outage_ends_also_where_no_message_waits(fixture: Fixture) -> None:
    """All partitions were revoked: the monitor detects and logs the end of the outage all the same."""
    fixture.error = Unavailable("down")
    ended = LinkedEvent()
    fixture.message(ended=ended)
    fixture.pass_time(5.0)
    ended.set()
    fixture.pass_time(5.0)
    assert fixture.monitor.in_outage
    fixture.error = None
    with capture_logs() as logs:
        fixture.pass_time(1.0)
    assert fixture.monitor.available
    assert events(logs) == [LogEvent.DEPENDENCY_AVAILABLE]
    assert logs[0]["messages"] == 0


def test_problem_is_the_last_cause_in_an_outage(fixture: Fixture) -> None:
    """The problem is that of the last probe; reading it starts no probe."""
    fixture.error = Unavailable("down")
    fixture.message()
    fixture.pass_time(10.0)
    probed = len(fixture.probed_at_seconds)
    assert [fixture.problem() for _ in range(50)] == ["down"] * 50
    assert len(fixture.probed_at_seconds) == probed


def test_problem_alone_is_no_outage(fixture: Fixture) -> None:
    """/readyz reports it, but no message needs the dependency."""
    fixture.error = Unavailable("down")
    with capture_logs() as logs:
        assert fixture.problem() == "down"
        fixture.pass_time(10.0)
    assert logs == []
    assert fixture.monitor.available


def test_problem_is_probed_at_most_once_a_second(fixture: Fixture) -> None:
    async def many() -> list[str | None]:
        return await asyncio.gather(*(fixture.monitor.problem() for _ in range(50)))

    for _ in range(2):
        assert set(fixture.loop.run_until_complete(many())) == {None}
    assert len(fixture.probed_at_seconds) == 1
    fixture.now_seconds += 1.0
    assert set(fixture.loop.run_until_complete(many())) == {None}
    assert len(fixture.probed_at_seconds) == 2
    assert fixture.probes_max == 1


def test_problem_of_before_the_connection_is_not_kept(fixture: Fixture) -> None:
    fixture.error = Unavailable("not connected yet")
    assert fixture.problem() == "not connected yet"
    fixture.error = None
    assert fixture.problem() == "not connected yet"
    fixture.monitor.connected()
    assert fixture.problem() is None


def test_problem_that_is_cancelled_leaves_the_next_one_to_probe(fixture: Fixture) -> None:
    fixture.hangs = True
    first, second = (fixture.loop.create_task(fixture.monitor.problem()) for _ in range(2))
    fixture.loop.settle()
    fixture.hangs = False
    first.cancel()
    fixture.loop.settle()
    assert first.cancelled()
    assert second.result() is None
    assert (len(fixture.probed_at_seconds), fixture.probes_max) == (2, 1)


def test_answered_probe_for_problem_ends_a_suspicion(fixture: Fixture) -> None:
    fixture.hangs = True
    asking = fixture.loop.create_task(fixture.monitor.problem())
    message = fixture.message()
    assert len(fixture.probed_at_seconds) == 1, "one probe at a time"
    asking.cancel()
    fixture.hangs = False
    fixture.loop.settle()
    assert message.result() is False


def test_message_loses_its_lease_in_the_moment_of_recovery(fixture: Fixture) -> None:
    """Found by the property tests: a publication began after the end of a drain."""
    fixture.error = Unavailable("down")
    ended = LinkedEvent()
    first, second = fixture.message(), fixture.message(ended=ended)
    fixture.pass_time(5.0)
    fixture.error = None
    fixture.now_seconds += 1.0
    while not fixture.monitor.available:
        fixture.loop.run_until_complete(asyncio.sleep(0))
    ended.set()
    fixture.loop.settle()
    assert first.result() is True
    assert isinstance(second.exception(), LeaseLost)


def test_refused_login_is_repeated_rarely(fixture: Fixture) -> None:
    """Some databases lock an account for failed logins: neither a message nor /readyz may cause many."""
    fixture.error = LoginRefused("login failed")
    message = fixture.message()
    fixture.pass_time(65.0)
    assert fixture.waits_seconds == [30.0, 30.0]
    assert fixture.problem() == "login failed"
    fixture.error = None
    fixture.pass_time(30.0)
    assert message.result() is True
    assert fixture.problem() is None


def test_idle_worker_notices_an_outage_and_its_end(probed_each_second: Fixture) -> None:
    """An idle worker has no failing request, so only the probe detects that the broker is unavailable."""
    fixture = probed_each_second
    fixture.pass_time(10.0)
    assert fixture.waits_seconds == [1.0] * 9
    fixture.error = Unavailable("nobody listens")
    with capture_logs() as logs:
        fixture.pass_time(10.0)
        assert fixture.monitor.in_outage
        fixture.error = None
        fixture.pass_time(2.0)
    assert fixture.monitor.available
    assert events(logs) == [LogEvent.DEPENDENCY_UNAVAILABLE, LogEvent.DEPENDENCY_AVAILABLE]
    assert logs[1]["messages"] == 0


def test_idle_probe_that_fails_once_is_no_outage(probed_each_second: Fixture) -> None:
    fixture = probed_each_second
    fixture.error, fixture.fails_once = Unavailable("nobody listens"), True
    with capture_logs() as logs:
        fixture.pass_time(1.0)
        assert len(fixture.probed_at_seconds) == 2, "it was suspected, and probed again at once"
        fixture.pass_time(5.0)
    assert logs == []
    assert fixture.monitor.available


def test_monitor_ends_while_a_probe_hangs(fixture: Fixture) -> None:
    fixture.hangs = True
    fixture.message()
    fixture.running.cancel()
    fixture.loop.settle()
    assert fixture.running.cancelled()
