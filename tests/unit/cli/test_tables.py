"""Tables on a terminal."""

from worker.cli.tables import columns, cut, table_lines


def test_columns_are_aligned() -> None:
    """By the columns that characters take, not by their number."""
    lines = table_lines(["NAME", "N"], [["倉庫", "1"], ["a", "22"], ["Zoe\u0308", "3"]], width=None)
    assert lines == ["NAME  N", "倉庫  1", "a     22", "Zoe\u0308   3"]


def test_lines_are_not_wider_than_the_terminal() -> None:
    lines = table_lines(["NAME"], [["倉庫倉庫"], ["abcdefgh"], ["abcdefg"]], width=7)
    assert lines == ["NAME", "倉庫倉…", "abcdef…", "abcdefg"]
    assert max(map(columns, lines)) == 7
    assert cut("倉庫", 3) == "倉…"


def test_control_characters_are_escaped() -> None:
    assert table_lines(["A"], [["\x1b[2J\r\n\u202e"]], width=None) == ["A", "\\u001b[2J\\u000d\\u000a\\u202e"]
