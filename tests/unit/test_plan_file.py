"""A plan is executed as it was written, where it was made for, or not at all."""

import json
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from worker.plan_file import PlanFile, Target, read_plan
from worker.rules.errors import ConfigurationError

TARGET = Target(database=UUID(int=7), cluster="cluster-a", group="group-a")
PLAN = PlanFile(kind="replay", target=TARGET, content={"ranges": [["events", 0, 3, 9]], "note": "größer"})


def test_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    PLAN.write(tmp_path / "plan.json")
    found = read_plan(tmp_path / "plan.json", kind="replay")
    assert found == PLAN
    assert found.sha256 == PLAN.sha256
    found.require(TARGET)


def test_reformatted_plan_is_the_same_plan(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(json.loads(PLAN.text()), sort_keys=True))
    assert read_plan(path, kind="replay").sha256 == PLAN.sha256


@pytest.mark.parametrize(
    ("old", "new"),
    [("3,", "2,"), ("group-a", "group-b"), ('"kind": "replay"', '"kind": "redrive"'), ("größer", "kleiner")],
)
def test_edited_plan_is_refused(tmp_path: Path, old: str, new: str) -> None:
    assert old in PLAN.text()
    (tmp_path / "plan.json").write_text(PLAN.text().replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigurationError, match="was changed after it was written"):
        read_plan(tmp_path / "plan.json", kind="replay")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"sha256": 1}', "nul", "[" * 100_000, PLAN.text()[:-10]])
def test_other_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "plan.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="is no plan of rudder-worker"):
        read_plan(tmp_path / "plan.json", kind="replay")


def test_missing_file_and_binary_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.json cannot be read: No such file or directory$"):
        read_plan(tmp_path / "none.json", kind="replay")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="is not UTF-8 text"):
        read_plan(tmp_path / "binary", kind="replay")


def test_plan_of_another_command_is_refused(tmp_path: Path) -> None:
    PLAN.write(tmp_path / "plan.json")
    with pytest.raises(ConfigurationError, match="is a plan of `replay`, not of `dead-letters redrive`"):
        read_plan(tmp_path / "plan.json", kind="dead-letters redrive")


@pytest.mark.parametrize(
    ("target", "setting"),
    [
        (Target(database=uuid4(), cluster="cluster-a", group="group-a"), "RUDDER_DATABASE_URL"),
        (Target(database=UUID(int=7), cluster="cluster-b", group="group-a"), "RUDDER_KAFKA_BOOTSTRAP_SERVERS"),
        (Target(database=UUID(int=7), cluster="cluster-a", group="group-b"), "RUDDER_GROUP_ID"),
    ],
)
def test_plan_of_another_place_is_refused(target: Target, setting: str) -> None:
    with pytest.raises(ConfigurationError, match=setting):
        PLAN.require(target)


def test_plan_replaces_no_file(tmp_path: Path) -> None:
    PLAN.write(tmp_path / "plan.json")
    with pytest.raises(ConfigurationError, match="exists; name another file"):
        PLAN.write(tmp_path / "plan.json")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        PLAN.write(tmp_path / "no folder" / "plan.json")
