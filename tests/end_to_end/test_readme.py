"""What the README tells a newcomer to type works as it stands there."""

import asyncio
import os
import re
import sqlite3
import sys
from pathlib import Path

import pytest

from tests.servers.topics import MakeTopic

README = Path(__file__).parents[2] / "README.md"
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands() -> str:
    return "\n".join(_BLOCK.findall(README.read_text(encoding="utf-8")))


@pytest.mark.parametrize("bootstrap_servers", ["embedded"], indirect=True)
async def test_the_commands_of_the_readme_work_in_the_order_in_which_they_stand(
    bootstrap_servers: str, topics: MakeTopic, tmp_path: Path
) -> None:
    """Every `sh` block is run by a shell that stops at the first failure; then a worker turns it all into rows."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "RUDDER_KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "RUDDER_INPUT_TOPICS": await topics(name_hint="in"),
        "RUDDER_DEPLOYMENT_STATUS_TOPIC": await topics(name_hint="deployments"),
        "RUDDER_RELEASE_STATUS_TOPIC": await topics(name_hint="releases"),
        "RUDDER_DEAD_LETTER_TOPIC": await topics(name_hint="letters"),
        "RUDDER_GROUP_ID": f"readme {tmp_path.name}",
        "RUDDER_HTTP_PORT": "0",
    }
    script = commands()
    assert script.count("rudder-worker publish") == 2
    shell = await asyncio.create_subprocess_exec(
        "bash", "-euo", "pipefail", "-c", script, cwd=tmp_path, env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await shell.communicate()
    assert shell.returncode == 0, errors.decode()
    assert "1 events, 0 invalid" in output.decode()

    worker = await asyncio.create_subprocess_exec(
        "rudder-worker",
        "run",
        cwd=tmp_path,
        env={**environment, "RUDDER_LOG_LEVEL": "debug"},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert worker.stderr is not None
        done: list[str] = []
        async for line in worker.stderr:
            if b'"message.done"' in line:
                done.append(line.decode())
            if len(done) == 2:
                break
    finally:
        worker.terminate()
        await worker.communicate()
    assert worker.returncode == 0
    assert all('"outcome": "applied"' in line for line in done)
    rows = sqlite3.connect(tmp_path / "rudder.sqlite3")
    try:
        statuses = rows.execute("SELECT status FROM releases ORDER BY release_number").fetchall()
    finally:
        rows.close()
    assert statuses == [("DRAFT",), ("DEPLOYED",)]
