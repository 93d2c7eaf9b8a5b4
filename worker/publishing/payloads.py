"""Payloads of foreign sources in files, as records: for commands that show what the worker would make of them.

A file has one JSON text, or one on each line (`.jsonl`). The request's headers stand in a file beside it, with
`.headers.json` for its ending, or are given by the caller.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from schemas.adapters.recognition import FORMAT_HEADER
from schemas.record import Record
from worker.rules.errors import ConfigurationError

PAYLOAD_BYTES_MAX: Final = 64 * 1_048_576
"""Of a file."""
_HEADERS_ENDING: Final = ".headers.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """`name`: the file, and the line of one with several."""

    name: str
    record: Record


def payloads(
    path: Path, *, headers: Sequence[str] = (), format: str | None = None, topic: str = "", timestamp_ms: int
) -> Iterator[Payload]:
    """The payloads of a file. `headers`: each `Name: value`. `format`: the header `rudder-format`.

    Raises:
        ConfigurationError: the file cannot be read, or a header has no colon.
    """
    if path.name.endswith(_HEADERS_ENDING):  # of a pattern such as *.json
        return
    raw = _read(path)
    given = [*_headers_beside(path), *map(_header, headers)]
    if format is not None:
        given.append((FORMAT_HEADER, format))
    texts = [line for line in raw.splitlines() if line.strip()] if path.suffix == ".jsonl" else [raw]
    for number, text in enumerate(texts, start=1):
        yield Payload(
            name=f"{path}:{number}" if path.suffix == ".jsonl" else str(path),
            record=Record(
                topic=topic,
                partition=0,
                offset=number - 1,
                timestamp_ms=timestamp_ms,
                key=None,
                value=text,
                headers=tuple((name, value.encode()) for name, value in given),
            ),
        )


def header_file(path: Path) -> Path:
    """The file beside a payload with the request's headers."""
    return path.with_name(path.stem + _HEADERS_ENDING)


def _headers_beside(path: Path) -> Iterator[tuple[str, str]]:
    beside = header_file(path)
    if not beside.is_file():
        return
    try:
        headers = json.loads(_read(beside))
    except ValueError as error:
        raise ConfigurationError(f"{beside} is not JSON: {error}") from error
    if not isinstance(headers, Mapping):
        raise ConfigurationError(f"{beside} is not an object of headers")
    for name, value in headers.items():
        for one in value if isinstance(value, list) else [value]:
            yield name, str(one)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise ConfigurationError(f"--header {text}: write it as 'Name: value'")
    return name.strip(), value.strip()


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(PAYLOAD_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from error
    if len(raw) > PAYLOAD_BYTES_MAX:
        raise ConfigurationError(f"{path} has more than {PAYLOAD_BYTES_MAX} bytes")
    return raw
