"""`rudder-worker run --processes N`, observed by its log lines, its ports and its processes' states."""

import json
import os
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.conformance.deadlines import until
from tests.end_to_end.system import PARTITIONS, System
from tests.end_to_end.worker_process import WorkerProcess
from worker.demo.broker import free_port

SIZE = 2


class ProcessGroup:
    """A parent and its worker processes. Leaving the context kills the parent; the others must end by themselves."""

    def __init__(self, system: System, name: str = "group", **settings: str) -> None:
        self.http_port = ports_in_a_row(SIZE)
        own = {
            "RUDDER_HTTP_PORT": str(self.http_port),
            "RUDDER_LOG_LEVEL": "info",
            "RUDDER_SESSION_TIMEOUT_SECONDS": "2",
        }
        self.parent = WorkerProcess(
            *("run", "--processes", str(SIZE)),
            settings=system.settings | own | settings,
            folder=system.folder,
            name=name,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.parent.kill()

    def lines(self, event: str, process: int | None = None) -> list[dict[str, Any]]:
        """The lines of this log event, of one process or of all."""
        whole = self.parent.stderr.rpartition("\n")[0].splitlines()
        logged = [json.loads(line) for line in whole if line.startswith("{")]
        return [line for line in logged if line["event"] == event and process in {None, line.get("process")}]

    @property
    def pids(self) -> list[int]:
        """Of every worker process that was started, in order."""
        return [line["pid"] for line in self.lines("process.started")]

    def pid(self, process: int) -> int:
        """Of the process's latest start."""
        pid: int = self.lines("process.started", process)[-1]["pid"]
        return pid

    async def up(self) -> None:
        """Wait until all are ready and share the partitions."""

        async def shared() -> bool:
            assert self.parent.exit_code is None, self.parent.output()
            try:
                assigned = [await self.metric(number, "rudder_partitions_assigned") for number in range(SIZE)]
            except httpx.HTTPError:
                return False
            return sum(assigned) == PARTITIONS and all(assigned)

        await until(shared, what=lambda: f"they share the partitions: {self.parent.output()}")

    async def all_gone(self) -> None:
        """Wait until no worker process is left."""
        await until(
            lambda: not any(runs(pid) for pid in self.pids), what=lambda: f"all have ended: {self.parent.output()}"
        )

    async def metric(self, process: int, name: str) -> float:
        """The sum over the labels of a process's metric."""
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=10) as client:
            answer = await client.get(f"http://127.0.0.1:{self.http_port + process}/metrics")
        families = text_string_to_metric_families(answer.text)
        return sum(sample.value for family in families for sample in family.samples if sample.name == name)


def ports_in_a_row(count: int) -> int:
    """The first of `count` consecutive free ports."""
    while True:
        first = free_port()
        with ExitStack() as held:
            try:
                for port in range(first, first + count):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first


def runs(pid: int) -> bool:
    """Whether the process is running. A zombie is not, although its id is still in use."""
    state = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            return state.read_text("utf-8", "replace").rpartition(")")[2].split()[0] not in {"Z", "X"}
        except (FileNotFoundError, ProcessLookupError):
            return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
