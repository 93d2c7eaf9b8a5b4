"""docs/promises.md names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"

_NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")


def test_every_test_named_in_the_promises_exists() -> None:
    named = _NAMED.findall((ROOT / "docs" / "promises.md").read_text("utf-8"))
    assert len(named) > 30
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not re.search(rf"^(async )?def {name}\(", (TESTS / file).read_text("utf-8"), re.MULTILINE)
    ]
    assert missing == []
