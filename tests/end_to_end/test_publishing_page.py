"""What the page for publishers tells them to type works as it stands there, and comes to what the page says."""

import asyncio
import os
import re
import sqlite3
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from schemas.reasons import Reason
from tests.servers.topics import MakeTopic
from worker.domain.message import REDRIVE_HEADER

TEXT = (Path(__file__).parents[2] / "docs" / "publishing.md").read_text(encoding="utf-8")
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    return [block for found, block in _BLOCK.findall(TEXT) if found == language]


def tekton_script() -> str:
    """As Tekton runs it: its own substitutions come before the shell's."""
    (block,) = blocks("yaml")
    script: str = yaml.safe_load(block)["steps"][0]["script"]
    return script.replace("$(context.taskRun.name)", "shop-x7k2p").replace("$(context.taskRun.namespace)", "ci")


def test_publishing_page_explains_every_reason() -> None:
    for reason in Reason:
        assert f"\n| `{reason}` | " in TEXT
    assert REDRIVE_HEADER in TEXT


def test_publishing_page_has_only_blocks_that_are_run() -> None:
    assert {language for language, _ in _BLOCK.findall(TEXT)} == {"sh", "yaml"}


@pytest.mark.parametrize("bootstrap_servers", ["embedded"], indirect=True)
async def test_publishing_page_commands_do_what_it_says(
    bootstrap_servers: str, topics: MakeTopic, tmp_path: Path
) -> None:
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "RUDDER_KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "RUDDER_INPUT_TOPICS": await topics(name_hint="in"),
        "RUDDER_DEPLOYMENT_STATUS_TOPIC": await topics(name_hint="deployments"),
        "RUDDER_RELEASE_STATUS_TOPIC": await topics(name_hint="releases"),
        "RUDDER_DEAD_LETTER_TOPIC": await topics(name_hint="letters"),
        "RUDDER_GROUP_ID": f"publishing {tmp_path.name}",
        "RUDDER_HTTP_PORT": "0",
        "RUDDER_LOG_LEVEL": "debug",
    }
    script = "\n".join([*blocks("sh"), tekton_script(), "rudder-worker migrate"])
    shell = await asyncio.create_subprocess_exec(
        "bash", "-euo", "pipefail", "-c", script, cwd=tmp_path, env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await shell.communicate()
    assert shell.returncode == 0, errors.decode()
    assert "random" not in errors.decode()
    assert output.decode().count("1 events, 0 invalid\n") == 2
    sent = sum(int(count) for count in re.findall(r"(\d+) events? sent", errors.decode()))

    worker = await asyncio.create_subprocess_exec(
        "rudder-worker", "run", cwd=tmp_path, env=environment, stderr=asyncio.subprocess.PIPE
    )
    outcomes: list[str] = []
    try:
        assert worker.stderr is not None
        async for line in worker.stderr:
            if b'"message.done"' in line:
                outcomes += re.findall(r'"outcome": "(\w+)"', line.decode())
            if len(outcomes) == sent:
                break
    finally:
        worker.terminate()
        await worker.communicate()
    # A repeated step is a duplicate; what was rejected is applied once it is redriven.
    assert Counter(outcomes) == {"applied": sent - 2, "duplicate": 1, "rejected": 1}

    rows = sqlite3.connect(tmp_path / "rudder.sqlite3")
    try:
        releases = rows.execute("SELECT status FROM releases ORDER BY release_number").fetchall()
        rejections = rows.execute("SELECT reason, resolved_at IS NOT NULL FROM release_event_rejections").fetchall()
    finally:
        rows.close()
    assert releases == [("FAILED",), ("DEPLOYED",)]
    assert rejections == [("release_not_found", 1)]
