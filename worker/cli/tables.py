"""Tables for people on standard output: no line is longer than the terminal is wide."""

import shutil
import sys
import unicodedata
from collections.abc import Sequence

from schemas.detail import printable

_GAP = "  "


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their longest cell. On a terminal, lines are cut at its width; else they are whole. Control
    characters are printed as escapes.
    """
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in table_lines(heads, rows, width=width):
        print(line)


def table_lines(heads: Sequence[str], rows: Sequence[Sequence[str]], *, width: int | None) -> list[str]:
    """`width`: of the terminal, in columns; None: lines have any length."""
    texts = [[printable(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(map(columns, column)) for column in zip(*texts, strict=True)]
    lines = [_GAP.join(_padded(cell, wide) for cell, wide in zip(row, widths, strict=True)).rstrip() for row in texts]
    return lines if width is None else [cut(line, width) for line in lines]


def columns(text: str) -> int:
    """How many columns of a terminal the text takes."""
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def cut(text: str, width: int) -> str:
    """The text, or as much of it as fits before `…`."""
    if columns(text) <= width:
        return text
    taken, used = [], 0
    for char in text:
        used += _columns_of(char)
        if used > width - 1:
            break
        taken.append(char)
    return "".join(taken) + "…"


def _columns_of(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _padded(text: str, width: int) -> str:
    return text + " " * (width - columns(text))
