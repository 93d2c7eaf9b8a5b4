"""The commands of a page, run as a reader types them, and a worker that handles what they publish."""

import asyncio
import os
import re
import sqlite3
import sys
from pathlib import Path

from tests.testkit.topics import MakeTopic

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def languages(text: str) -> set[str]:
    """The languages of the page's code blocks."""
    return {language for language, _ in _BLOCK.findall(text)}


def blocks(text: str, language: str) -> list[str]:
    return [block for found, block in _BLOCK.findall(text) if found == language]


async def environment_of(folder: Path, bootstrap_servers: str, topics: MakeTopic) -> dict[str, str]:
    """The variables of a shell in `folder`: topics of its own, the database in `folder`."""
    return {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "RUDDER_KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "RUDDER_INPUT_TOPICS": await topics(name_hint="in"),
        "RUDDER_DEPLOYMENT_STATUS_TOPIC": await topics(name_hint="deployments"),
        "RUDDER_RELEASE_STATUS_TOPIC": await topics(name_hint="releases"),
        "RUDDER_DEAD_LETTER_TOPIC": await topics(name_hint="letters"),
        "RUDDER_GROUP_ID": f"page {folder.name}",
        "RUDDER_HTTP_PORT": "0",
        "RUDDER_LOG_LEVEL": "debug",
    }


async def run_script(script: str, *, folder: Path, environment: dict[str, str]) -> tuple[str, str]:
    """Standard output and standard error of a shell that stops at the first failure; it must not fail."""
    shell = await asyncio.create_subprocess_exec(
        "bash", "-euo", "pipefail", "-c", script, cwd=folder, env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await shell.communicate()
    assert shell.returncode == 0, errors.decode()
    return output.decode(), errors.decode()


async def outcomes_of_worker(number: int, *, folder: Path, environment: dict[str, str]) -> list[str]:
    """The outcomes of the first `number` messages that a worker handles; then it is stopped, in order."""
    worker = await asyncio.create_subprocess_exec(
        "rudder-worker", "run", cwd=folder, env=environment, stderr=asyncio.subprocess.PIPE
    )
    outcomes: list[str] = []
    try:
        assert worker.stderr is not None
        async for line in worker.stderr:
            if b'"message.completed"' in line:
                outcomes += re.findall(r'"outcome": "(\w+)"', line.decode())
            if len(outcomes) == number:
                break
    finally:
        worker.terminate()
        await worker.communicate()
    assert worker.returncode == 0
    return outcomes


def rows_of(folder: Path, query: str) -> list[tuple[object, ...]]:
    """The rows of a query of the database in `folder`."""
    connection = sqlite3.connect(folder / "rudder.sqlite3")
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()
