"""`run` refuses in one line what it cannot work with, and ends as its signals and its services say."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.unit.cli.command_line import CommandLine, rudder_worker
from worker.assembly import run_services
from worker.rules.errors import ConfigurationError
from worker.service.supervisor import Service
from worker.settings import Settings

IMPATIENT = {
    "RUDDER_HTTP_PORT": "0",
    "RUDDER_STARTUP_TIMEOUT_SECONDS": "0",
    "RUDDER_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
}


class Signalled:
    """A service that gets its own process signalled: when it is up, and again when it was asked to stop."""

    def __init__(self, *signals: signal.Signals) -> None:
        self._signals = signals
        self.ended = False

    async def run(self, stop: asyncio.Event) -> None:
        for number in self._signals:
            os.kill(os.getpid(), number)
            await stop.wait()
        if len(self._signals) > 1:
            await asyncio.Event().wait()  # what is being worked on does not end
        self.ended = True


def serve(monkeypatch: pytest.MonkeyPatch, service: Service) -> None:
    def services(_settings: Settings) -> Mapping[str, Service]:
        return {"worker": service}

    monkeypatch.setattr(run_services, "services", services)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signal_stops_the_worker_in_order(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, code: int
) -> None:
    """A stop that was asked for by an orchestrator is done; by Ctrl-C, interrupted."""
    service = Signalled(number)
    serve(monkeypatch, service)
    ended = command_line("run")
    assert (ended.code, ended.out) == (code, "")
    assert service.ended


def test_second_signal_cancels_work(command_line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, Signalled(signal.SIGINT, signal.SIGINT))
    ended = command_line("run")
    assert (ended.code, ended.out) == (130, "")
    assert "Traceback" not in ended.err


def test_configuration_error_of_a_service_is_one_line(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FatalClientError:
        async def run(self, stop: asyncio.Event) -> None:
            raise ConfigurationError("mend this")

    serve(monkeypatch, FatalClientError())
    ended = command_line("run")
    assert (ended.code, ended.out, ended.problem) == (2, "", "mend this")


def test_missing_tables_are_one_line_with_the_next_step(tmp_path: Path) -> None:
    """Results and logs keep apart: every line on standard error but the problem is a JSON log line."""
    ended = rudder_worker("run", folder=tmp_path, environment=IMPATIENT)
    assert (ended.code, ended.out) == (2, "")
    assert "run `rudder-worker migrate` first" in ended.problem
    for line in ended.err.splitlines():
        assert line.startswith("rudder-worker: ") or json.loads(line)["event"]


def test_missing_broker_ends_the_start_after_its_timeout(tmp_path: Path) -> None:
    assert rudder_worker("migrate", folder=tmp_path).code == 0
    ended = rudder_worker("run", folder=tmp_path, environment=IMPATIENT)
    assert (ended.code, ended.out) == (2, "")
    assert "127.0.0.1:1" in ended.problem


def test_port_in_use_is_one_line(tmp_path: Path) -> None:
    """It is that error which ends the worker, and no other that follows from it."""
    assert rudder_worker("migrate", folder=tmp_path).code == 0
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = rudder_worker("run", folder=tmp_path, environment={**IMPATIENT, "RUDDER_HTTP_PORT": port})
    assert (ended.code, ended.out) == (2, "")
    assert ended.problem == f"HTTP cannot listen on 127.0.0.1:{port}: Address already in use"


def test_unknown_setting_is_logged(tmp_path: Path) -> None:
    ended = rudder_worker("run", folder=tmp_path, environment={**IMPATIENT, "RUDDER_GROUP": "x"})
    logged = [json.loads(line) for line in ended.err.splitlines() if line.startswith("{")]
    assert "RUDDER_GROUP is not a setting; did you mean RUDDER_GROUP_ID?" in [line.get("problem") for line in logged]


def test_log_level_is_applied(tmp_path: Path) -> None:
    ended = rudder_worker("run", folder=tmp_path, environment={**IMPATIENT, "RUDDER_LOG_LEVEL": "error"})
    assert [line for line in ended.err.splitlines() if '"level": "info"' in line] == []
    assert ended.problem
