"""The line-up: every contender of the throughput comparison, as it is started, with a sentence on what it does."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from typing import Final

from benchmarks.contenders.contender import Contender
from benchmarks.contenders.java import parallel_consumer
from worker.settings import Settings

CONCURRENCIES: Final = (1, 16, 64)
CONCURRENCY: Final[int] = Settings.model_fields["concurrency"].default
"""What the worker has where nothing is set."""


def lineup() -> tuple[Contender, ...]:
    """Return all, also those that cannot be run here."""
    concurrencies = sorted({*CONCURRENCIES, CONCURRENCY})
    return (
        *(this_worker(concurrency=concurrency) for concurrency in concurrencies),
        *(this_worker(concurrency=concurrency, processes=2) for concurrency in concurrencies),
        plain_loop(),
        faststream(workers=1),
        faststream(workers=16),
        faststream(workers=16, batches=True),
        parallel_consumer(concurrency=16),
        parallel_consumer(concurrency=64),
        parallel_consumer(concurrency=64, connections=16, linger_ms=5),
        broker_alone("aiokafka"),
        broker_alone("confluent"),
    )


def this_worker(*, concurrency: int = CONCURRENCY, processes: int = 1) -> Contender:
    return Contender(
        name=f"this worker, {processes} x {concurrency}",
        kind="worker",
        does=f"`rudder-worker run --processes {processes}`, `RUDDER_CONCURRENCY={concurrency}` in each",
        command=(sys.executable, "-m", "worker", "run", "--processes", str(processes)),
        processes=processes,
        concurrency=concurrency,
        slow=concurrency == 1,
    )


def baseline(checkout: Path) -> tuple[Contender, ...]:
    """The worker of another checkout, with the dependencies of this one: one process, with what was its default and
    with as many messages at the same time as this one's default.
    """
    return tuple(
        replace(
            this_worker(concurrency=concurrency),
            name=f"baseline, 1 x {concurrency}",
            kind="baseline",
            does=f"the worker of the checkout that `--baseline` names, `RUDDER_CONCURRENCY={concurrency}`",
            checkout=checkout.resolve(),
        )
        for concurrency in sorted({16, CONCURRENCY})
    )


def plain_loop() -> Contender:
    return Contender(
        name="plain loop",
        kind="plain",
        does="aiokafka and SQLAlchemy ORM sessions on uvloop: one message, one transaction, its status events awaited "
        "together, then the next; offsets committed once a second",
        command=_program("plain_loop"),
        slow=True,
    )


def faststream(*, workers: int, batches: bool = False) -> Contender:
    how = "one message at a time" if workers == 1 else f"`max_workers={workers}`: partitions side by side"
    if batches:
        how = f"`batch=True`, {workers} releases of a batch side by side, one acknowledgement for all"
    return Contender(
        name=f"FastStream, {f'batches, {workers} at once' if batches else _count(workers, 'worker', 'workers')}",
        kind="faststream",
        does=f"FastStream's Kafka broker, a pydantic handler over the same ORM code, acknowledged by hand; {how}",
        command=(*_program("faststream_app"), *(("batches",) if batches else ())),
        concurrency=workers,
        slow=True,
        missing=None if importlib.util.find_spec("faststream") else "FastStream is not installed",
    )


def broker_alone(library: str) -> Contender:
    return Contender(
        name=f"broker alone, {library}",
        kind="broker",
        does=f"{library}: every record consumed, as many status records produced (idempotent, acks=all), no database",
        command=_program(f"relay_{library}"),
    )


def _program(module: str) -> tuple[str, ...]:
    return sys.executable, "-m", f"benchmarks.contenders.{module}"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
