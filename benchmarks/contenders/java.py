"""Confluent's parallel-consumer: the contender that is not Python, built by Maven where a JDK and Maven are there."""

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Final

from benchmarks import java_statements
from benchmarks.contenders.contender import Contender

PROJECT: Final = Path(__file__).parents[1] / "parallel_consumer"
_BUILD_TIMEOUT_SECONDS: Final = 600
_OUTPUT_TAIL_CHARACTERS: Final = 500


class NotBuilt(Exception):
    """There is no program to run; the message says why."""


_HEAP: Final = "-Xmx512m"
"""The default garbage collector and compilers were the best of those tried."""


def parallel_consumer(*, concurrency: int, connections: int | None = None, linger_ms: int = 0) -> Contender:
    """Builds the program the first time it is asked for. `connections`: default as many as threads.

    64 threads use a fifth less processor time, theirs, the broker's and the database's, with 16 connections, as
    HikariCP's advice is a small pool, and with the linger that Kafka's client has by default since version 4.0.
    """
    settings = {
        "BENCH_CONNECTIONS": str(connections or concurrency),
        "BENCH_LINGER_MS": str(linger_ms),
    }
    beside = [
        *([f"{connections} connections"] if connections else []),
        *([f"linger {linger_ms} ms"] if linger_ms else []),
    ]
    command: tuple[str, ...] = ()
    missing: str | None = None
    try:
        command = (_tool("java"), _HEAP, "-jar", str(_jar()))
    except NotBuilt as error:
        missing = str(error)
    return Contender(
        name=", ".join(["parallel-consumer", str(concurrency), *beside]),
        kind="parallel-consumer",
        does="Confluent's parallel-consumer (Java, KEY order) with JDBC and HikariCP, the same statements, "
        f"{', '.join([f'{concurrency} at a time', *beside])}",
        command=command,
        concurrency=concurrency,
        settings=settings,
        missing=missing,
    )


@cache
def _jar() -> Path:
    if not (PROJECT / "pom.xml").is_file():
        raise NotBuilt("benchmarks/parallel_consumer is not there")
    java_statements.FILE.write_text(java_statements.text(), "utf-8")  # what the worker sends now
    maven, output = _tool("mvn"), ""
    # Offline first: where the machine's own Maven repository has everything, the network need not be there.
    for online in (["-o"], []):
        done = subprocess.run(  # noqa: S603 - Maven, by its path
            [maven, "-q", "-B", *online, "-DskipTests", "package"],
            check=False,
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_BUILD_TIMEOUT_SECONDS,
        )
        output = done.stdout
        if done.returncode == 0:
            return _runnable()
    raise NotBuilt(f"Maven could not build it: {output[-_OUTPUT_TAIL_CHARACTERS:]}")


def _runnable() -> Path:
    """The jar that holds its dependencies, or else the only one there is."""
    target = PROJECT / "target"
    for jars in (sorted(target.glob("*-with-dependencies.jar")), sorted(target.glob("*.jar"))):
        if len(jars) == 1:
            return jars[0]
    raise NotBuilt("Maven made no jar, or more than one, in benchmarks/parallel_consumer/target")


@cache
def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise NotBuilt(f"there is no `{name}`")
    return found
