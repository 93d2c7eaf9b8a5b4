"""The start waits for a dependency that may become available, with few log lines, and for no other."""

import asyncio
import math
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from tests.unit.pipeline.scripted import SimulatedClock
from worker.pipeline.backoff import Backoff
from worker.rules.errors import ConfigurationError, LeaseLost, LoginRefused, Unavailable
from worker.service.startup import await_dependency
from worker.telemetry import LogEvent

BACKOFF = Backoff(initial_seconds=0.2, max_seconds=5.0)
SAFETY_SECONDS = 5.0
"""The timeout after which a waiting test fails."""


class Database:
    """Refuses the first `refusals` attempts with `error`."""

    def __init__(self, *, refusals: float, error: Exception | None = None) -> None:
        self.refusals = refusals
        self.attempts = 0
        self._error = error or Unavailable("connection refused")

    async def attempt(self) -> None:
        self.attempts += 1
        if self.attempts <= self.refusals:
            raise self._error


async def wait_for(
    database: Database, clock: SimulatedClock, *, timeout_seconds: float = 60.0, stop: asyncio.Event | None = None
) -> None:
    await await_dependency(
        "database",
        database.attempt,
        stop=stop or asyncio.Event(),
        timeout_seconds=timeout_seconds,
        backoff=BACKOFF,
        clock=clock,
    )


async def test_available_dependency_is_not_waited_for() -> None:
    clock, database = SimulatedClock(), Database(refusals=0)
    with capture_logs() as logs:
        await wait_for(database, clock)
    assert (database.attempts, clock.waits_seconds) == (1, [])
    assert [(log["event"], log["dependency"]) for log in logs] == [(LogEvent.DEPENDENCY_AVAILABLE, "database")]


async def test_connecting_is_retried_with_growing_delays_and_logged_once() -> None:
    """Ten refusals are one warning, with the first cause."""
    clock, database = SimulatedClock(), Database(refusals=10)
    with capture_logs() as logs:
        await wait_for(database, clock)
    assert database.attempts == 11
    assert clock.waits_seconds == [BACKOFF.delay_seconds(failures=n, chance=0.5) for n in range(1, 11)]
    assert all(earlier <= later for earlier, later in pairwise(clock.waits_seconds))
    assert [(log["event"], log["log_level"]) for log in logs] == [
        (LogEvent.DEPENDENCY_UNAVAILABLE, "warning"),
        (LogEvent.DEPENDENCY_AVAILABLE, "warning"),
    ]
    assert logs[0]["cause"] == "connection refused"


async def test_start_ends_after_the_timeout_with_one_line() -> None:
    """The line names the dependency, the time of the wait, and the cause."""
    clock, database = SimulatedClock(), Database(refusals=math.inf)
    with pytest.raises(ConfigurationError) as raised:
        await wait_for(database, clock, timeout_seconds=60.0)
    assert str(raised.value) == "database: not available after 60 s: connection refused"
    assert sum(clock.waits_seconds) == pytest.approx(60.0), "neither sooner nor later, and with a last try at the end"


async def test_timeout_of_zero_is_one_attempt() -> None:
    clock, database = SimulatedClock(), Database(refusals=math.inf)
    with pytest.raises(ConfigurationError, match="after 0 s"):
        await wait_for(database, clock, timeout_seconds=0.0)
    assert (database.attempts, clock.waits_seconds) == (1, [])


async def test_infinite_timeout_waits_for_ever() -> None:
    """A worker that starts before its database does must not need a restart."""
    clock, database = SimulatedClock(), Database(refusals=2_000)
    await wait_for(database, clock, timeout_seconds=math.inf)
    assert database.attempts == 2_001


async def test_configuration_error_is_not_retried() -> None:
    clock, database = SimulatedClock(), Database(refusals=math.inf, error=ConfigurationError("wrong password"))
    with pytest.raises(ConfigurationError, match=r"^wrong password$"):
        await wait_for(database, clock)
    assert (database.attempts, clock.waits_seconds) == (1, [])


async def test_refused_login_is_retried_after_seconds() -> None:
    """A database refuses logins for a moment during a failover."""
    clock, database = SimulatedClock(), Database(refusals=2, error=LoginRefused("login failed"))
    with capture_logs() as logs:
        await wait_for(database, clock)
    assert (database.attempts, clock.waits_seconds) == (3, [5.0, 5.0])
    assert [log["event"] for log in logs] == [LogEvent.DEPENDENCY_UNAVAILABLE, LogEvent.DEPENDENCY_AVAILABLE]


@pytest.mark.parametrize(("timeout_seconds", "attempts"), [(math.inf, 3), (60.0, 3), (5.0, 2), (0.0, 1)])
async def test_repeated_refused_login_ends_the_start(timeout_seconds: float, attempts: int) -> None:
    """The start ends after few attempts, whatever the timeout: some databases lock an account after failed logins."""
    clock, database = SimulatedClock(), Database(refusals=math.inf, error=LoginRefused("login failed"))
    with pytest.raises(ConfigurationError, match=rf"^the database refused the login {attempts} times: login failed$"):
        await wait_for(database, clock, timeout_seconds=timeout_seconds)
    assert database.attempts == attempts


async def test_unexpected_error_is_not_retried() -> None:
    database = Database(refusals=math.inf, error=LookupError("a fault"))
    with pytest.raises(LookupError):
        await wait_for(database, SimulatedClock())
    assert database.attempts == 1


async def test_stop_ends_the_wait_without_another_attempt() -> None:
    stop = asyncio.Event()
    database = Database(refusals=math.inf)
    clock = SimulatedClock()

    async def stopped_meanwhile(event: asyncio.Event, *, timeout_seconds: float) -> bool:
        stop.set()
        return event.is_set()

    clock.wait = stopped_meanwhile  # type: ignore[method-assign]  # what happens while it waits is the point
    with pytest.raises(LeaseLost):
        await wait_for(database, clock, stop=stop)
    assert database.attempts == 1


async def test_stop_ends_a_hanging_attempt() -> None:
    """A host that drops packets does not respond for as long as the driver waits."""
    stop, trying = asyncio.Event(), asyncio.Event()

    async def attempt() -> None:
        trying.set()
        await asyncio.Event().wait()

    waiting = asyncio.ensure_future(
        await_dependency("database", attempt, stop=stop, timeout_seconds=60.0, backoff=BACKOFF, clock=SimulatedClock())
    )
    try:
        await trying.wait()
        stop.set()
        done, _ = await asyncio.wait({waiting}, timeout=SAFETY_SECONDS)
        assert done, "it still waits for the try, although it was asked to stop"
        with pytest.raises(LeaseLost):
            await waiting
    finally:
        waiting.cancel()
