"""`state publish`: what it prints, and one line for each problem."""

import json

import pytest

from tests.unit.cli.command_line import CommandLine
from tests.unit.rules.release_scenario import release_id
from worker.cli.state import print_differences
from worker.state_repair import Difference, Differences, Fault

KEY = f"{release_id()}/prod"
FOUND = Differences(
    environments=3,
    found=[
        Difference(KEY, release_id(), Fault.MISSING),
        Difference(KEY, release_id(), Fault.OUTDATED),
        Difference(KEY, release_id(), Fault.WITHOUT_DEPLOYMENT, (2,)),
    ],
)


def test_topic_that_is_off_is_wrong_usage(command_line: CommandLine) -> None:
    command_line.environment(RUDDER_DEPLOYMENT_STATE_TOPIC="")
    ended = command_line("state", "publish")
    assert (ended.code, ended.out) == (2, "")
    assert ended.problem == "RUDDER_DEPLOYMENT_STATE_TOPIC is empty, so no states are published; set it"


def test_broker_that_does_not_answer_is_named(command_line: CommandLine) -> None:
    command_line.environment(RUDDER_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    assert command_line("migrate").code == 0
    ended = command_line("state", "publish")
    assert (ended.code, ended.out) == (2, "")
    assert "127.0.0.1:1" in ended.problem


def test_differences_are_listed_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    print_differences(FOUND, "states", executed=False, keys_max=2, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        f"{KEY}: missing",
        f"{KEY}: outdated",
        "… and 1 more; list them with --keys-max 3",
        "           3 environments with a deployment",
        "           1 of these, missing",
        "           1 of these, outdated",
        "           1 keys without a deployment, which need a tombstone",
    ]


def test_differences_are_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    print_differences(FOUND, "states", executed=True, keys_max=1, as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "topic": "states",
        "executed": True,
        "counts": {"environments": 3, "missing": 1, "outdated": 1, "without_deployment": 1},
        "keys": [{"key": KEY, "fault": "missing"}],
        "unreadable": [],
    }
