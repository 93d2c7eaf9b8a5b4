"""Pages that name tests as proof name tests that there are."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"

_NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")
_FILE = re.compile(r"`(tests/[\w/]+\.py)`")


def test_every_test_named_in_the_promises_exists() -> None:
    named = _NAMED.findall((ROOT / "docs" / "promises.md").read_text("utf-8"))
    assert len(named) > 30
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not re.search(rf"^(async )?def {name}\(", (TESTS / file).read_text("utf-8"), re.MULTILINE)
    ]
    assert missing == []


@pytest.mark.parametrize("page", ["SECURITY.md", "README.md", "docs/promises.md"])
def test_every_file_named_in_a_page_exists(page: str) -> None:
    assert [name for name in _FILE.findall((ROOT / page).read_text("utf-8")) if not (ROOT / name).is_file()] == []
