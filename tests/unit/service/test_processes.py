"""The supervisor replaces a dead process with growing delays, not one that refuses; a stop sends SIGTERM first."""

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from tests.unit.pipeline.scripted import SimulatedClock
from worker.rules.errors import ConfigurationError
from worker.service import processes
from worker.service.processes import RAN_WELL_SECONDS, ProcessSupervisor
from worker.telemetry import LogEvent

READY = b"ready\n"
PRELUDE = """
import os, signal, sys
def heed(number, code):
    signal.signal(number, lambda *_: os._exit(code))
def ready():
    os.write(1, b"ready\\n")
def wait():
    os.read(0, 1)  # until the test itself is gone
"""

ORDERLY = "heed(signal.SIGTERM, 0); heed(signal.SIGINT, 130); ready(); wait()"
SLOW = "signal.signal(signal.SIGTERM, signal.SIG_IGN); heed(signal.SIGINT, 130); ready(); wait()"
FAILING_AT_STOP = "heed(signal.SIGTERM, 1); ready(); wait()"
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGINT, signal.SIG_IGN); ready(); wait()"
NOT_YET_LISTENING = "signal.signal(signal.SIGTERM, signal.SIG_DFL); ready(); wait()"
CRASHED = "os.kill(os.getpid(), signal.SIGKILL)"
FAILED = "sys.exit(1)"
RETURNED = "sys.exit(0)"
REFUSED = "os.write(0, b'mend this'); sys.exit(2)"

GRACE_SECONDS = 3600.0


class UnhurriedClock(SimulatedClock):
    """Delays pass at once, and the grace period never ends."""

    async def wait(self, event: asyncio.Event, *, timeout_seconds: float) -> bool:
        if timeout_seconds == GRACE_SECONDS:
            return await event.wait()
        return await super().wait(event, timeout_seconds=timeout_seconds)


class Family:
    """Starts these processes one after the other, and repeats the last one."""

    def __init__(self, *scripts: str | OSError, life_seconds: float = 0.0, clock: SimulatedClock | None = None) -> None:
        self._scripts = scripts
        self._life_seconds = life_seconds
        self.clock = clock or UnhurriedClock()
        self.processes: list[asyncio.subprocess.Process] = []
        self.told_died: list[int] = []
        self.ready = asyncio.Event()

    async def launch(self, died: int, standard_input: int) -> asyncio.subprocess.Process:
        self.told_died.append(died)
        self.clock.now_seconds += self._life_seconds
        script = self._scripts[min(died, len(self._scripts) - 1)]
        if isinstance(script, OSError):
            raise script
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", "-c", PRELUDE + script), stdin=standard_input, stdout=asyncio.subprocess.PIPE
        )
        self.processes.append(process)
        assert process.stdout is not None
        if await process.stdout.readline() == READY:
            self.ready.set()
        return process


@pytest.fixture(autouse=True)
async def _no_process_is_left(nothing_is_left_running: None) -> AsyncIterator[None]:
    """Stricter than the session's own check: no process is left when `run` returns."""
    yield
    assert asyncio.all_tasks() == {asyncio.current_task()}


def supervisor_of(family: Family) -> ProcessSupervisor:
    return ProcessSupervisor(number=1, launch=family.launch, grace_seconds=GRACE_SECONDS, clock=family.clock)


async def run_until_ready(family: Family, supervisor: ProcessSupervisor) -> None:
    """Runs until the last process is ready, then stops."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(supervisor.run(stop))
        await family.ready.wait()
        stop.set()
    assert all(process.returncode is not None for process in family.processes)


async def test_process_runs_until_the_stop_and_ends_in_order() -> None:
    family = Family(ORDERLY)
    supervisor = supervisor_of(family)
    with capture_logs() as logs:
        await run_until_ready(family, supervisor)
    assert [process.returncode for process in family.processes] == [0]
    assert not supervisor.failed
    assert [(log["event"], log["process"]) for log in logs] == [(LogEvent.PROCESS_STARTED, 1)]
    assert logs[0]["pid"] == family.processes[0].pid


@pytest.mark.parametrize(
    ("script", "end"),
    [
        (CRASHED, {"signal": "SIGKILL"}),
        (FAILED, {"exit_code": 1}),
        (RETURNED, {"exit_code": 0}),
        (OSError(11, "Resource temporarily unavailable"), {"cause": "[Errno 11] Resource temporarily unavailable"}),
    ],
    ids=["crashed", "failed", "returned", "not to be started"],
)
async def test_ended_process_is_replaced(script: str | OSError, end: dict[str, str | int]) -> None:
    """Holds for every kind of end; one line logs it, and the next process gets the number of deaths so far."""
    family = Family(script, ORDERLY)
    supervisor = supervisor_of(family)
    with capture_logs() as logs:
        await run_until_ready(family, supervisor)
    assert family.told_died == [0, 1]
    [died] = [log for log in logs if log["event"] == LogEvent.PROCESS_EXITED]
    assert {name: died[name] for name in died if name in {"exit_code", "signal", "cause"}} == end
    assert (died["process"], died["log_level"], died["delay_seconds"]) == (1, "error", 0.375)
    assert not supervisor.failed


async def test_replacement_delay_grows_up_to_a_bound() -> None:
    """The supervisor never gives up on a process."""
    family = Family(*[FAILED] * 9, ORDERLY)
    supervisor = supervisor_of(family)
    await run_until_ready(family, supervisor)
    assert family.clock.waits_seconds == [0.375, 0.75, 1.5, 3.0, 6.0, 12.0, 22.5, 22.5, 22.5]


@pytest.mark.parametrize(
    ("life_seconds", "waits_seconds"), [(RAN_WELL_SECONDS, [0.375] * 3), (RAN_WELL_SECONDS - 1, [0.375, 0.75, 1.5])]
)
async def test_process_that_ran_well_is_replaced_soon(life_seconds: float, waits_seconds: list[float]) -> None:
    family = Family(*[FAILED] * 3, ORDERLY, life_seconds=life_seconds)
    supervisor = supervisor_of(family)
    await run_until_ready(family, supervisor)
    assert family.clock.waits_seconds == waits_seconds


async def test_process_that_refuses_at_the_start_is_not_replaced() -> None:
    """The operator reads the error of the process."""
    family = Family(REFUSED)
    with pytest.raises(ConfigurationError, match=r"^mend this$"):
        await supervisor_of(family).run(asyncio.Event())
    assert family.told_died == [0]


async def test_refusing_replacement_ends_no_other_process() -> None:
    """A cause such as a changed password may be reverted, so the supervisor logs the refusal and tries again."""
    family = Family(FAILED, REFUSED, REFUSED, ORDERLY)
    supervisor = supervisor_of(family)
    with capture_logs() as logs:
        await run_until_ready(family, supervisor)
    assert [line.get("cause") for line in logs if line["event"] == LogEvent.PROCESS_EXITED] == [
        None,
        *["mend this"] * 2,
    ]
    assert family.told_died == [0, 1, 2, 3]


async def test_stop_during_a_replacement_delay_starts_none() -> None:
    stop = asyncio.Event()

    class Stopping(SimulatedClock):
        async def wait(self, event: asyncio.Event, *, timeout_seconds: float) -> bool:
            stop.set()
            return True

    family = Family(FAILED, clock=Stopping())
    await supervisor_of(family).run(stop)
    assert family.told_died == [0]


async def test_process_that_exceeds_the_grace_period_is_killed() -> None:
    """One line logs it, and the run counts as failed."""
    family = Family(DEAF, clock=SimulatedClock())
    supervisor = supervisor_of(family)
    with capture_logs() as logs:
        await run_until_ready(family, supervisor)
    assert [process.returncode for process in family.processes] == [-9]
    assert supervisor.failed
    assert family.clock.waits_seconds == [GRACE_SECONDS]
    assert [log["event"] for log in logs] == [LogEvent.PROCESS_STARTED, LogEvent.PROCESS_KILLED]


async def test_process_that_fails_while_stopping_is_a_failure() -> None:
    """The last commit may have failed, for example."""
    family = Family(FAILING_AT_STOP)
    supervisor = supervisor_of(family)
    with capture_logs() as logs:
        await run_until_ready(family, supervisor)
    assert supervisor.failed
    assert [(log["event"], log.get("exit_code")) for log in logs[1:]] == [(LogEvent.PROCESS_EXITED, 1)]
    assert family.told_died == [0]


async def test_process_without_signal_handlers_ends_in_order() -> None:
    family = Family(NOT_YET_LISTENING)
    supervisor = supervisor_of(family)
    await run_until_ready(family, supervisor)
    assert [process.returncode for process in family.processes] == [-15]
    assert not supervisor.failed


@pytest.mark.parametrize("stopping", [False, True])
async def test_cancelling_interrupts_the_process_at_once(stopping: bool) -> None:
    """The supervisor sends SIGINT, whether or not it sent a stop before."""
    family, stop = Family(SLOW), asyncio.Event()
    keeping = asyncio.ensure_future(supervisor_of(family).run(stop))
    await family.ready.wait()
    if stopping:
        stop.set()
        for _ in range(10):
            await asyncio.sleep(0)
    keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping
    assert [process.returncode for process in family.processes] == [130]


@pytest.mark.parametrize("cancelled", ["once", "twice"])
async def test_process_that_ignores_the_interrupt_is_killed(cancelled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kill follows after a moment, or at a second cancellation."""
    monkeypatch.setattr(processes, "_INTERRUPTED_SECONDS", 0.0 if cancelled == "once" else 3600.0)
    family = Family(DEAF)
    keeping = asyncio.ensure_future(supervisor_of(family).run(asyncio.Event()))
    await family.ready.wait()
    keeping.cancel()
    if cancelled == "twice":
        for _ in range(10):
            await asyncio.sleep(0)
        keeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await keeping
    assert await family.processes[0].wait() == -9
