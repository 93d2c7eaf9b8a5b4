"""Names, messages and pages use the words of docs/glossary.md, not the words that it replaced."""

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

COVERED = ("worker", "schemas", "docs", "README.md")

REPLACED = {
    "judge judges judged judging": "decide, Decider",
    "lane lanes": "key, slot, executor",
    "room ample": "in-flight budget, usage, low watermark",
    "tenure": "lease, partition state",
    "gate gates doubt doubts shut": "dependency monitor, suspect, available",
    "keeper keepers lifeline": "process supervisor, parent-death pipe",
    "conversation asking asked": "unit of work, query, load",
    "told": "logged",
    "trail trails": "commit lag",
    "misconfigured outrun": "ConfigurationError, StaleRead",
    "particulars": "optional fields",
    "likeness alike": "confusable key, collides",
    "drafts": "event input",
    "letter letters": "dead letter",
    "mishap mishaps harm harms harmed": "fault injection",
    "news": "event",
    "tries": "attempts",
    "whoever nobody somebody anybody nobody's somebody's": "a noun that names the party",
    "pinch": "a noun that names the fault",
}
"""The right-hand column of the glossary, and its replacement. Not allowed in names, messages, docstrings and pages."""

REPLACED_IN_NAMES = {
    "place places": "slot, location, path",
    "share": "usage",
    "watch": "probe, monitor",
    "entry entries": "activity",
    "said says say": "payload, fields",
    "publication publications": "outgoing record",
    "abandoned": "LeaseLost",
    "question questions": "query",
    "passed": "available",
    "meant": "query variant",
    "rights": "privileges",
    "pace": "linger",
    "ask asks": "load, probe, request",
    "words basis": "SQL fragments, read version",
    "forget tell tells knows": "drop, log, have",
}
"""Ordinary words of prose, but not allowed in identifiers."""

UNNAMED_PARTIES = {
    "whoever nobody somebody anybody everybody": "the publisher, the operator, another worker, another application",
}
"""Not allowed in docstrings and comments of tests either; allowed in their data, such as user names."""

UNCOVERED_TESTS = (
    "tests/end_to_end/test_breaker.py",
    "tests/fault_injection",
    "tests/unit/pipeline/test_breaker.py",
    "tests/unit/verify",
)
"""Not searched yet; remove a path once its docstrings name the parties."""

PHRASES = {"to be had": "available", "held back": "blocked", "holds back": "blocks", "hold back": "block"}

ALLOWED = {
    "ConnectionPoolEntry": "SQLAlchemy's name",
    "DeadLetter": "the field's own term",
    "dead letter": "the field's own term",
    "dead-letter": "the field's own term",
    "rejected_share_max": "a ratio in the setting RUDDER_BREAKER_REJECTED_SHARE_MAX",
    "dead_letter": "the field's own term",
    "DEAD_LETTER": "the field's own term",
    "Dead letter": "the field's own term",
    "etters that collations": "of the alphabet",
    " letters, digits": "of the alphabet",
    "ASCII letters": "of the alphabet",
}
"""Removed from a text before it is searched, each with its reason."""


def covered_files(suffix: str) -> list[Path]:
    found: list[Path] = []
    for part in COVERED:
        path = REPOSITORY / part
        found += sorted(path.rglob(f"*{suffix}")) if path.is_dir() else [path] if path.suffix == suffix else []
    return [path for path in found if "_build" not in path.parts]


def covered_tests() -> list[Path]:
    uncovered = [REPOSITORY / path for path in UNCOVERED_TESTS]
    return [
        path
        for path in sorted((REPOSITORY / "tests").rglob("*.py"))
        if not any(path.is_relative_to(part) for part in uncovered)
    ]


def words_of(*tables: dict[str, str]) -> dict[str, str]:
    return {word: use for table in tables for words, use in table.items() for word in words.split()}


TEXT_WORDS = words_of(REPLACED)
NAME_WORDS = words_of(REPLACED, REPLACED_IN_NAMES)
PARTY_WORDS = words_of(UNNAMED_PARTIES)


def _any_of(words: Iterable[str]) -> re.Pattern[str]:
    return re.compile(rf"\b({'|'.join(map(re.escape, words))})\b", re.IGNORECASE)


_TEXT = _any_of([*TEXT_WORDS, *PHRASES])
_PARTY = _any_of(PARTY_WORDS)
_ALLOWED = re.compile("|".join(map(re.escape, sorted(ALLOWED, key=len, reverse=True))))
_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def in_text(text: str, pattern: re.Pattern[str] = _TEXT) -> Iterator[tuple[int, str]]:
    """The line and the word of each match, by default of each replaced word or phrase."""
    for number, line in enumerate(text.splitlines(), start=1):
        for match in pattern.finditer(_ALLOWED.sub(" ", line)):
            yield number, match[0].lower()


def in_names(source: str) -> Iterator[tuple[int, str]]:
    """The line and the word of each replaced word that is part of an identifier."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME:
            for part in _PART.findall(_ALLOWED.sub(" ", token.string)):
                if part.lower() in NAME_WORDS:
                    yield token.start[0], part.lower()


def comments_of(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def texts_of(source: str) -> Iterator[tuple[int, str]]:
    """The comments and the string literals of a module, docstrings included, each with its first line's number."""
    yield from comments_of(source)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def documentation_of(source: str) -> Iterator[tuple[int, str]]:
    """The comments and the docstrings of a module, those of variables included, without other string literals."""
    yield from comments_of(source)
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, text
            case _:
                pass


def report(path: Path, found: Iterable[tuple[int, str]], use: dict[str, str]) -> list[str]:
    name = path.relative_to(REPOSITORY)
    return [f"{name}:{number}: {word}; use: {use[word]}" for number, word in found]


@pytest.mark.parametrize("path", covered_files(".py"), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_code_uses_the_glossary(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    use = NAME_WORDS | PHRASES
    texts = [(first + line - 1, word) for first, text in texts_of(source) for line, word in in_text(text)]
    assert report(path, in_names(source), use) + report(path, texts, use) == []


@pytest.mark.parametrize("path", covered_tests(), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_docstrings_of_tests_name_the_parties(path: Path) -> None:
    texts = documentation_of(path.read_text(encoding="utf-8"))
    found = [(first + line - 1, word) for first, text in texts for line, word in in_text(text, _PARTY)]
    assert report(path, found, PARTY_WORDS) == []


@pytest.mark.parametrize("path", covered_files(".md"), ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_pages_use_the_glossary(path: Path) -> None:
    assert report(path, in_text(path.read_text(encoding="utf-8")), TEXT_WORDS | PHRASES) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("tenure = 1", ["tenure"]),
        ("class LaneKeeper: ...", ["lane", "keeper"]),
        ("def f(place): ...", ["place"]),
        ("x.hand_out_news()", ["news"]),
        ("gateway = translate = 1", []),
        ("rejected_share_max = 1", []),
    ],
)
def test_replaced_word_in_a_name_is_found(source: str, found: list[str]) -> None:
    assert [word for _, word in in_names(source)] == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('"""Whoever asks."""', ["whoever"]),
        ("x = f'the tenure of {y}'", ["tenure"]),
        ("# it cannot be had: to be had later", ["to be had"]),
        ('raise Error("held\\nback")', []),
        ('"a dead letter with ASCII letters"', []),
    ],
)
def test_replaced_word_in_a_text_is_found(source: str, found: list[str]) -> None:
    assert [word for _, text in texts_of(source) for _, word in in_text(text)] == found


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('def f():\n    """Nobody\'s."""', ["nobody"]),
        ('NUMBER = 1\n"""For\neverybody."""', ["everybody"]),
        ("x = 1  # Somebody or anybody", ["somebody", "anybody"]),
        ('created_by = "nobody"\nnobody = pwd.getpwnam("nobody")', []),
    ],
)
def test_unnamed_party_in_documentation_is_found(source: str, found: list[str]) -> None:
    assert [word for _, text in documentation_of(source) for _, word in in_text(text, _PARTY)] == found


def test_uncovered_tests_exist() -> None:
    assert [path for path in UNCOVERED_TESTS if not (REPOSITORY / path).exists()] == []


def test_every_exception_is_needed() -> None:
    everything = "\n".join(path.read_text(encoding="utf-8") for path in covered_files(".py") + covered_files(".md"))
    assert [phrase for phrase in ALLOWED if phrase not in everything] == []
