"""JSON is read strictly, in bounded depth, and written compactly."""

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.json_text import DEPTH_MAX, MalformedJsonError, compact, compact_bytes, find_nul, may_have_nul, parse


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"   ", id="only blanks"),
        pytest.param(b'{"a": 1', id="truncated"),
        pytest.param(b'{"a": "b', id="truncated in a text"),
        pytest.param(b'{"a": 1} x', id="trailing garbage"),
        pytest.param(b"{} {}", id="two values"),
        pytest.param(b"{'a': 1}", id="single quotes"),
        pytest.param(b'{"a": 1,}', id="trailing comma"),
        pytest.param(b'"a\nb"', id="control character in a text"),
        pytest.param(b'"\\x41"', id="unknown escape"),
        pytest.param(b"01", id="leading zero"),
        pytest.param(b'{"a": NaN}', id="NaN"),
        pytest.param(b"[Infinity]", id="Infinity"),
        pytest.param(b"[-Infinity]", id="minus Infinity"),
        pytest.param(b"1e400", id="float beyond the double"),
        pytest.param(b"-1e400", id="float beyond the double below"),
        pytest.param(b"9" * 4301, id="integer of 4301 digits"),
        pytest.param(b"-" + b"9" * 4301, id="negative integer of 4301 digits"),
        pytest.param(b'{"a": 1, "a": 1}', id="duplicate name"),
        pytest.param(b'[{"b": {"a": 1, "\\u0061": 2}}]', id="duplicate name by escape"),
        pytest.param(b"\xef\xbb\xbf{}", id="byte order mark"),
        pytest.param(b'"\xff"', id="no UTF-8"),
        pytest.param(b'"\xed\xa0\x80"', id="surrogate in UTF-8"),
        pytest.param(b'"\xc0\x80"', id="overlong UTF-8"),
        pytest.param('{"a": 1}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b'["\\ud800"]', id="lone high surrogate"),
        pytest.param(b'["\\uDC00\\uD800"]', id="surrogates the wrong way round"),
        pytest.param(b'{"\\ud800": 1}', id="lone surrogate in a name"),
        pytest.param(b"[" * 100_000, id="100,000 levels"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, id="100,000 levels, closed"),
        pytest.param(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, id="100,000 levels of objects"),
    ],
)
def test_ambiguous_json_is_malformed(raw: bytes) -> None:
    """Text that is no I-JSON raises one error class, with a message short enough for a log line."""
    with pytest.raises(MalformedJsonError) as caught:
        parse(raw)
    assert 0 < len(str(caught.value)) < 100


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b' {"b": 1, "a": [null, true, 1.5, -0.0, "\xc3\xbc"]} \n', {"b": 1, "a": [None, True, 1.5, -0.0, "ü"]}),
        (b'"\\ud83d\\ude00"', "😀"),
        (b'"\\\\ud800"', "\\ud800"),
        (b'"\\u0000"', "\0"),
        (b"9" * 4300, int("9" * 4300)),
        (b"-" + b"9" * 4300, -int("9" * 4300)),
    ],
)
def test_json_is_read_unchanged(raw: bytes, expected: object) -> None:
    """Key order, numbers and escapes are kept; U+0000 is legal JSON."""
    value = parse(raw)
    assert value == expected
    assert json.dumps(value) == json.dumps(expected)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\xef\xbb\xbf{}", "begins with a byte order mark"),
        (b'{"a": "\xff"}', "not UTF-8 at byte 7"),
        (b'{"a": }', "not JSON at character 6: Expecting value"),
        (b'{"a": 1, "b": 3, "a": 2}', "an object contains the member a twice"),
        (b'"a\n"', "not JSON at character 2: a control character in a string, which needs an escape such as \\n"),
        (b'["a', "not JSON at character 1: a string without an end begins here"),
        (b'"a\\x"', "not JSON at character 2: a backslash that begins no escape"),
        (b'"\\u12"', "not JSON at character 2: a \\u without four hexadecimal digits"),
        (b'{"a": 1,}', "not JSON at character 7: a comma before a closing bracket"),
        (b'["a" , \n ]', "not JSON at character 5: a comma before a closing bracket"),
        (b'{"a": ["", "\\ud800"]}', "a lone surrogate in /a/1"),
        (b'"\\ud800"', "a lone surrogate in the text"),
    ],
)
def test_message_names_the_problem(raw: bytes, message: str) -> None:
    """The publisher sees only this message."""
    with pytest.raises(MalformedJsonError) as caught:
        parse(raw)
    assert str(caught.value) == message


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_depth_bound_is_exact(opening: bytes) -> None:
    """64 levels are accepted and 65 are not, whatever the number of brackets beside them."""

    def nested(depth: int) -> bytes:
        closing = b"]" if opening == b"[" else b"}"
        return b"[" + b"[]," * 100 + opening * (depth - 1) + b"0" + closing * (depth - 1) + b"]"

    parse(nested(DEPTH_MAX))
    with pytest.raises(MalformedJsonError, match="64 levels"):
        parse(nested(DEPTH_MAX + 1))


@pytest.mark.parametrize("text", ['"[[[[', '\\"[[[[', "\\\\", "{[\\\\\\", 'ü"[{'])
def test_brackets_in_texts_add_no_depth(text: str) -> None:
    """Texts are skipped as the parser skips them, escaped quotes and backslashes included."""
    value = [text * 100, {text: text}]
    assert parse(json.dumps(value).encode()) == value


def test_caller_may_allow_more_depth() -> None:
    """A structured event is one level deeper than its data."""
    raw = b"[" * 65 + b"]" * 65
    parse(raw, depth_max=65)
    with pytest.raises(MalformedJsonError):
        parse(raw)


def test_digit_limit_of_the_interpreter_raises_nothing() -> None:
    """An operator can set Python's limit on digits; a long number must not crash the worker under any limit."""
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        with pytest.raises(MalformedJsonError, match="digits"):
            parse(b"9" * 641)
    finally:
        sys.set_int_max_str_digits(limit)


def test_json_is_written_compactly_in_the_order_received() -> None:
    """No blanks, non-ASCII as is, names unsorted."""
    assert compact({"b": [1, 2.5, None], "a": "ü😀"}) == '{"b":[1,2.5,null],"a":"ü😀"}'


def test_invalid_json_is_never_written() -> None:
    """The worker's own reader refuses NaN."""
    with pytest.raises(ValueError, match="JSON compliant"):
        compact(float("nan"))


def test_every_nul_is_found_with_its_pointer() -> None:
    """NULs are found in texts and names at any depth; the list of places is bounded, their number is exact."""
    raw = b'{"a": [1, "x\\u0000"], "n\\u0000": {"b~/": "\\u0000"}, "c": "\\\\u0000"}'
    places, count = find_nul(parse(raw), paths_max=10)
    assert set(places) == {("a", 1), ("n\0",), ("n\0", "b~/")}
    assert count == 3
    places, count = find_nul(parse(raw), paths_max=1)
    assert (len(places), count) == (1, 3)
    assert may_have_nul(raw)
    assert not may_have_nul(b'{"c": "u0000"}')


WITHOUT_FLOATS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda children: st.lists(children) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), children),
)


@given(WITHOUT_FLOATS)
def test_bytes_are_the_same_as_the_text(value: object) -> None:
    """Rows that were written by the one must be found equal to those that are predicted by the other."""
    assert compact_bytes(value) == compact(value).encode()
