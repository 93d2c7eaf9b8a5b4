"""What is said about an invalid event is short, printable and complete in number."""

import pytest

from schemas.detail import DETAIL_CHARS_MAX, echo, joined, pointer, printable


def test_ten_problems_are_listed_and_the_rest_counted() -> None:
    """The reader sees that there is more, and how much."""
    text = joined(f"/data/{number}: is missing" for number in range(13))
    assert text.startswith("/data/0: is missing; /data/1: is missing; ")
    assert text.endswith("/data/9: is missing; … and 3 more")


def test_omitted_problems_are_counted() -> None:
    """The caller may have counted without spelling out."""
    assert joined(["a", "b"], omitted=5) == "a; b; … and 5 more"


@pytest.mark.parametrize("length", [1, 98, 400, 969, 970, 1000, 5000])
@pytest.mark.parametrize("count", [1, 2, 10, 4000])
def test_detail_is_never_longer_than_its_column(length: int, count: int) -> None:
    """1,000 characters hold for any problems; none is cut silently."""
    text = joined(["x" * length] * count)
    assert len(text) <= DETAIL_CHARS_MAX
    assert "…" in text or text == "; ".join(["x" * length] * count)


def test_control_characters_and_surrogates_are_escaped() -> None:
    """A log line stays one line, and a header stays UTF-8."""
    assert printable("a\r\n\0\x85\u2028\ud800\U000e0001ü") == (
        "a\\u000d\\u000a\\u0000\\u0085\\u2028\\ud800\\U000e0001ü"
    )


def test_printable_does_not_depend_on_the_interpreter() -> None:
    """Characters of Unicode 15 and 16, and code points without a character, are as they are on each interpreter."""
    text = "\U0001fae8\U0001cd00\U0002ebf0\u0378"
    assert printable(text) == text
    assert printable("\u2066\u061c\u00ad\u3000") == "\\u2066\\u061c\\u00ad\\u3000"


def test_quoted_text_is_cut_at_a_hundred_characters() -> None:
    """A megabyte of type name is not logged."""
    assert echo("x" * 100) == "x" * 100
    assert echo("x" * 101) == "x" * 99 + "…"


def test_json_pointers_are_escaped() -> None:
    """`~` and `/` in names must not look like steps."""
    assert pointer(("data", "a/b", "c~d", 3)) == "/data/a~1b/c~0d/3"
    assert pointer(()) == ""
