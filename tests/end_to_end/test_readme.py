"""What the README tells a newcomer to type works as it stands there."""

from pathlib import Path

import pytest

from tests.end_to_end.page_commands import blocks, environment_of, outcomes_of_worker, rows_of, run_script
from tests.testkit.topics import MakeTopic

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.parametrize("bootstrap_servers", ["embedded"], indirect=True)
async def test_readme_commands_work_in_their_order(bootstrap_servers: str, topics: MakeTopic, tmp_path: Path) -> None:
    """Every `sh` block is run by a shell that stops at the first failure; then a worker turns it all into rows."""
    environment = await environment_of(tmp_path, bootstrap_servers, topics)
    script = "\n".join(blocks(README.read_text(encoding="utf-8"), "sh"))
    assert script.count("rudder-worker publish") == 2
    output, _ = await run_script(script, folder=tmp_path, environment=environment)
    assert "1 events, 0 invalid" in output
    assert await outcomes_of_worker(2, folder=tmp_path, environment=environment) == ["applied", "applied"]
    statuses = rows_of(tmp_path, "SELECT status FROM releases ORDER BY release_number")
    assert statuses == [("DRAFT",), ("DEPLOYED",)]
