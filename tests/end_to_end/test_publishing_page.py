"""The commands of docs/how-to/publish-events.md have the results that the page states."""

import re
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from schemas.reasons import Reason
from tests.end_to_end.pages import DOCS, blocks, reader
from tests.end_to_end.test_pages import settings_of
from tests.testkit.topics import MakeTopic
from worker.rules.message import REDRIVE_HEADER

PAGE = DOCS / "how-to" / "publish-events.md"
TEXT = PAGE.read_text(encoding="utf-8")


def tekton_script() -> str:
    """The script as Tekton runs it: Tekton's substitutions come before the shell's."""
    (block,) = (block for block in blocks(TEXT) if block.language == "yaml")
    script: str = yaml.safe_load(block.text)["steps"][0]["script"]
    return script.replace("$(context.taskRun.name)", "shop-x7k2p").replace("$(context.taskRun.namespace)", "ci")


def test_publishing_page_explains_every_reason() -> None:
    for reason in Reason:
        assert f"\n| `{reason}` | " in TEXT
    assert REDRIVE_HEADER in TEXT


@pytest.mark.parametrize("bootstrap_servers", ["embedded"], indirect=True)
async def test_publishing_page_commands_work(bootstrap_servers: str, topics: MakeTopic, tmp_path: Path) -> None:
    settings = await settings_of(tmp_path, bootstrap_servers, topics) | {"RUDDER_LOG_LEVEL": "debug"}
    async with reader(tmp_path, settings) as following:
        printed = await following.follow(PAGE)
        printed += await following.run(tekton_script())
        await following.run("rudder-worker migrate")
        assert "random" not in printed
        assert printed.count("1 events, 0 invalid\n") == 2
        sent = sum(int(count) for count in re.findall(r"(\d+) events? sent", printed))

        worker = await following.open("worker", "rudder-worker run")
        for _ in range(sent):
            await worker.shown('…"outcome"…\n')
        outcomes = Counter(re.findall(r'"outcome": "(\w+)"', worker.output))
    # A repeated step is a duplicate; what was rejected is applied once it is redriven.
    assert outcomes == {"applied": sent - 2, "duplicate": 1, "rejected": 1}
    with closing(sqlite3.connect(tmp_path / "rudder.sqlite3")) as database:
        releases = database.execute("SELECT status FROM releases ORDER BY release_number").fetchall()
        assert releases == [("FAILED",), ("DEPLOYED",)]
        rejections = database.execute("SELECT reason, resolved_at IS NOT NULL FROM release_event_rejections").fetchall()
        assert rejections == [("release_not_found", 1)]
