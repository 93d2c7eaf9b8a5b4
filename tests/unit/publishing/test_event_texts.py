"""Where one event of an input ends and the next begins, for all that people and programs write."""

import json
from collections.abc import Iterator

import pytest

from schemas.json_text import MalformedJsonError, parse
from tests.unit.schemas.records import ENVELOPE, RELEASE_DATA
from worker.publishing.event_texts import EventInput, event_inputs

EVENT = {**ENVELOPE, "data": dict(RELEASE_DATA)}
LINE = json.dumps(EVENT)
PRETTY = json.dumps(EVENT, indent=2)
FLAT = json.dumps(EVENT, indent=0)
BROKEN = LINE[:60]
BROKEN_PRETTY = PRETTY.replace('"source":', '"source"')
WRAPPED = LINE.replace(', "data": {', ',\n  "data": {')


def found(text: str | bytes) -> list[tuple[str, bool]]:
    """Each draft's place without the name, and whether it is the sound event."""
    raw = text.encode() if isinstance(text, str) else text
    return [
        (event_input.location.removeprefix("x:"), is_event(event_input))
        for event_input in event_inputs("x", raw.splitlines(keepends=True))
    ]


def is_event(event_input: EventInput) -> bool:
    try:
        return parse(event_input.value) == EVENT
    except MalformedJsonError:
        return False


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("\n \r\n\t", []),
        (LINE, [("1", True)]),
        (f"{LINE}\n{LINE}\n", [("1", True), ("2", True)]),
        (f"\n{LINE}\r\n\r\n  {LINE}\r\n", [("2", True), ("4", True)]),
        (f"\ufeff{LINE}\n{LINE}", [("1", True), ("2", True)]),
        (f"{LINE}\n\ufeff{LINE}", [("1", True), ("2", True)]),
        (PRETTY, [("1", True)]),
        (f"\n{PRETTY}", [("2", True)]),
        (FLAT, [("1", True)]),
        (WRAPPED, [("1", True)]),
        (f"{PRETTY}\n{PRETTY}", [("1", True), ("12", True)]),
        (f"{LINE}\n{PRETTY}\n{LINE}", [("1", True), ("2", True), ("13", True)]),
        (LINE + LINE, [("1", True), ("1", True)]),
        (f"{LINE} {LINE}", [("1", True), ("1", True)]),
        ("[]", []),
        (f"[{LINE}, {LINE}]", [("1[0]", True), ("1[1]", True)]),
        (f"[\n{LINE},\n{LINE}\n]", [("1[0]", True), ("1[1]", True)]),
        (json.dumps([EVENT, EVENT], indent=4), [("1[0]", True), ("1[1]", True)]),
        (f"[{LINE}]\n[{LINE}]", [("1[0]", True), ("2[0]", True)]),
    ],
    ids=lambda value: None if isinstance(value, str) else str(len(value)),
)
def test_input_is_split_into_its_events(text: str, expected: list[tuple[str, bool]]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{BROKEN}\n{LINE}\n{LINE}", [("1", False), ("2", True), ("3", True)]),
        (f"{BROKEN}\n{BROKEN}\n{LINE}", [("1", False), ("2", False), ("3", True)]),
        (f"{LINE}\n{BROKEN}\n{LINE}", [("1", True), ("2", False), ("3", True)]),
        (f"{LINE}\n{BROKEN}", [("1", True), ("2", False)]),
        (f"not json\n{LINE}", [("1", False), ("2", True)]),
        ("not json\nnor this", [("1", False), ("2", False)]),
        (f"{LINE}}}\n{LINE}", [("1", False), ("2", True)]),
        (f'{{"id": "a", "data":\n{LINE}\n{LINE}', [("1", False), ("2", True), ("3", True)]),
        (f'{{"id": "unterminated\n{LINE}', [("1", False), ("2", True)]),
        (BROKEN_PRETTY, [("1", False)]),
        (f"{BROKEN_PRETTY}\n{PRETTY}", [("1", False), ("12", True)]),
        (PRETTY[:-2], [("1", False)]),
        (WRAPPED[:-1], [("1", False)]),
        (f"[{LINE}, {BROKEN}]", [("1", False)]),
        (f"{LINE}{LINE}{{", [("1", False)]),
        (b"\x00\n\xff\xfe\n" + LINE.encode(), [("1", False), ("2", False), ("3", True)]),
        (LINE.encode("utf-16"), [("1", False)]),
    ],
)
def test_broken_text_hides_none_after_it(text: str | bytes, expected: list[tuple[str, bool]]) -> None:
    """A broken first line of JSON lines made all lines one broken event."""
    assert found(text) == expected


def test_broken_line_keeps_its_text() -> None:
    assert list(event_inputs("a.jsonl", [b"\tbroken \r\n", b'{"b":2}'])) == [
        EventInput(location="a.jsonl:1", value=b"broken"),
        EventInput(location="a.jsonl:2", value=b'{"b":2}'),
    ]


@pytest.mark.parametrize("text", [LINE, PRETTY])
def test_event_is_yielded_before_the_next_is_read(text: str) -> None:
    """Standard input may stay open for ever: the first event must not wait for the second."""

    def lines() -> Iterator[bytes]:
        yield from text.encode().splitlines(keepends=True)
        raise AssertionError("nobody asked for more")

    assert is_event(next(event_inputs("-", lines())))


def test_unclosed_lines_are_read_in_linear_time() -> None:
    """Work that grows with the square of the input would take hours here."""
    lines = [b'{"a":\n'] * 100_000
    assert sum(1 for _ in event_inputs("x", lines)) == 100_000
