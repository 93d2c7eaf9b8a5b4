"""What the pages name exists: files, settings, metrics, log events, links."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from worker.settings import Settings
from worker.telemetry import METRICS, LogEvent
from worker.verify.verification import COUNTS

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "SECURITY.md")),
    *sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts),
]
NOT_BUILT = "†"
README_LINES_MAX = 120

_FOLDERS = "worker|schemas|migrations|tests|docs|benchmarks|integrations"
_PATH = re.compile(rf"`((?:{_FOLDERS})/(?!_build)[\w./-]*)`")
_SETTING = re.compile(r"\bRUDDER_[A-Z_]+[A-Z]\b")
_METRIC = re.compile(r"`(rudder_[a-z_]+)`")
_LOG_EVENT = re.compile(rf"`((?:{'|'.join(sorted({event.split('.')[0] for event in LogEvent}))})\.[a-z_]+)`")
_LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[\w-]+)?\)")
_TEST_VARIABLE = re.compile(r"RUDDER_TEST_\w+")
_TABLES = {"rudder_alembic_version"}


def found(pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """Each match, with its page and line; what is marked as not built yet is left out."""
    for page in PAGES:
        built = [
            part for part in page.read_text(encoding="utf-8").split("\n## ") if NOT_BUILT not in part.splitlines()[0]
        ]
        for line in "\n".join(built).splitlines():
            if NOT_BUILT not in line:
                yield from ((f"{page.relative_to(ROOT)}: {name}", name) for name in pattern.findall(line))


def test_named_paths_exist() -> None:
    named = dict(found(_PATH))
    assert len(named) > 30
    assert [place for place, path in named.items() if not (ROOT / path).exists()] == []


def test_named_settings_exist() -> None:
    fields = {f"RUDDER_{name.upper()}" for name in Settings.model_fields}
    known = fields | {f"{name}_FILE" for name in fields}
    named = {place: name for place, name in found(_SETTING) if not _TEST_VARIABLE.fullmatch(name)}
    assert len(named) > 30
    assert [place for place, name in named.items() if name not in known] == []


def test_named_metrics_exist() -> None:
    exposed = {metric.name for metric in METRICS} | {f"{metric.name}_total" for metric in METRICS} | _TABLES
    named = {place: name for place, name in found(_METRIC) if "reference/sql/" not in place}  # functions of PostgreSQL
    assert len(named) > 20
    assert [place for place, name in named.items() if name not in exposed] == []


def test_named_log_events_exist() -> None:
    known = {str(event) for event in LogEvent}
    named = {place: name for place, name in found(_LOG_EVENT) if not name.endswith((".py", ".md"))}
    assert len(named) > 30
    assert [place for place, name in named.items() if name not in known and not _is_no_event(name)] == []


def _is_no_event(name: str) -> bool:
    return name.startswith(("release.", "deployment.", "activity."))  # short names of event types


def test_named_counts_of_verify_exist() -> None:
    page = (DOCS / "how-to" / "verify.md").read_text(encoding="utf-8")
    table = page.split("| count | meaning |")[1].split("\n\n")[0]
    named = re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)
    assert len(named) >= 5
    assert set(named) <= set(COUNTS)


@pytest.mark.parametrize("page", ["README.md", "SECURITY.md"])
def test_links_of_root_pages_exist(page: str) -> None:
    """Those of the other pages are checked by `make docs`."""
    links = _LINK.findall((ROOT / page).read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES_MAX
