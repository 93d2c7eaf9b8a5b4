"""What a fuzzer once found, and what one would try first, for ever after: `decode` answers, the same twice, and fit."""

import random
from pathlib import Path

import pytest

from schemas.decode import EVENT_BYTES_MAX, decode
from tests.fuzzing.decode_fuzzer import CORPUS, Case, complaint, from_text, mutated, seeds, to_text
from tests.unit.schemas.records import headers

ACTIVITY = b"dev.rudder.activity.recorded.v1"
_BEFORE = (
    b'{"release_id":"0b6f1a52-5a4e-4c7f-9a34-0a6b3a0f5c11","organization_id":"a","activity_type":"x",'
    b'"activity_data":{"a":'
)
ROOM = EVENT_BYTES_MAX - len(_BEFORE) - 2


def data(filling: bytes) -> Case:
    """An event as large as it may be, full of something."""
    return _BEFORE + filling + b"}}", headers(type=ACTIVITY), 0


FULL: dict[str, Case] = {
    "numbers": data(b"[" + b"1," * ((ROOM - 3) // 2) + b"1]"),
    "floats": data(b"[" + b"1e9," * ((ROOM - 3) // 4) + b"1]"),
    "objects": data(b"[" + b"{}," * ((ROOM - 4) // 3) + b"{}]"),
    "arrays": data(b"[" + b"[]," * ((ROOM - 4) // 3) + b"[]]"),
    "texts beside a surrogate pair": data(b'["\\ud83d\\ude00",' + b'"",' * ((ROOM - 30) // 3) + b'""]'),
    "texts of U+0000": data(b"[" + b'"\\u0000",' * ((ROOM - 30) // 9) + b'""]'),
    "names": data(b"{" + b",".join(b'"%x":1' % number for number in range(90_000)) + b"}"),
    "long integers": data(b"[" + b",".join([b"9" * 4300] * (ROOM // 4302)) + b"]"),
    "one integer": data(b"9" * ROOM),
    "one fraction": data(b"0." + b"9" * (ROOM - 2)),
    "one tiny number": data(b"0." + b"0" * (ROOM - 20) + b"1e%d" % (ROOM - 30)),
    "backslashes": data(b'"' + b"\\\\" * ((ROOM - 2) // 2) + b'"'),
    "open brackets": (b"[" * EVENT_BYTES_MAX, headers(), 0),
    "brackets behind open texts": data(b"[" * 70 + b'"' * (ROOM - 100)),
    "parameters": (b"{}", (("content-type", b"application/json" + b";" * EVENT_BYTES_MAX),), 0),
    "headers": (b"{}", tuple((f"ce_{number}", b"\xff") for number in range(50_000)), 0),
    "one header repeated": (b"{}", (("ce_id", b"\xff"),) * 100_000, 0),
    "fractions of a second": (b"{}", headers(time=b"2026-03-01T09:30:00." + b"1" * EVENT_BYTES_MAX + b"Z"), 0),
}


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.json")), ids=lambda path: path.stem)
def test_corpus_records_are_decoded(path: Path) -> None:
    assert complaint(from_text(path.read_text("ascii"))) is None


@pytest.mark.parametrize("name", FULL)
def test_decoding_time_is_bounded_for_large_records(name: str) -> None:
    """Millions of small things, or one that is huge: each is looked at a bounded number of times."""
    assert complaint(FULL[name]) is None


def test_short_fuzzing_run_finds_nothing() -> None:
    """The fuzzer itself works; its long run is `make fuzz`."""
    chance, known = random.Random(7), seeds()
    cases = [mutated(chance.choice(known), known, chance) for _ in range(1_500)]
    assert [complaint(case) for case in cases if complaint(case)] == []


def test_corpus_case_survives_saving_and_loading() -> None:
    for case in ((None, (("a", None), ("ü\n", b"\xff")), -1), (b"\x00\xff", (), 5)):
        assert from_text(to_text(case)) == case


def test_fuzzer_detects_an_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(_record: object) -> None:
        raise RecursionError("too deep")

    monkeypatch.setattr("tests.fuzzing.decode_fuzzer.decode", raising)
    assert "RecursionError" in (complaint((b"", (), 0)) or "")
    monkeypatch.setattr("tests.fuzzing.decode_fuzzer.decode", decode)
    assert complaint((b"", (), 0)) is None
