"""The schemas of released versions, in `schemas/history/<version>/`, and the check that compares the present ones with
them: `python -m schemas.released --check | --record | --recorded`.

`--check` refuses a change that is not compatible with every released version. `--record`, a step of a release, copies
the schemas and the valid examples for the version of worker/version.py; `--recorded` checks that they are the present
ones.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.compatibility import Direction, Incompatibility, Rule, incompatibilities
from schemas.types import TYPE_PREFIX, EventType

_SCHEMAS = Path(__file__).parent
HISTORY = _SCHEMAS / "history"
_VERSION_FILE = _SCHEMAS.parent / "worker" / "version.py"
_USAGE = "usage: python -m schemas.released --check | --record | --recorded\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """`schema`: the event type."""

    version: str
    schema: str
    incompatibility: Incompatibility

    def __str__(self) -> str:
        found = self.incompatibility
        return (
            f"schemas/json/{self.schema}.json{found.pointer and '#'}{found.pointer}: not compatible with version "
            f"{self.version}: {found.detail} (rule {found.rule}: {found.rule.meaning})"
        )


def stated_version(file: Path = _VERSION_FILE) -> str:
    """The version that worker/version.py states; read as text, because `schemas` does not import the worker."""
    found = re.search(r'^__version__ = "([^"]+)"$', file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if found is None:
        raise ValueError(f"{file} states no version")
    return found[1]


def versions(history: Path = HISTORY) -> Sequence[str]:
    return sorted(path.name for path in history.iterdir())


def schemas_in(folder: Path) -> Mapping[str, Any]:
    """The JSON Schemas of a folder, by their event types."""
    return {path.stem: json.loads(path.read_bytes()) for path in sorted(folder.glob(f"{TYPE_PREFIX}*.json"))}


def refusals(history: Path = HISTORY, present: Path = _SCHEMAS / "json") -> Iterator[Refusal]:
    """Each change that is not compatible with a released version. A new event type is compatible."""
    new = schemas_in(present)
    for version in versions(history):
        for schema, old in schemas_in(history / version / "json").items():
            for incompatibility in _compared(old, new.get(schema), direction_of(schema)):
                yield Refusal(version=version, schema=schema, incompatibility=incompatibility)


def direction_of(event_type: str) -> Direction:
    return Direction.INPUT if event_type in set(EventType) else Direction.OUTPUT


def is_recorded(version: str, history: Path = HISTORY, present: Path = _SCHEMAS) -> bool:
    """Whether the history of the version is exactly the present schemas and valid examples."""
    return _contents(history / version) == _contents(present)


def record(version: str, history: Path = HISTORY, present: Path = _SCHEMAS) -> None:
    """Copy the schemas and the valid examples. FileExistsError: the version is recorded with other contents."""
    folder = history / version
    if folder.exists():
        if is_recorded(version, history, present):
            return
        raise FileExistsError(
            f"schemas/history/{version} exists and differs from the present schemas and examples; released versions "
            "are frozen: state a new version in worker/version.py (if this one is not released, delete the folder)"
        )
    for name, contents in _contents(present).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents)


def main(arguments: Sequence[str], *, history: Path = HISTORY, present: Path = _SCHEMAS) -> int:
    """Exit code: 0 success; 1 an incompatible change, or a version with other contents; 2 wrong usage."""
    problems: list[str] = []
    match list(arguments):
        case ["--check"]:
            problems += map(str, refusals(history, present / "json"))
        case ["--record"]:
            try:
                record(stated_version(), history, present)
            except FileExistsError as error:
                problems.append(str(error))
        case ["--recorded"]:
            version = stated_version()
            if not is_recorded(version, history, present):
                problems.append(f"schemas/history/{version} is not what is to be released; run make record")
        case _:
            sys.stderr.write(_USAGE)
            return 2
    sys.stderr.writelines(f"{problem}\n" for problem in problems)
    return 1 if problems else 0


def _contents(folder: Path) -> Mapping[str, bytes]:
    """The schemas of events and the valid examples, by their paths."""
    paths = [*folder.glob(f"json/{TYPE_PREFIX}*.json"), *folder.glob("examples/*/valid-*.json")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def _compared(old: Any, new: Any | None, direction: Direction) -> Sequence[Incompatibility]:
    if new is None:
        return [Incompatibility(rule=Rule.EVENT_TYPE, pointer="", detail="the event type is missing")]
    return incompatibilities(old, new, direction)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
