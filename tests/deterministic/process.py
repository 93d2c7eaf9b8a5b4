"""One process of the worker, wired by its own assembly: virtual time, a scripted broker, a real SQLite."""

import asyncio
from functools import cache
from pathlib import Path

import pytest

from tests.deterministic.broker import Broker, ScriptedPublisher, ScriptedSource
from tests.deterministic.driver import in_the_loop
from tests.deterministic.remains import Files, Remains, database_files
from tests.deterministic.suspensions import watch
from tests.deterministic.wire import Wire
from tests.properties.stepped import SteppedLoop
from tests.unit.environment import Environment
from worker.assembly import kafka_clients, run_services
from worker.pipeline.consumer import Consumer
from worker.service.clock import SystemClock
from worker.service.supervisor import Service
from worker.settings import Settings

_LONG_SECONDS = 100.0
_COMMIT_INTERVAL_SECONDS = 0.01
"""So short that offsets are committed while messages are under way."""


class Process:
    """Lives until all of the input is done, and then stops in order.

    `effects_at_once`: whether what it asks for comes about with the question, rather than with the answer.
    """

    def __init__(
        self, broker: Broker, path: Path, *, now_seconds: float, effects_at_once: bool = False, watched: bool = False
    ) -> None:
        self.now_seconds = now_seconds
        self.deaths: list[Remains] = []
        """What it would have left at each of its awaits, if it was watched."""
        self._ends_by_seconds = now_seconds + _LONG_SECONDS
        self._broker = broker
        self._path = path
        self._loop = SteppedLoop(lambda: self.now_seconds)
        self._wire = Wire(self._loop, broker.asked, effects_at_once=effects_at_once)
        self._files: tuple[int, Files] = -1, {}
        if watched:
            watch(self._loop, self._suspended)

    def run(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            in_the_loop(patch, self._wire)
            source = ScriptedSource(self._broker, self._wire, lambda: self.now_seconds)
            patch.setattr(run_services, "KafkaConsumerClient", lambda *_, **__: source)
            patch.setattr(kafka_clients, "KafkaPublisher", lambda *_, **__: ScriptedPublisher(self._broker, self._wire))
            patch.setattr(run_services, "SystemClock", lambda: _Clock(self))
            # The service that checks assigned partitions reads from a real broker, and is not run here.
            patch.setattr(run_services, "Consumer", lambda **given: Consumer(**given | {"holds_assigned": False}))
            try:
                self._serve(run_services.services(_settings(self._path))["worker"])
            finally:
                errors = self._loop.end()
        assert not errors, errors

    def _serve(self, worker: Service) -> None:
        stop = asyncio.Event()
        serving = self._loop.create_task(worker.run(stop))
        while True:
            self._loop.settle()
            if serving.done():
                serving.result()
                return
            if self._broker.finished and not stop.is_set():
                stop.set()
                continue
            due_seconds = self._loop.timer_due_seconds
            assert due_seconds is not None, "it waits for what never comes"
            assert due_seconds < self._ends_by_seconds, "it does not come to an end"
            self.now_seconds = max(self.now_seconds, due_seconds)

    def _suspended(self, where: str) -> None:
        if self._files[0] != self._wire.effects:
            self._files = self._wire.effects, database_files(self._path)
        self.deaths.append(
            Remains(
                where=where,
                now_seconds=self.now_seconds,
                unanswered=frozenset(self._wire.unanswered),
                broker=self._broker.copy(),
                files=self._files[1],
            )
        )


@cache
def _settings(path: Path) -> Settings:
    """For all processes on a database; the test's own environment says nothing."""
    with pytest.MonkeyPatch.context() as patch:
        Environment(patch, path.parent)
        return Settings(database_url=f"sqlite+aiosqlite:///{path}", commit_interval_seconds=_COMMIT_INTERVAL_SECONDS)


class _Clock(SystemClock):
    def __init__(self, process: Process) -> None:
        self._process = process

    def monotonic_seconds(self) -> float:
        return self._process.now_seconds

    def unix_seconds(self) -> float:
        return self._process.now_seconds

    def chance(self) -> float:
        return 0.5
