"""Expressions are checked when they are loaded, and their work on any body is bounded."""

import contextlib
import functools
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from schemas.adapters.expressions import (
    DEPTH_MAX,
    EXPRESSION_CHARS_MAX,
    SPLIT_PARTS_MAX,
    STEPS_MAX,
    Evaluation,
    Expression,
    ExpressionError,
    is_true,
)
from schemas.adapters.foreign import ForeignRecord
from schemas.times import parse_time
from tests.hypothesis_profile import examples

RECORD = ForeignRecord(
    headers={"x-event-key": "build"},
    body={},
    source="/ci",
    id="7",
    type="com.example.build",
    time=parse_time("2026-03-01T09:30:00Z"),
)
MANY = 10**6


@functools.cache
def large_body() -> dict[str, Any]:
    object_ = dict.fromkeys(map(str, range(MANY)))
    return {"items": [0] * MANY, "lists": [[0] * MANY], "object": object_, "text": "," * (3 * MANY)}


def value_of(text: str, body: dict[str, Any], *, steps_max: int = STEPS_MAX) -> object:
    return Evaluation(ForeignRecord(headers={}, body=body), steps_max=steps_max).value(Expression.parse(text))


def problem_of(text: str, body: dict[str, Any]) -> str:
    with pytest.raises(ExpressionError) as caught:
        value_of(text, body)
    return caught.value.problem


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("https://ci.example.com", "is not JMESPath at character 6; a constant needs single quotes inside double ones"),
        ("a.[", "is not JMESPath at character"),
        ("a b", "is not JMESPath at character 2"),
        ("'open", "is not JMESPath at character 0"),
        ("status == `done`", "has a literal in backticks that is not JSON; a text needs single quotes"),
        ("size(a)", "calls size(), which does not exist"),
        ("items[?size(@)]", "calls size(), which does not exist"),
        ("split(a)", "calls split() with 1 arguments; it takes 2"),
        ("length(a, b)", "calls length() with 2 arguments; it takes 1"),
        ("merge()", "calls merge() with 0 arguments; it takes at least 1"),
        ("items[::0]", "has a slice with the step 0"),
        ("a" * (EXPRESSION_CHARS_MAX + 1), f"has {EXPRESSION_CHARS_MAX + 1} characters, more than"),
        ("!" * DEPTH_MAX + "a", f"is nested deeper than {DEPTH_MAX} levels"),
        ("(" * 499 + "a" + ")" * 499, f"is nested deeper than {DEPTH_MAX} levels"),
    ],
)
def test_invalid_expression_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(problem)}"):
        Expression.parse(text)


def test_expression_is_a_field_of_a_model() -> None:
    field = TypeAdapter(Expression)
    expression = field.validate_python("a.b")
    assert field.dump_python(expression) == "a.b"
    assert field.json_schema() == {"type": "string", "minLength": 1, "maxLength": EXPRESSION_CHARS_MAX}
    for invalid in ("a.", "", 7, None):
        with pytest.raises(ValidationError):
            field.validate_python(invalid)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("header('x-event-key')", "build"),
        ("header('X-Event-Key')", "build"),
        ("header('x-other')", None),
        ("attribute('id')", "7"),
        ("attribute('source')", "/ci"),
        ("attribute('type')", "com.example.build"),
        ("attribute('time')", "2026-03-01T09:30:00.000000Z"),
        ("attribute('subject')", None),
        ("split('a/b/c', '/')[-1]", "c"),
        ("split('a/b/c', '/')[1:]", ["b", "c"]),
        ("split(none, '/')", None),
        ("substring('deploy shop', `7`, `4`)", "shop"),
        ("substring(none, `7`, `4`)", None),
        ("substring('shop', none, `4`)", None),
        ("substring('shop', `1`, none)", None),
        ("remove_suffix('shop.git', '.git')", "shop"),
        ("remove_suffix(none, '.git')", None),
        ("lower('SHOP')", "shop"),
        ("lower(none)", None),
        ("join('/', ['a', none, 'b'][?@])", "a/b"),
        ("to_string(`7`)", "7"),
        ("contains('abc', 'b')", True),
        ("contains(['a', 'b'], 'b')", True),
    ],
)
def test_function_has_its_value(text: str, value: object) -> None:
    assert Evaluation(RECORD).value(Expression.parse(text)) == value


def test_attributes_are_null_without_an_envelope() -> None:
    names = ("id", "source", "type", "time")
    assert [value_of(f"attribute('{name}')", {}) for name in names] == [None] * 4


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a == b", True),
        ("a != b", False),
        ("true == one", False),
        ("one == true", False),
        ("one < `2`", True),
        ("list == `[]`", False),
        ("empty == `[]`", True),
        ("list[] == `[1, 2]`", None),
        ("a[]", None),
        ("nested[]", [1, 2, 3]),
        ("list[::-1]", [2, 1]),
        ("a[::-1]", None),
    ],
)
def test_values_are_compared_as_json(text: str, value: object) -> None:
    body = {"a": "x", "b": "x", "true": True, "one": 1, "list": [1, 2], "empty": [], "nested": [[1, 2], 3]}
    if value is None and "==" in text:
        assert problem_of(text, body) == "has no value for what the record contains"
    else:
        assert value_of(text, body) == value


@pytest.mark.parametrize("value", [0, 0.0, 1, "0", [0], {"a": None}, True])
def test_value_is_true(value: object) -> None:
    assert is_true(value)


@pytest.mark.parametrize("value", [None, False, "", [], {}])
def test_value_is_not_true(value: object) -> None:
    assert not is_true(value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("starts_with(none, 'a')", "starts_with() does not accept null"),
        ("join('/', mixed)", "join() does not accept number"),
        ("sum(text)", "sum() does not accept string"),
        ("to_string(mixed)", "to_string() does not accept array"),
        ("contains(mixed, mixed)", "contains() does not accept array"),
        ("text < one", "has no value for what the record contains"),
        ("contains(text, one)", "has no value for what the record contains"),
        ("avg(huge)", "has no value for what the record contains"),
        ("substring(text, minus, one)", "has no value for what the record contains"),
        ("substring(text, one, minus)", "has no value for what the record contains"),
        ("substring(text, half, one)", "has no value for what the record contains"),
        ("max_by(objects, &a)", "has no value for what the record contains"),
    ],
)
def test_expression_without_a_value_is_reported(text: str, problem: str) -> None:
    body = {
        "text": "x",
        "one": 1,
        "minus": -1,
        "half": 0.5,
        "mixed": ["a", 1],
        "huge": [10**400],
        "objects": [{"a": 1}, {"a": "x"}],
    }
    assert problem_of(text, body) == problem


@pytest.mark.parametrize(
    "text",
    [
        "items[?@ == `1`]",
        "items[*]",
        "items[]",
        "lists[]",
        "items[::2]",
        "sort(items)",
        "length(items)",
        "max(items)",
        "keys(object)",
        "object.*",
        "values(object)",
        "map(&@, items)",
        "split(text, ',')",
        "[items, items, items][]",
    ],
)
def test_million_entries_take_too_many_steps(text: str) -> None:
    """The number of steps decides, so the result is the same on every machine."""
    assert problem_of(text, large_body()) == f"takes more than {STEPS_MAX} steps"


def test_members_beside_a_million_entries_are_read() -> None:
    assert value_of("a.b[0].c", {"items": [0] * MANY, "a": {"b": [{"c": "x"}]}}) == "x"


@pytest.mark.parametrize("step", ["[@,@][]", "{a:@,b:@}", "[@,@]"])
def test_doubled_value_is_bounded(step: str) -> None:
    """A value that contains itself twice, and so on, is small until it is written or compared."""
    text = " | ".join([step] * (DEPTH_MAX - 10))
    body = {"a": "x"}
    results = []
    for expression in (text, f"({text}) == ({text})"):
        try:
            value_of(expression, body)
        except ExpressionError as error:
            results.append(error.problem)
    assert set(results) <= {f"takes more than {STEPS_MAX} steps", "has no value for what the record contains"}
    assert results


def test_text_of_a_function_is_bounded() -> None:
    many = {"parts": ["x" * 1_500] * 2, "commas": "," * SPLIT_PARTS_MAX}
    assert problem_of("join('', parts)", many) == "has no value for what the record contains"
    assert problem_of("split(commas, ',')", many) == "has no value for what the record contains"


def test_expressions_of_a_record_share_their_steps() -> None:
    evaluation = Evaluation(RECORD, steps_max=5)
    two_steps = Expression.parse("a.b")
    evaluation.value(two_steps)
    with pytest.raises(ExpressionError, match="takes more than 5 steps"):
        evaluation.value(two_steps)


WORDS = st.sampled_from(
    [
        *"abc.*@&|!()[]{},:<>=?'`\"-0 ",
        "==",
        "||",
        "&&",
        "[?",
        "[]",
        "[*]",
        "[0]",
        "length",
        "sort_by",
        "map",
        "split",
        "'a'",
        "`1`",
    ]
)


@settings(max_examples=examples(200), deadline=None)
@example("{a: b")
@example("foo(a b")
@example("`x`")
@given(st.text(max_size=60) | st.lists(WORDS, max_size=25).map("".join))
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    """And what is accepted has a value, or a reported problem, for any body."""
    try:
        expression = Expression.parse(text)
    except ValueError:
        return
    body = {"a": [{"b": 1}, {"b": "x"}, None], "b": "text", "c": {"a": [[1], 2.5, True]}}
    with contextlib.suppress(ExpressionError):
        Evaluation(ForeignRecord(headers={}, body=body)).value(expression)
