"""The tables and diagrams of the pages, generated from the code.

`make reference` has cog run the Python between `[[[cog` and `]]]` in docs/reference/ and replace what stands between
`]]]` and `[[[end]]]` by the text that it returns. `make check` fails where that text is another.
"""

import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Literal, TypeVar, get_args, get_origin

from prometheus_client import Counter
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from schemas.json_schemas import FOLDER
from schemas.reasons import Reason
from schemas.types import EventType, StateEventType, StatusEventType
from worker.environment_variables import PREFIX, SECRETS
from worker.rules.transitions import DEPLOYMENT_TRANSITIONS, RELEASE_TRANSITIONS
from worker.settings import Settings
from worker.telemetry import METRICS, LogEvent, Metric
from worker.verify.findings import Kind

_Status = TypeVar("_Status", bound=StrEnum)
_SCHEMAS = f"../../{FOLDER.parent.name}/{FOLDER.name}"


def settings() -> str:
    rows = (
        (f"`{PREFIX}{name.upper()}`", _default(field), _meaning(name, field))
        for name, field in Settings.model_fields.items()
    )
    return _table(("setting", "default", "meaning"), rows)


def metrics() -> str:
    return _table(("metric", "kind", "labels", "meaning"), map(_metric_row, METRICS))


def log_events() -> str:
    return _table(("event", "meaning"), ((f"`{event}`", event.meaning) for event in LogEvent))


def reasons() -> str:
    return _table(("reason", "meaning"), ((f"`{reason}`", reason.meaning) for reason in Reason))


def findings() -> str:
    return _table(("finding", "meaning"), ((f"`{kind}`", kind.meaning) for kind in Kind))


def event_types_in() -> str:
    return _event_types(EventType)


def event_types_out() -> str:
    return _event_types((*StatusEventType, *StateEventType))


def deployment_statuses() -> str:
    return _state_diagram(DEPLOYMENT_TRANSITIONS)


def release_statuses() -> str:
    return _state_diagram(RELEASE_TRANSITIONS)


def commands() -> str:
    """What Typer's own command writes, one heading lower; its usage lines are no commands to type."""
    command = [sys.executable, "-m", "typer", "worker.cli.app", "utils", "docs", "--name", "rudder-worker"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    text = re.sub(r"^#", "##", text, flags=re.MULTILINE)
    return re.sub(r"^```console\n\$ ", "```text\n", text, flags=re.MULTILINE).strip()


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    ruled = ["---"] * len(heads)
    return "\n".join("| " + " | ".join(map(_cell, row)) + " |" for row in (heads, ruled, *rows))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


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


def _event_types(types: Iterable[StrEnum]) -> str:
    rows = ((f"`{name}`", f"[JSON Schema]({_SCHEMAS}/{name}.json)") for name in types)
    return _table(("event type", "schema"), rows)


def _state_diagram(transitions: Mapping[_Status, frozenset[_Status]]) -> str:
    lines = ["```mermaid", "stateDiagram-v2"]
    for current, allowed in transitions.items():
        # In the order of the table: a set has none, and a page should not change by itself.
        lines += [f"    {current} --> {wanted}" for wanted in transitions if wanted in allowed]
        if not allowed:
            lines.append(f"    {current} --> [*]")
    return "\n".join([*lines, "```"])
