"""`python -m benchmarks.operating`: operators' commands on a system with a history, timed.

A real Kafka and PostgreSQL, a history of valid events with dead letters of seven kinds among them, decided by a real
worker, which stays up under a little traffic while the commands run. With `--keep` the system stays up, and a file with
its settings is written, so that commands can be tried by hand.
"""

import itertools
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID, uuid4

import typer

from benchmarks.bench import Bench, Resources, Workload
from benchmarks.contenders.contender import ROOT
from benchmarks.contenders.lineup import this_worker
from benchmarks.databases import Postgres
from benchmarks.measured_run import variables
from benchmarks.running import Running
from benchmarks.stream import HEADERS, Traffic, records
from benchmarks.topics import TopicOffsets, fill
from tests.conformance.producers import ToSend

Event = dict[str, Any]

_MISSING: Final = tuple(str(UUID(int=0xABCD0000 + number)) for number in range(50))
"""Releases of which the first events come too early."""

_TRAFFIC_EVENTS_PER_SECOND: Final = 20
_STALL_SECONDS: Final = 120.0


@dataclass(frozen=True, slots=True)
class Timing:
    """One command: how often it ran, its exit codes, its times in seconds."""

    command: str
    codes: tuple[int, ...]
    seconds: tuple[float, ...]
    cpu_seconds: tuple[float, ...]
    first_line: str

    def row(self) -> str:
        codes = ",".join(str(code) for code in sorted(set(self.codes)))
        times = (statistics.median(self.seconds), max(self.seconds), statistics.median(self.cpu_seconds))
        cells = (f"`{self.command}`", codes, *(f"{time:.2f}" for time in times), self.first_line[:80])
        return f"| {' | '.join(cell.replace('|', '¦') for cell in cells)} |"


def main(
    *,
    events: Annotated[int, typer.Option(min=1_000, help="Events of the history.")] = 200_000,
    dead_letters: Annotated[int, typer.Option(min=7, help="Rejected events among them.")] = 2_000,
    repeat: Annotated[int, typer.Option(min=1, help="How often each command runs.")] = 5,
    command: Annotated[list[str] | None, typer.Option(help="Further commands to time.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Stay up until a signal; write the settings to a file.")] = False,
) -> None:
    """Build the history, time the commands, and print a table."""
    with Bench(say=_say, database=Postgres) as bench, ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rudder-operating-")))
        workload, resources = _history(bench, events, dead_letters)
        settings = variables(bench, workload, resources)
        worker = this_worker()
        running = stack.enter_context(Running(worker, variables=settings, folder=resources.folder))
        _decide_all(bench, workload, resources, running)
        stack.enter_context(_traffic(bench, workload, events))
        _print_timings(_commands() + (command or []), settings, folder, repeat)
        if keep:
            file = Path("operating.env")
            lines = (f"export {name}={shlex.quote(text)}\n" for name, text in settings.items() if "RUDDER" in name)
            file.write_text("".join(lines), "utf-8")
            _say(f"the system stays up; its settings are in {file}; end it by Ctrl-C")
            threading.Event().wait()


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _commands() -> list[str]:
    return [
        "dead-letters list",
        "dead-letters list --group-by reason",
        "dead-letters list --group-by fingerprint",
        "dead-letters list --reason attempt_gap --json",
        "status",
        "status releases",
        "status delivery --from 30d --by environment",
        "breaker status",
        "doctor",
    ]


def _history(bench: Bench, events: int, dead_letters: int) -> tuple[Workload, Resources]:
    workload = bench.workload(_mixed(events, dead_letters), template=bench.empty, checked=False)
    return workload, bench.resources(workload)


def _mixed(events: int, dead_letters: int) -> Iterator[ToSend]:
    """The valid stream, with a faulty event behind every `events / dead_letters` of its events. Times end now."""
    stream = itertools.islice(records(Traffic()), events - dead_letters)
    faults, interval = itertools.cycle(_FAULTS), max(1, events // dead_letters)
    left = dead_letters
    for number, record in enumerate(stream):
        yield record
        if number % interval == interval - 1 and left:
            left -= 1
            yield next(faults)(record, left)
    for number in range(left):
        yield next(faults)(record, number)


def _fault(change: Callable[[Event, int], None]) -> Callable[[ToSend, int], ToSend]:
    def faulty(record: ToSend, number: int) -> ToSend:
        event: Event = json.loads(record.value or b"")
        event["id"] = f"fault-{number}"
        event["data"].pop("release", None)
        change(event, number)
        value = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
        return replace(record, value=value, key=event["data"]["release_id"].encode())

    return faulty


def _truncated(record: ToSend, number: int) -> ToSend:
    whole = _fault(_set())(record, number)
    return replace(whole, value=(whole.value or b"")[:-9])


def _set(**data: object) -> Callable[[Event, int], None]:
    return lambda event, _: event["data"].update(data)


def _of_missing_release(event: Event, number: int) -> None:
    event["data"]["release_id"] = _MISSING[number % len(_MISSING)]
    event["type"] = "dev.rudder.deployment.started.v1"


def _typed(kind: str, **data: object) -> Callable[[Event, int], None]:
    def change(event: Event, _: int) -> None:
        event["type"] = f"dev.rudder.{kind}.v1"
        event["data"].update(data)

    return change


_FAULTS: Final[Sequence[Callable[[ToSend, int], ToSend]]] = (
    _truncated,
    _fault(_of_missing_release),
    _fault(_set(config_revision="seven")),
    _fault(_set(organization_id="another-organization")),
    _fault(_typed("deployment.started", attempt=4_200)),
    _fault(_typed("deployment.paused")),
    _fault(_typed("deployment.rolled_back", environment_id="never-used")),
)
"""One for each kind: malformed_json, release_not_found, invalid_data, organization_mismatch, attempt_gap,
unsupported_type, invalid_transition."""


def _decide_all(bench: Bench, workload: Workload, resources: Resources, running: Running) -> None:
    """Wait until the group has committed the whole history."""
    offsets, seen, moved_at = TopicOffsets(bench.bootstrap_servers), -1, time.monotonic()
    began_at = moved_at
    while (committed := offsets.committed(resources.name, workload.topic)) < workload.events:
        running.require_running()
        if committed != seen:
            seen, moved_at = committed, time.monotonic()
        elif time.monotonic() - moved_at > _STALL_SECONDS:
            raise running.failed(f"makes no progress after {committed} of {workload.events} records")
        time.sleep(1.0)
    seconds = time.monotonic() - began_at
    _say(f"{workload.events:,} records decided in {seconds:,.0f} s; timing the commands")


@contextmanager
def _traffic(bench: Bench, workload: Workload, history: int) -> Iterator[None]:
    """Further valid events, a few each second, until the context is left."""
    ended = threading.Event()
    stream = itertools.islice(records(Traffic(seed=7)), history)

    def send() -> None:
        while not ended.wait(1.0):
            now = datetime.now(UTC)
            some = [_at(record, now) for record in itertools.islice(stream, _TRAFFIC_EVENTS_PER_SECOND)]
            fill(bench.bootstrap_servers, workload.topic, some)

    thread = threading.Thread(target=send, name="traffic")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _at(record: ToSend, now: datetime) -> ToSend:
    event = json.loads(record.value or b"")
    event |= {"time": f"{now:%Y-%m-%dT%H:%M:%S.%f}Z", "id": str(uuid4())}
    value = json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode()
    return ToSend(value=value, key=record.key, headers=HEADERS, timestamp_ms=int(now.timestamp() * 1000))


def _print_timings(commands: Sequence[str], settings: Mapping[str, str], folder: Path, repeat: int) -> None:
    typer.echo("| command | exit | median, s | longest, s | CPU, s | first line of its output |")
    typer.echo("|---|---|---:|---:|---:|---|")
    for command in ("--version", *commands):
        typer.echo(_timed(command, settings, folder, repeat).row())


def _timed(command: str, settings: Mapping[str, str], folder: Path, repeat: int) -> Timing:
    environment = {name: text for name, text in os.environ.items() if not name.startswith("RUDDER_")}
    codes, seconds, cpu_seconds, line = [], [], [], ""
    for _ in range(repeat):
        before, began_at = os.times(), time.perf_counter()
        ended = subprocess.run(  # noqa: S603 - the worker's own command
            [sys.executable, "-m", "worker", *shlex.split(command)],
            env={**environment, **settings, "PYTHONPATH": str(ROOT), "COLUMNS": "120"},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds.append(time.perf_counter() - began_at)
        after = os.times()
        cpu_seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
        codes.append(ended.returncode)
        line = next(iter((ended.stdout or ended.stderr).splitlines()), "")
    return Timing(command, tuple(codes), tuple(seconds), tuple(cpu_seconds), line)


if __name__ == "__main__":
    typer.run(main)
