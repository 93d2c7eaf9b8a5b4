"""A long run of mutated records through `decode`: `make fuzz ARGS="--seconds 3600 --seed 1"`.

It starts from the examples and the regression corpus, and mutates bytes, tokens and headers. A record that makes
`decode` raise, answer twice differently, answer with what no row could hold, or take longer than its size explains, is
written to the corpus, where tests/unit/schemas/test_fuzz_corpus.py runs it for ever after.
"""

import argparse
import base64
import hashlib
import json
import random
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from schemas.decode import decode
from schemas.event import Event, Invalid
from schemas.record import Headers, Record
from schemas.text import utf16_units
from schemas.types import EventType

CORPUS = Path(__file__).parent / "corpus"
EXAMPLES = Path(__file__).parents[2] / "schemas" / "examples"
SLOW_SECONDS = 10.0
"""Of processor time. The worst record of a megabyte that is known takes less than one."""

_TOKENS = [
    b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"\\u0000", b"\\ud800", b"\\udc00", b"\\u0061", b"\x00", b"\xff",
    b"\xef\xbb\xbf", b"\xfe\xff", b"+AGE-", b"\xed\xa0\x80", b"\xc0\x80", b"\xe2\x80\xae", b"1e400", b"-1e400",
    b"1e-400", b"-0", b"01", b"1.", b"NaN", b"Infinity", b"9" * 4301, b"9" * 100_000, b"0." + b"1" * 100_000,
    b"9223372036854775808", b"2147483648", b"true", b"null", b'"a":1,"a":2', b"[" * 70, b'{"a":' * 70, b"[]," * 1_000,
    b'"data_base64":"e30=",', b'"specversion":"1.0",', b'"time":"9999-12-31T23:59:60Z",', b"\r\n", b"\xf0\x9d\x84\x9e",
]  # fmt: skip
_NAMES = [
    "ce_id",
    "ce_source",
    "ce_type",
    "ce_time",
    "ce_specversion",
    "content-type",
    "CE_ID",
    "ce_",
    "rudder-redrive",
]
_VALUES = [
    b"1.0", b"", b"\xff", b"x" * 300, b"\xf0\x9d\x84\x9e" * 128, b"application/json", b"application/cloudevents",
    b"application/cloudevents+json; charset=utf-7", b"application/cloudevents-batch+json", b"text/xml", b";" * 10_000,
    b"2026-03-01T09:30:00Z", b"2026-02-30T00:00:00Z", b"a\r\nb", b"\x1b[2J", *[kind.encode() for kind in EventType],
]  # fmt: skip

Case = tuple[bytes | None, Headers, int]
"""Value, headers, timestamp."""


def to_text(case: Case) -> str:
    """A case as the corpus keeps it: one JSON object, its bytes in base64."""
    value, headers, timestamp_ms = case

    def text(raw: bytes | None) -> str | None:
        return None if raw is None else base64.b64encode(raw).decode()

    kept = {"value": text(value), "headers": [[name, text(raw)] for name, raw in headers], "timestamp_ms": timestamp_ms}
    return json.dumps(kept, indent=1) + "\n"


def from_text(text: str) -> Case:
    kept = json.loads(text)

    def raw(value: str | None) -> bytes | None:
        return None if value is None else base64.b64decode(value)

    return raw(kept["value"]), tuple((name, raw(value)) for name, value in kept["headers"]), kept["timestamp_ms"]


def complaint(case: Case) -> str | None:
    """What is wrong with `decode`'s answer to the case; None if nothing is."""
    record = _record(case)
    began_seconds = time.process_time()
    try:
        answer = decode(record)
        again = decode(record)
    except BaseException as error:  # that is what is looked for
        if isinstance(error, KeyboardInterrupt):
            raise
        return "".join(traceback.format_exception(error))
    if time.process_time() - began_seconds > 2 * SLOW_SECONDS:
        return "it takes too long"
    if answer != again:
        return f"two answers: {answer!r}, {again!r}"
    return _unfit(answer)


def _record(case: Case) -> Record:
    value, headers, timestamp_ms = case
    return Record(topic="t", partition=0, offset=0, timestamp_ms=timestamp_ms, key=None, value=value, headers=headers)


def _reason(case: Case) -> str:
    answer = decode(_record(case))
    return answer.reason.value if isinstance(answer, Invalid) else "event"


def _unfit(answer: Event | Invalid) -> str | None:
    if not isinstance(answer, Event | Invalid):
        return f"neither an event nor a rejection: {answer!r}"
    for text, units_max in ((answer.source, 1024), (answer.id, 255), (answer.type, 255)):
        if text is not None and not 0 < utf16_units(text) <= units_max:
            return f"an attribute that does not fit: {text!r}"
    if isinstance(answer, Invalid) and not (0 < utf16_units(answer.detail) <= 1000 and answer.detail.isprintable()):
        return f"a detail that does not fit: {answer.detail!r}"
    if isinstance(answer, Invalid) and (answer.source is None) != (answer.id is None):
        return "half an identity"
    if isinstance(answer, Event) and "\0" in answer.data.model_dump_json():
        return "U+0000 gets through"
    return None


def seeds() -> list[Case]:
    """The examples in both modes, and what was kept."""
    found: list[Case] = [(None, (), 0), (b"", (), -1)]
    for path in sorted(EXAMPLES.glob("*/*.json")):
        raw = path.read_bytes()
        found.append((raw, (("content-type", b"application/cloudevents+json"),), 0))
        try:
            event = json.loads(raw)
            attributes = ((f"ce_{name}", str(value).encode()) for name, value in event.items() if name != "data")
            found.append((json.dumps(event.get("data")).encode(), tuple(attributes), 0))
        except ValueError:  # an example of what is no JSON, or no UTF-8
            continue
    return [*found, *(from_text(path.read_text("ascii")) for path in sorted(CORPUS.glob("*.json")))]


def mutated(case: Case, others: Sequence[Case], chance: random.Random) -> Case:
    value, headers, timestamp_ms = case
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        if chance.random() < 0.2:
            headers = _mutated_headers(headers, chance)
        else:
            value = chance.choice(_MUTATIONS)(value or b"", others, chance)
    if chance.random() < 0.05:
        timestamp_ms = chance.choice((-1, 0, 2**63 - 1, -(2**63), 253_402_300_800_000))
    return value, headers, timestamp_ms


def _mutated_headers(headers: Headers, chance: random.Random) -> Headers:
    some = list(headers)
    what = chance.randrange(4)
    if what == 0 and some:
        some.pop(chance.randrange(len(some)))
    elif what == 1 and some:
        some.append(chance.choice(some))
    elif what == 2 and some:
        index = chance.randrange(len(some))
        some[index] = (some[index][0], chance.choice([None, *_VALUES]))
    else:
        some.append((chance.choice(_NAMES), chance.choice([None, *_VALUES])))
    return tuple(some)


def _insert(value: bytes, _others: Sequence[Case], chance: random.Random) -> bytes:
    at = chance.randrange(len(value) + 1)
    return value[:at] + chance.choice(_TOKENS) + value[at:]


def _replace(value: bytes, _others: Sequence[Case], chance: random.Random) -> bytes:
    at = chance.randrange(len(value) + 1)
    return value[:at] + chance.choice(_TOKENS) + value[at + chance.randrange(20) :]


def _flip(value: bytes, _others: Sequence[Case], chance: random.Random) -> bytes:
    if not value:
        return b"\0"
    at = chance.randrange(len(value))
    return value[:at] + bytes([value[at] ^ (1 << chance.randrange(8))]) + value[at + 1 :]


def _cut(value: bytes, _others: Sequence[Case], chance: random.Random) -> bytes:
    first, last = sorted((chance.randrange(len(value) + 1), chance.randrange(len(value) + 1)))
    return value[:first] + value[last:] if chance.random() < 0.5 else value[first:last]


def _repeat(value: bytes, _others: Sequence[Case], chance: random.Random) -> bytes:
    first, last = sorted((chance.randrange(len(value) + 1), chance.randrange(len(value) + 1)))
    return (value[:first] + value[first:last] * chance.choice((2, 3, 100)) + value[last:])[:1_100_000]


def _splice(value: bytes, others: Sequence[Case], chance: random.Random) -> bytes:
    other = chance.choice(others)[0] or b""
    return value[: chance.randrange(len(value) + 1)] + other[chance.randrange(len(other) + 1) :]


def _encode(value: bytes, _others: Sequence[Case], chance: random.Random) -> bytes:
    text = value.decode("utf-8", "replace")
    return text.encode(chance.choice(("utf-16", "utf-16-le", "utf-32", "utf-7", "utf-8-sig", "latin-1")), "replace")


_MUTATIONS: tuple[Callable[[bytes, Sequence[Case], random.Random], bytes], ...] = (
    _insert, _insert, _replace, _replace, _flip, _flip, _cut, _repeat, _splice, _encode,
)  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 nothing was found, 1 a case was written to the corpus."""
    parser = argparse.ArgumentParser(prog="make fuzz")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=None, help="of the run; a new one if not given")
    given = parser.parse_args(arguments)
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(2**32)
    chance = random.Random(seed)
    known = seeds()
    kept, executions, found, reasons = list(known), 0, 0, dict[str, int]()
    give_up_at_seconds = time.monotonic() + given.seconds
    print(f"seed {seed}, {len(known)} cases to begin with", flush=True)
    while time.monotonic() < give_up_at_seconds:
        case = mutated(chance.choice(kept), kept, chance)
        executions += 1
        if problem := complaint(case):
            found += 1
            path = CORPUS / f"{hashlib.sha256(to_text(case).encode()).hexdigest()[:16]}.json"
            path.write_text(to_text(case), encoding="ascii")
            print(f"{path}: {problem}", flush=True)
        elif chance.random() < 0.02 and len(case[0] or b"") < 20_000:
            kept.append(case)  # mutants of mutants go further; a few thousand are plenty
            if len(kept) > len(known) + 2_000:
                kept.pop(len(known) + chance.randrange(2_000))
        if executions % 100 == 1:
            reason = _reason(case)
            reasons[reason] = reasons.get(reason, 0) + 1
    print(f"seed {seed}: {executions} records, {found} found; one in a hundred: {dict(sorted(reasons.items()))}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
