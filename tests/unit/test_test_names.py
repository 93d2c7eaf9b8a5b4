"""The names of tests: `test_<subject>_<behaviour>`, short enough for one line of a report."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

_CHARS_MAX = 70


@pytest.mark.parametrize("folder", sorted(path.name for path in TESTS.iterdir() if any(path.glob("**/test_*.py"))))
def test_no_test_name_is_longer_than_70_characters(folder: str) -> None:
    names = [
        node.name
        for path in sorted((TESTS / folder).rglob("test_*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]
    assert names
    assert [name for name in names if len(name) > _CHARS_MAX] == []
