"""What the page for publishers tells them to type works as it stands there, and comes to what the page says."""

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from schemas.reasons import Reason
from tests.end_to_end.page_commands import blocks, environment_of, languages, outcomes_of_worker, rows_of, run_script
from tests.testkit.topics import MakeTopic
from worker.rules.message import REDRIVE_HEADER

TEXT = (Path(__file__).parents[2] / "docs" / "publishing.md").read_text(encoding="utf-8")


def tekton_script() -> str:
    """As Tekton runs it: its own substitutions come before the shell's."""
    (block,) = blocks(TEXT, "yaml")
    script: str = yaml.safe_load(block)["steps"][0]["script"]
    return script.replace("$(context.taskRun.name)", "shop-x7k2p").replace("$(context.taskRun.namespace)", "ci")


def test_publishing_page_explains_every_reason() -> None:
    for reason in Reason:
        assert f"\n| `{reason}` | " in TEXT
    assert REDRIVE_HEADER in TEXT


def test_publishing_page_has_only_blocks_that_are_run() -> None:
    assert languages(TEXT) == {"sh", "yaml"}


@pytest.mark.parametrize("bootstrap_servers", ["embedded"], indirect=True)
async def test_publishing_page_commands_work(bootstrap_servers: str, topics: MakeTopic, tmp_path: Path) -> None:
    environment = await environment_of(tmp_path, bootstrap_servers, topics)
    script = "\n".join([*blocks(TEXT, "sh"), tekton_script(), "rudder-worker migrate"])
    output, errors = await run_script(script, folder=tmp_path, environment=environment)
    assert "random" not in errors
    assert output.count("1 events, 0 invalid\n") == 2
    sent = sum(int(count) for count in re.findall(r"(\d+) events? sent", errors))

    outcomes = await outcomes_of_worker(sent, folder=tmp_path, environment=environment)
    # A repeated step is a duplicate; what was rejected is applied once it is redriven.
    assert Counter(outcomes) == {"applied": sent - 2, "duplicate": 1, "rejected": 1}
    releases = rows_of(tmp_path, "SELECT status FROM releases ORDER BY release_number")
    assert releases == [("FAILED",), ("DEPLOYED",)]
    rejections = rows_of(tmp_path, "SELECT reason, resolved_at IS NOT NULL FROM release_event_rejections")
    assert rejections == [("release_not_found", 1)]
