"""Every failed service ends the worker, no service outlives it, and the first error is the one that is raised."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from worker.service.supervisor import Service, ServiceEnded, Stop, supervise
from worker.telemetry import LogEvent

GRACE_SECONDS = 30.0
"""Never reached: services that stop do so at once."""


class FatalClientError(Exception):
    """The error of a failing service in these tests."""


class Orderly:
    """Serves until the stop, then needs some time to finish."""

    def __init__(self) -> None:
        self.serving = asyncio.Event()
        self.finished = False

    async def run(self, stop: asyncio.Event) -> None:
        self.serving.set()
        await stop.wait()
        for _ in range(5):
            await asyncio.sleep(0)
        self.finished = True


class Failing:
    """Fails once the other service serves; without another service, after the stop."""

    def __init__(self, error: BaseException, *, after: Orderly | None = None) -> None:
        self._error = error
        self._after = after

    async def run(self, stop: asyncio.Event) -> None:
        await (self._after.serving if self._after else stop).wait()
        raise self._error


class Returning:
    """Returns before the stop."""

    async def run(self, stop: asyncio.Event) -> None:
        return


class Hanging:
    """Ignores the stop, and cleans up when it is cancelled."""

    def __init__(self) -> None:
        self.serving = asyncio.Event()
        self.cancelled = self.cleaned_up = False

    async def run(self, stop: asyncio.Event) -> None:
        self.serving.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            self.cleaned_up = True


@pytest.fixture(autouse=True)
async def _no_service_is_left(nothing_is_left_running: None) -> AsyncIterator[None]:
    """Stricter than the session's own check: no service is left when `supervise` returns."""
    yield
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_stop_ends_every_service_in_order() -> None:
    services = {"a": Orderly(), "b": Orderly()}
    stop = Stop()
    supervising = asyncio.ensure_future(supervise(services, stop, grace_seconds=GRACE_SECONDS))
    for service in services.values():
        await service.serving.wait()
    assert not supervising.done()
    stop.set()
    await supervising
    assert all(service.finished for service in services.values())


async def test_stop_before_the_start_ends_at_once() -> None:
    stop = Stop()
    stop.set()
    service = Orderly()
    await supervise({"a": service}, stop, grace_seconds=GRACE_SECONDS)
    assert service.finished


@pytest.mark.parametrize("failing_first", [True, False])
async def test_failed_service_ends_the_others_and_is_raised(failing_first: bool) -> None:
    """The other services finish their work first."""
    orderly = Orderly()
    failing = Failing(FatalClientError("a fault"), after=orderly)
    services: dict[str, Service] = {"f": failing, "o": orderly} if failing_first else {"o": orderly, "f": failing}
    stop = Stop()
    with pytest.raises(FatalClientError, match="a fault"):
        await supervise(services, stop, grace_seconds=GRACE_SECONDS)
    assert stop.is_set()
    assert orderly.finished


async def test_service_that_returns_early_is_a_failure() -> None:
    """A service that returns before the stop ends the worker with an error."""
    orderly = Orderly()
    with pytest.raises(ServiceEnded, match="http ended unexpectedly"):
        await supervise({"worker": orderly, "http": Returning()}, Stop(), grace_seconds=GRACE_SECONDS)
    assert orderly.finished


async def test_first_failure_is_raised_and_not_its_consequences() -> None:
    """Holds for services in any order: the raised error is the port in use, not the consequence in another service."""
    orderly = Orderly()
    services: dict[str, Service] = {
        "worker": Failing(FatalClientError("consequence")),
        "other": orderly,
        "http": Failing(FatalClientError("cause"), after=orderly),
    }
    with pytest.raises(FatalClientError, match="cause"):
        await supervise(services, Stop(), grace_seconds=GRACE_SECONDS)


async def test_failure_while_stopping_is_raised() -> None:
    """A failed last commit makes the worker fail."""
    stop = Stop()
    stop.set()
    with pytest.raises(FatalClientError):
        await supervise({"a": Orderly(), "b": Failing(FatalClientError())}, stop, grace_seconds=GRACE_SECONDS)


async def test_hanging_service_is_cancelled_after_the_grace_period() -> None:
    """The service cleans up before `supervise` returns."""
    hanging, orderly, stop = Hanging(), Orderly(), Stop()
    with capture_logs() as logs:
        supervising = asyncio.ensure_future(supervise({"h": hanging, "o": orderly}, stop, grace_seconds=0.0))
        await hanging.serving.wait()
        stop.set()
        await supervising
    assert hanging.cancelled
    assert hanging.cleaned_up
    events = [(log["event"], log["log_level"]) for log in logs]
    assert (LogEvent.DRAIN_TIMED_OUT, "error") in events


async def test_failed_service_is_logged_as_the_cause_of_the_stop() -> None:
    orderly = Orderly()
    services: dict[str, Service] = {"h": Failing(FatalClientError("a fault"), after=orderly), "o": orderly}
    with capture_logs() as logs, pytest.raises(FatalClientError):
        await supervise(services, Stop(), grace_seconds=GRACE_SECONDS)
    [stopping] = [log for log in logs if log["event"] == LogEvent.WORKER_STOPPING]
    assert stopping["cause"] == "service h failed: a fault"


async def test_failure_is_raised_even_if_another_service_hangs() -> None:
    """Otherwise a worker with a fault would exit with code 0."""
    hanging, orderly = Hanging(), Orderly()
    failing = Failing(FatalClientError("a fault"), after=orderly)
    with pytest.raises(FatalClientError, match="a fault"):
        await supervise({"h": hanging, "o": orderly, "f": failing}, Stop(), grace_seconds=0.0)
    assert hanging.cleaned_up


async def test_stopping_is_logged_once() -> None:
    stop = Stop()
    stop.set()
    with capture_logs() as logs:
        await supervise({"a": Orderly(), "b": Orderly()}, stop, grace_seconds=GRACE_SECONDS)
    assert [log["event"] for log in logs] == [LogEvent.WORKER_STOPPING]


@pytest.mark.parametrize("stopping", [False, True])
async def test_cancelling_the_supervisor_cancels_every_service(stopping: bool) -> None:
    """As for a second signal, before the stop or during the grace period."""
    services = {"a": Hanging(), "b": Hanging()}
    stop = Stop()
    supervising = asyncio.ensure_future(supervise(services, stop, grace_seconds=GRACE_SECONDS))
    for service in services.values():
        await service.serving.wait()
    if stopping:
        stop.set()
        await asyncio.sleep(0)
    supervising.cancel()
    with pytest.raises(asyncio.CancelledError):
        await supervising
    assert all(service.cleaned_up for service in services.values())


class Last(Orderly):
    """Records whether the other service had finished at its own stop."""

    def __init__(self, other: Orderly) -> None:
        super().__init__()
        self._other = other
        self.other_had_finished: bool | None = None

    async def run(self, stop: asyncio.Event) -> None:
        self.serving.set()
        await stop.wait()
        self.other_had_finished = self._other.finished


@pytest.mark.parametrize("last_first", [True, False])
async def test_last_service_stops_when_the_others_have_ended(last_first: bool) -> None:
    """The HTTP server must serve the metrics of the drain."""
    other = Orderly()
    last = Last(other)
    services: dict[str, Service] = {"l": last, "o": other} if last_first else {"o": other, "l": last}
    stop = Stop()
    supervising = asyncio.ensure_future(supervise(services, stop, grace_seconds=GRACE_SECONDS, last=("l",)))
    await last.serving.wait()
    stop.set()
    await supervising
    assert last.other_had_finished


async def test_last_service_stops_when_another_fails_or_hangs() -> None:
    """The end of the last service is not the error that is raised."""
    hanging, last = Hanging(), Orderly()
    failing = Failing(FatalClientError("a fault"), after=last)
    services: dict[str, Service] = {"l": last, "h": hanging, "f": failing}
    with pytest.raises(FatalClientError, match="a fault"):
        await supervise(services, Stop(), grace_seconds=0.0, last=("l",))
    assert last.finished
    assert hanging.cleaned_up


async def test_last_service_that_fails_ends_the_others() -> None:
    orderly = Orderly()
    services: dict[str, Service] = {"l": Failing(FatalClientError("a fault"), after=orderly), "o": orderly}
    with pytest.raises(FatalClientError, match="a fault"):
        await supervise(services, Stop(), grace_seconds=GRACE_SECONDS, last=("l",))
    assert orderly.finished
