"""Wrong options of `dead-letters redrive`: one line that names the option, and nothing is connected to."""

import pytest

from tests.unit.cli.command_line import CommandLine


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("--all --rate 0/s", "--rate: 0/s is no rate"),
        ("--all --rate 10/d", "use 10/s, 30/min or 600/h"),
        ("--all --rate 2000", "at most 1,000/s"),
        ("", "nothing is selected"),
        ("--include-failing --execute", "nothing is selected"),
        ("--all --reason attempt_gap", "filters and --all cannot be used together"),
        ("--all --plan plan.json", "--all and --plan cannot be used together"),
        ("--plan plan.json --include-failing", "--plan executes a plan as it is"),
        ("--plan plan.json --output other.json", "--plan executes a plan as it is"),
        ("--resume 6f0f2a53-6b54-4d5c-9d34-3f0c2f0c7a11 --execute", "--resume continues a redrive as it began"),
        ("--resume 6f0f2a53-6b54-4d5c-9d34-3f0c2f0c7a11 --expect 3", "--resume continues a redrive as it began"),
        ("--resume 6f0f2a53-6b54-4d5c-9d34-3f0c2f0c7a11 --rate 10/s", "--resume continues a redrive as it began"),
    ],
)
def test_wrong_redrive_options_are_named(command_line: CommandLine, options: str, text: str) -> None:
    ended = command_line("dead-letters", "redrive", *options.split())
    assert ended.code == 2
    assert text in ended.problem
