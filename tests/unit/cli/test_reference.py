"""A page says what the code says: its blocks are renewed in place, and a stale one does not go unnoticed."""

from pathlib import Path

import pytest
from prometheus_client import generate_latest

from schemas.reasons import Reason
from schemas.types import EventType, StatusEventType
from worker.cli.reference import MarkersBroken, blocks, main, renewed
from worker.environment_variables import SECRETS
from worker.rules.transitions import DEPLOYMENT_TRANSITIONS, RELEASE_TRANSITIONS
from worker.settings import Settings
from worker.telemetry import METRICS, LogEvent, Metrics

REPOSITORY = Path(__file__).parents[3]
NAMES = (
    "settings",
    "metrics",
    "log-events",
    "reasons",
    "findings",
    "event-types",
    "deployment-states",
    "release-states",
)


def page_with(*names: str) -> str:
    """Prose around empty blocks."""
    markers = "".join(f"Before {name}.\n<!-- generated: {name} -->\n<!-- end generated -->\n" for name in names)
    return f"# A page\n{markers}The end.\n"


@pytest.fixture
def page_path(tmp_path: Path) -> Path:
    """A page with every block, as the command leaves it."""
    path = tmp_path / "page.md"
    path.write_text(page_with(*NAMES), encoding="utf-8")
    assert main([str(path)]) == 0
    return path


def test_every_block_name_exists() -> None:
    """The names are what pages rely on."""
    assert set(blocks()) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_block_is_written_between_its_markers_only(name: str) -> None:
    """The rest of the page is its author's."""
    page = page_with(name)
    text, stale = renewed(page, blocks())
    assert stale == [name]
    assert blocks()[name] in text
    assert text.replace(f"\n{blocks()[name]}\n\n", "") == page


def test_renewing_twice_changes_nothing(page_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Blocks are idempotent: the second run finds nothing stale and writes the same page."""
    once = page_path.read_text(encoding="utf-8")
    capsys.readouterr()
    assert main([str(page_path)]) == 0
    assert page_path.read_text(encoding="utf-8") == once
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", NAMES)
def test_check_names_a_stale_block_and_writes_nothing(
    name: str, page_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--check` judges and never writes."""
    page = page_path.read_text(encoding="utf-8")
    changed = page.replace(f"<!-- generated: {name} -->\n", f"<!-- generated: {name} -->\nan old line\n")
    page_path.write_text(changed, encoding="utf-8")
    capsys.readouterr()
    assert main(["--check", str(page_path)]) == 1
    assert capsys.readouterr().out == f"stale: {page_path}: {name}\n"
    assert page_path.read_text(encoding="utf-8") == changed


def test_check_passes_an_up_to_date_page(page_path: Path) -> None:
    """As does a page without blocks."""
    assert main(["--check", str(page_path)]) == 0
    assert renewed("# No block\n", blocks()) == ("# No block\n", [])


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        ("<!-- generated: setings -->\n<!-- end generated -->\n", "line 1: .* names no block"),
        ("<!-- generated -->\n<!-- end generated -->\n", "line 1: .* names no block"),
        ("<!-- generated:settings -->\n<!-- end generated -->\n", "line 1: .* names no block"),
        ("text\n<!-- generated: settings -->\ntext\n", "line 2: the block `settings` does not end"),
        ("<!-- generated: settings -->\n<!-- generated: metrics -->\n", "line 2: a block begins inside of `settings`"),
        ("text\n<!-- end generated -->\n", "line 2: a block ends that did not begin"),
    ],
)
def test_broken_markers_are_an_error_and_nothing_is_written(
    page: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A misspelt block would else be a table that nobody renews, a lost end would eat the page."""
    with pytest.raises(MarkersBroken, match=problem):
        renewed(page, blocks())
    path = tmp_path / "page.md"
    path.write_text(page, encoding="utf-8")
    assert main([str(path)]) == 2
    assert main(["--check", str(path)]) == 2
    assert str(path) in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == page


@pytest.mark.parametrize("arguments", [[], ["--check"], ["--chek", "README.md"]])
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """As every command does."""
    assert main(arguments) == 2
    assert "usage" in capsys.readouterr().err


def test_missing_page_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback."""
    assert main([str(tmp_path / "none.md")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_every_setting_has_a_description_and_a_row() -> None:
    """What an operator can set, the page explains."""
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert f"| `RUDDER_{name.upper()}` |" in blocks()["settings"]
    assert "| `RUDDER_INPUT_TOPICS` | `rudder.deployment-events` |" in blocks()["settings"]
    for name in SECRETS:
        assert f"also `RUDDER_{name.upper()}_FILE`" in blocks()["settings"]


def test_metrics_are_named_as_prometheus_shows_them() -> None:
    """A counter's sample ends in `_total`; queries and alerts are written from the table."""
    registry = Metrics().registry
    exposed = {
        line.split()[2] for line in generate_latest(registry).decode().splitlines() if line.startswith("# TYPE ")
    }
    rows = blocks()["metrics"].splitlines()[2:]
    assert len(rows) == len(METRICS)
    own = {name for name in exposed if not name.startswith("process_")}
    assert {row.split("`")[1] for row in rows} == {name for name in own if not name.endswith("_created")}


def test_every_reason_log_event_and_event_type_has_a_row() -> None:
    """The schemas that rows link to are there, seen from the repository's root."""
    for reason in Reason:
        assert f"| `{reason}` | {reason.meaning} |" in blocks()["reasons"]
    for event in LogEvent:
        assert f"| `{event}` | {event.meaning} |" in blocks()["log-events"]
    for event_type in (*EventType, *StatusEventType):
        link = f"schemas/json/{event_type}.json"
        assert f"`{event_type}` | [JSON Schema]({link})" in blocks()["event-types"]
        assert (REPOSITORY / link).is_file()


@pytest.mark.parametrize(
    ("name", "transitions"),
    [("deployment-states", DEPLOYMENT_TRANSITIONS), ("release-states", RELEASE_TRANSITIONS)],
)
def test_diagrams_hold_exactly_the_allowed_transitions(name: str, transitions: dict[str, frozenset[str]]) -> None:
    """A final status leads to the end."""
    arrows = {line.strip() for line in blocks()[name].splitlines() if "-->" in line}
    assert arrows == {
        f"{current} --> {wanted}" for current, allowed in transitions.items() for wanted in allowed or {"[*]"}
    }


def test_vertical_bar_in_a_cell_is_escaped() -> None:
    """Every row has as many cells as its heads."""
    for name in ("settings", "metrics", "log-events", "reasons", "findings", "event-types"):
        widths = {row.replace("\\|", "").count("|") for row in blocks()[name].splitlines()}
        assert len(widths) == 1, name
