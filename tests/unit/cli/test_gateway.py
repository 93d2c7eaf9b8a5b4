"""`gateway` on the command line: what it cannot start with is refused in one line, without a secret."""

from pathlib import Path

import pytest

from tests.unit.cli.command_line import rudder_worker

SECRET = "a-secret-of-the-pipelines"
KEYS = f"[[keys]]\nname = 'a'\nsecret = '{SECRET}'\n"


@pytest.mark.parametrize("command", ["gateway", "check-config"])
@pytest.mark.parametrize(
    ("keys", "words"),
    [(KEYS, "key a is for nothing"), (KEYS + "webhooks = [1]", "/keys/0/webhooks/0"), (None, "No such")],
)
def test_unusable_keys_file_is_one_line(tmp_path: Path, command: str, keys: str | None, words: str) -> None:
    path = tmp_path / "keys.toml"
    if keys is not None:
        path.write_text(keys, encoding="utf-8")
    ended = rudder_worker(command, environment={"RUDDER_GATEWAY_KEYS_FILE": str(path)}, folder=tmp_path)
    assert ended.code == 2
    assert ended.problem.startswith("RUDDER_GATEWAY_KEYS_FILE=")
    assert words in ended.problem
    assert SECRET not in ended.problem


def test_output_topic_as_gateway_topic_is_refused(tmp_path: Path) -> None:
    """The worker would not read it, and subscribers would."""
    ended = rudder_worker("check-config", environment={"RUDDER_GATEWAY_TOPIC": "rudder.dead-letters"}, folder=tmp_path)
    assert ended.code == 2
    assert "RUDDER_GATEWAY_TOPIC" in ended.problem
