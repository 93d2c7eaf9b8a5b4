"""Tables and diagrams of Markdown pages, generated from the code: `python -m worker.cli.reference [--check] PAGE...`.

This module replaces the text between `<!-- generated: settings -->` and `<!-- end generated -->`, each on a line of its
own, and nothing else. CI checks that the pages are current.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Literal, TypeVar, get_args, get_origin

from prometheus_client import Counter
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from schemas.json_schemas import FOLDER
from schemas.reasons import Reason
from schemas.types import EventType, StatusEventType
from worker.cli.exits import EXIT_PROBLEM, EXIT_USAGE, complain
from worker.environment_variables import PREFIX, SECRETS
from worker.rules.transitions import DEPLOYMENT_TRANSITIONS, RELEASE_TRANSITIONS
from worker.settings import Settings
from worker.telemetry import METRICS, LogEvent, Metric
from worker.verify.findings import Kind

_Status = TypeVar("_Status", bound=StrEnum)
_START = "<!-- generated: "
_START_END = " -->"
_END = "<!-- end generated -->"
_USAGE = "usage: python -m worker.cli.reference [--check] PAGE..."


class MarkersBroken(Exception):
    """A marker has an unknown name, or no counterpart. The message: which one, and its line."""


def blocks() -> Mapping[str, str]:
    """The text of every block, by the name in its marker."""
    return {
        "settings": _settings(),
        "metrics": _table(("metric", "kind", "labels", "meaning"), map(_metric_row, METRICS)),
        "log-events": _table(("event", "meaning"), ((f"`{event}`", event.meaning) for event in LogEvent)),
        "reasons": _table(("reason", "meaning"), ((f"`{reason}`", reason.meaning) for reason in Reason)),
        "findings": _table(("finding", "meaning"), ((f"`{kind}`", kind.meaning) for kind in Kind)),
        "event-types": _event_types(),
        "deployment-states": _state_diagram(DEPLOYMENT_TRANSITIONS),
        "release-states": _state_diagram(RELEASE_TRANSITIONS),
    }


def renewed(page: str, texts: Mapping[str, str]) -> tuple[str, Sequence[str]]:
    """The page with the blocks of `texts`, and the names of the blocks that differed.

    Raises:
        MarkersBroken: an unknown name, a block that does not end, an end without a block.
    """
    kept: list[str] = []
    stale: list[str] = []
    opened: tuple[str, int] | None = None
    found: list[str] = []
    for number, line in enumerate(page.splitlines(keepends=True), start=1):
        marker = line.strip()
        if marker.startswith(_START.rstrip(" :")):
            if opened is not None:
                raise MarkersBroken(f"line {number}: a block begins inside of `{opened[0]}`, of line {opened[1]}")
            opened, found = (_named(marker, number, known=texts), number), []
        elif marker == _END:
            if opened is None:
                raise MarkersBroken(f"line {number}: a block ends that did not begin")
            text = f"\n{texts[opened[0]].strip()}\n\n"  # Markdown wants a blank line between HTML and a table
            if "".join(found) != text:
                stale.append(opened[0])
            kept.append(text)
            opened = None
        elif opened is not None:
            found.append(line)
            continue
        kept.append(line)
    if opened is not None:
        raise MarkersBroken(f"line {opened[1]}: the block `{opened[0]}` does not end")
    return "".join(kept), stale


def main(arguments: Sequence[str]) -> int:
    """Update the pages; with `--check` only report stale blocks.

    Exit code: 0 success, 1 a block is stale, 2 wrong markers, an unreadable page or wrong usage.
    """
    check = "--check" in arguments
    paths = [Path(argument) for argument in arguments if argument != "--check"]
    if not paths or any(str(path).startswith("-") for path in paths):
        print(_USAGE, file=sys.stderr)
        return EXIT_USAGE
    texts = blocks()
    code = 0
    for path in paths:
        try:
            page = path.read_text(encoding="utf-8")
            renewed_page, stale = renewed(page, texts)
            if not check and stale:
                path.write_text(renewed_page, encoding="utf-8")
        except (OSError, UnicodeDecodeError, MarkersBroken) as error:
            complain(f"{path}: {error}")
            return EXIT_USAGE
        for name in stale:
            print(f"{'stale' if check else 'renewed'}: {path}: {name}")
        if check and stale:
            code = EXIT_PROBLEM
    return code


def _named(marker: str, number: int, *, known: Iterable[str]) -> str:
    name = marker.removeprefix(_START).removesuffix(_START_END)
    if name not in known or marker != f"{_START}{name}{_START_END}":
        raise MarkersBroken(f"line {number}: {marker} names no block; there are {', '.join(sorted(known))}")
    return name


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    ruled = ["---"] * len(heads)
    return "\n".join("| " + " | ".join(map(_cell, row)) + " |" for row in (heads, ruled, *rows))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _settings() -> str:
    return _table(
        ("setting", "default", "meaning"),
        (
            (f"`{PREFIX}{name.upper()}`", _default(field), _meaning(name, field))
            for name, field in Settings.model_fields.items()
        ),
    )


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return f"`{','.join(value) if isinstance(value, tuple) else value}`"


def _meaning(name: str, field: FieldInfo) -> str:
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    parts = [
        field.description or "",
        *(["one of " + ", ".join(f"`{choice}`" for choice in choices)] if choices else []),
        *([f"also `{PREFIX}{name.upper()}_FILE`"] if name in SECRETS else []),
    ]
    return "; ".join(parts)


def _metric_row(metric: Metric) -> tuple[str, str, str, str]:
    # Prometheus names a counter with this suffix, and the client library adds it.
    name = f"{metric.name.removesuffix('_total')}_total" if metric.kind is Counter else metric.name
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"`{name}`", metric.kind.__name__.lower(), labels, metric.meaning


def _event_types() -> str:
    rows = [
        *(("in", event_type) for event_type in EventType),
        *(("out", status_type) for status_type in StatusEventType),
    ]
    folder = f"{FOLDER.parent.name}/{FOLDER.name}"
    return _table(
        ("direction", "event type", "schema"),
        ((way, f"`{event_type}`", f"[JSON Schema]({folder}/{event_type}.json)") for way, event_type in rows),
    )


def _state_diagram(transitions: Mapping[_Status, frozenset[_Status]]) -> str:
    lines = ["```mermaid", "stateDiagram-v2"]
    for current, allowed in transitions.items():
        # In the order of the table: a set has none, and a page should not change by itself.
        lines += [f"    {current} --> {wanted}" for wanted in transitions if wanted in allowed]
        if not allowed:
            lines.append(f"    {current} --> [*]")
    return "\n".join([*lines, "```"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
