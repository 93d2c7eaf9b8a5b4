"""docs/tables.py: each table has a row for each thing that the code has, by the name that operators see."""

from pathlib import Path

import pytest
from prometheus_client import generate_latest

from docs import tables
from schemas.reasons import Reason
from schemas.types import EventType, StateEventType, StatusEventType
from worker.cli.app import COMMANDS
from worker.environment_variables import SECRETS
from worker.rules.transitions import DEPLOYMENT_TRANSITIONS, RELEASE_TRANSITIONS
from worker.settings import Settings
from worker.telemetry import METRICS, LogEvent, Metrics

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"


def test_settings_table_has_every_setting() -> None:
    table = tables.settings()
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert f"| `RUDDER_{name.upper()}` |" in table
    assert "| `RUDDER_INPUT_TOPICS` | `rudder.deployment-events` |" in table
    for name in SECRETS:
        assert f"also `RUDDER_{name.upper()}_FILE`" in table


def test_metrics_table_has_the_exposed_names() -> None:
    """A counter's sample ends in `_total`; queries and alerts are written from the table."""
    exposition = generate_latest(Metrics().registry).decode()
    exposed = {line.split()[2] for line in exposition.splitlines() if line.startswith("# TYPE ")}
    rows = tables.metrics().splitlines()[2:]
    assert len(rows) == len(METRICS)
    own = {name for name in exposed if not name.startswith("process_") and not name.endswith("_created")}
    assert {row.split("`")[1] for row in rows} == own


def test_reasons_and_log_events_have_a_row_each() -> None:
    for reason in Reason:
        assert f"| `{reason}` | {reason.meaning} |" in tables.reasons()
    for event in LogEvent:
        assert f"| `{event}` | {event.meaning} |" in tables.log_events()


def test_event_types_link_to_their_schemas() -> None:
    for types, table in (
        (list(EventType), tables.event_types_in()),
        ([*StatusEventType, *StateEventType], tables.event_types_out()),
    ):
        for event_type in types:
            link = f"../../schemas/json/{event_type}.json"
            assert f"| `{event_type}` | [JSON Schema]({link}) |" in table
            assert (REFERENCE / link).is_file()


def test_commands_have_a_section_each() -> None:
    sections = [line for line in tables.commands().splitlines() if line.startswith("### ")]
    assert sections == [f"### `rudder-worker {name}`" for name in COMMANDS]


@pytest.mark.parametrize(
    ("diagram", "transitions"),
    [(tables.deployment_statuses(), DEPLOYMENT_TRANSITIONS), (tables.release_statuses(), RELEASE_TRANSITIONS)],
)
def test_diagram_has_exactly_the_allowed_transitions(diagram: str, transitions: dict[str, frozenset[str]]) -> None:
    """A final status leads to the end."""
    arrows = {line.strip() for line in diagram.splitlines() if "-->" in line}
    assert arrows == {
        f"{current} --> {wanted}" for current, allowed in transitions.items() for wanted in allowed or {"[*]"}
    }


@pytest.mark.parametrize(
    "table",
    [
        tables.settings,
        tables.metrics,
        tables.log_events,
        tables.reasons,
        tables.findings,
        tables.event_types_in,
        tables.event_types_out,
    ],
)
def test_bar_in_a_cell_does_not_break_the_table(table: object) -> None:
    assert callable(table)
    assert len({row.replace("\\|", "").count("|") for row in table().splitlines()}) == 1
