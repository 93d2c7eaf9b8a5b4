"""docs/contract.md says what the program has: its anchors, reasons, event types, transitions, settings and commands."""

import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

from schemas.reasons import Reason
from schemas.statuses import DeploymentStatus, ReleaseStatus
from schemas.types import EventType
from worker.cli.app import COMMANDS
from worker.rules.transitions import DEPLOYMENT_TRANSITIONS, RELEASE_TRANSITIONS
from worker.settings import Settings

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
NOT_BUILT = "†"


def section(anchor: str) -> str:
    return PAGE.split(f'<a id="{anchor}"></a>\n', 1)[1].split('\n<a id="', 1)[0]


def sources() -> list[Path]:
    folders = ("worker", "schemas", "migrations", "tests", "docs")
    return [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in {".py", ".md"}]


def test_cited_anchors_of_the_contract_exist() -> None:
    anchors = set(re.findall(r'<a id="([a-z0-9-]+)"></a>', PAGE))
    cited = {
        anchor
        for path in sources()
        for anchor in re.findall(r"contract\.md#([a-z0-9-]+)", path.read_text(encoding="utf-8"))
    }
    assert cited
    assert cited <= anchors
    assert set(re.findall(r"\]\(#([a-z0-9-]+)\)", PAGE)) <= anchors


def test_contract_names_every_reason() -> None:
    named = re.search(r"^Reasons: (.*)$", section("dead-letters"), flags=re.MULTILINE)
    assert named is not None
    assert set(re.findall(r"`([a-z_]+)`", named[1])) == set(Reason)


def test_contract_names_every_event_type_in() -> None:
    named = set()
    for names in re.findall(r"^\| `(dev\.rudder\.[^`]+)`", section("types-in"), flags=re.MULTILINE):
        start, _, rest = names.partition("{")
        choices, _, end = rest.partition("}")
        named |= {f"{start}{choice}{end}" for choice in choices.split(",")} if rest else {names}
    assert named == set(EventType)


@pytest.mark.parametrize(
    ("name", "transitions", "statuses"),
    [("Deployment", DEPLOYMENT_TRANSITIONS, DeploymentStatus), ("Release", RELEASE_TRANSITIONS, ReleaseStatus)],
)
def test_contract_names_every_transition(name: str, transitions: Mapping[Any, Any], statuses: type[StrEnum]) -> None:
    line = re.search(rf"^{name}: (.*)$", section("status-machines"), flags=re.MULTILINE)
    assert line is not None
    named: dict[str, set[str]] = {str(status): set() for status in statuses}
    for change in line[1].rstrip(".").split(" · "):
        if " → " in change:
            current, wanted = change.split(" → ")
            named[current] = set(wanted.split(", "))
    assert named == {str(current): set(map(str, wanted)) for current, wanted in dict(transitions).items()}


def test_contract_names_settings_that_exist() -> None:
    fields = {f"RUDDER_{name.upper()}" for name in Settings.model_fields}
    built = [part for part in PAGE.split("\n## ") if NOT_BUILT not in part.splitlines()[0]]
    named = {
        name
        for line in "\n".join(built).splitlines()
        if NOT_BUILT not in line
        for name in re.findall(r"`(RUDDER_[A-Z_]+)[`=]", line)
        if not name.endswith("_")
    }
    assert named
    assert named <= fields


def test_contract_names_every_command() -> None:
    """Those that are marked as not built may be there in part."""
    table = section("commands").split("| command | for |")[1].split("\n\n")[0]
    named = re.findall(r"`([a-z-]+)(?: [a-z|\\-]+)?`( †)?", table)
    commands = set(COMMANDS)
    assert {name for name, mark in named if not mark} == commands - {name for name, mark in named if mark}
