"""JMESPath expressions over foreign records, with bounded work.

The operator writes an expression; the sender decides what it meets. So an expression is checked when it is loaded
(syntax, functions, depth), and its evaluation counts steps instead of seconds: a body of a million entries gives the
same result on every machine. A step is a visit of a node of the expression, an element that a function or a slice
reads, or 100 characters of a function's argument.

The language is that of jmespath.org with six more functions (`docs/reference/sources/generic.md#functions`). Arrays and
objects can be compared with empty ones only, and cannot be written as text: an expression of 100 characters can make
one value that is 2^30 values when it is written out.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import jmespath
from jmespath import exceptions, functions, visitor
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from schemas.adapters.fields import TEXT_CHARS_MAX
from schemas.adapters.foreign import ForeignRecord
from schemas.detail import echo
from schemas.json_text import compact
from schemas.times import format_time

EXPRESSION_CHARS_MAX: Final = 1_000
DEPTH_MAX: Final = 30
STEPS_MAX: Final = 10_000
"""Of all expressions of one record together. The examples take at most 300."""
SPLIT_PARTS_MAX: Final = 1_000
_CHARS_PER_STEP: Final = 100

_FALSE: Final[tuple[object, ...]] = (None, False, "", [], {})
_CONSTANT_HINT: Final = "; a constant needs single quotes inside double ones: \"'text'\""


class ExpressionError(Exception):
    """An expression has no value for this record. `problem`: why, without text of the record."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


class _StepsExceededError(Exception):
    pass


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked JMESPath expression. As a field of a pydantic model it is read from its text."""

    text: str
    tree: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError: not JMESPath, an unknown function, a wrong number of arguments, or nested too deep."""
        if len(text) > EXPRESSION_CHARS_MAX:
            raise ValueError(f"has {len(text)} characters, more than {EXPRESSION_CHARS_MAX}")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", PendingDeprecationWarning)
                tree: Mapping[str, Any] = jmespath.compile(text).parsed
        except RecursionError:
            raise ValueError(_too_deep()) from None
        except PendingDeprecationWarning:
            raise ValueError("has a literal in backticks that is not JSON; a text needs single quotes") from None
        except exceptions.ParseError as error:
            raise ValueError(f"is not JMESPath at character {error.lex_position}{_CONSTANT_HINT}") from None
        except exceptions.JMESPathError:
            raise ValueError("is empty") from None
        for node, depth in _nodes(tree):
            if depth > DEPTH_MAX:
                raise ValueError(_too_deep())
            _check(node)
        return cls(text, tree)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.str_schema(strict=True, min_length=1, max_length=EXPRESSION_CHARS_MAX)
        written = core_schema.plain_serializer_function_ser_schema(lambda expression: expression.text)
        return core_schema.no_info_after_validator_function(cls.parse, text, serialization=written)


class Evaluation:
    """The values of one record's expressions, which share `steps_max`."""

    def __init__(self, record: ForeignRecord, *, steps_max: int = STEPS_MAX) -> None:
        self._body = record.body
        self._steps_max = steps_max
        self._interpreter = _Interpreter(record, steps_max)

    def value(self, expression: Expression) -> object:
        """A JSON value; parts of it may be the body's own. Raises ExpressionError."""
        try:
            return self._interpreter.visit(expression.tree, self._body)
        except _StepsExceededError:
            raise ExpressionError(f"takes more than {self._steps_max} steps") from None
        except exceptions.JMESPathTypeError as error:
            # Its message contains the value, which may be a million entries.
            type_ = functions.TYPES_MAP.get(error.actual_type, error.actual_type)
            raise ExpressionError(f"{error.function_name}() does not accept {type_}") from None
        except (ValueError, TypeError, ArithmeticError):
            # The library compares "a" < 1 and searches for 1 in "a" as Python does.
            raise ExpressionError("has no value for what the record contains") from None


def is_true(value: object) -> bool:
    """JMESPath's truth: all but null, false and empty strings, arrays and objects; 0 is true."""
    return (isinstance(value, int | float) and not isinstance(value, bool)) or value not in _FALSE


def _too_deep() -> str:
    return f"is nested deeper than {DEPTH_MAX} levels"


def _nodes(tree: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], int]]:
    stack = [(tree, 1)]
    while stack:
        node, depth = stack.pop()
        yield node, depth
        # The children of a slice are numbers.
        stack.extend((child, depth + 1) for child in node["children"] if isinstance(child, Mapping))


def _check(node: Mapping[str, Any]) -> None:
    if node["type"] == "slice" and node["children"][2] == 0:
        raise ValueError("has a slice with the step 0")
    if node["type"] != "function_expression":
        return
    name, given = node["value"], len(node["children"])
    known = _Functions.FUNCTION_TABLE.get(name)
    if known is None:
        raise ValueError(f"calls {echo(name)}(), which does not exist")
    signature = known["signature"]
    variadic = signature[-1].get("variadic", False)
    if given < len(signature) or (given > len(signature) and not variadic):
        least = "at least " if variadic else ""
        raise ValueError(f"calls {name}() with {given} arguments; it takes {least}{len(signature)}")


class _Interpreter(visitor.TreeInterpreter):
    """The library's interpreter, with a number of steps."""

    def __init__(self, record: ForeignRecord, steps: int) -> None:
        super().__init__(visitor.Options(custom_functions=_Functions(record, self.spend)))
        self._steps = steps

    def spend(self, steps: int) -> None:
        self._steps -= steps
        if self._steps < 0:
            raise _StepsExceededError

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        self.spend(1)
        return super().visit(node, *args, **kwargs)

    def visit_flatten(self, node: Any, value: Any) -> Any:
        base = self.visit(node["children"][0], value)
        if not isinstance(base, list):
            return None
        self.spend(len(base))
        self.spend(sum(len(element) for element in base if isinstance(element, list)))
        return [item for element in base for item in (element if isinstance(element, list) else [element])]

    def visit_slice(self, node: Any, value: Any) -> Any:
        if isinstance(value, list):
            self.spend(len(value))
        return super().visit_slice(node, value)

    def visit_comparator(self, node: Any, value: Any) -> Any:
        if node["value"] in {"eq", "ne"}:
            left, right = (self.visit(child, value) for child in node["children"])
            if isinstance(left, list | dict) and isinstance(right, list | dict) and left and right:
                raise ValueError
            equal = isinstance(left, bool) is isinstance(right, bool) and left == right  # true is not 1
            return equal is (node["value"] == "eq")
        return super().visit_comparator(node, value)


class _Functions(functions.Functions):
    """The functions of jmespath.org, bounded, and those for records and texts. Of null they give null."""

    def __init__(self, record: ForeignRecord, spend: Callable[[int], None]) -> None:
        self._record = record
        self._spend = spend

    def call_function(self, function_name: str, resolved_args: Any) -> Any:
        for argument in resolved_args:
            if isinstance(argument, list | dict):
                self._spend(len(argument))
            elif isinstance(argument, str):
                self._spend(len(argument) // _CHARS_PER_STEP)
        return super().call_function(function_name, resolved_args)

    @functions.signature({"types": ["string"]})
    def _func_header(self, name: str) -> str | None:
        return self._record.headers.get(name.lower())

    @functions.signature({"types": ["string"]})
    def _func_attribute(self, name: str) -> str | None:
        record = self._record
        time = None if record.time is None else format_time(record.time)
        return {"id": record.id, "source": record.source, "type": record.type, "time": time}.get(name)

    @functions.signature({"types": ["string", "null"]}, {"types": ["string"]})
    def _func_split(self, text: str | None, separator: str) -> list[str] | None:
        if text is None:
            return None
        parts = text.split(separator, SPLIT_PARTS_MAX)
        if len(parts) > SPLIT_PARTS_MAX:
            raise ValueError
        return parts

    @functions.signature({"types": ["string", "null"]}, {"types": ["number", "null"]}, {"types": ["number", "null"]})
    def _func_substring(self, text: str | None, start: int | None, length: int | None) -> str | None:
        if text is None or start is None or length is None:
            return None
        if start < 0 or length < 0:
            raise ValueError
        return text[start : start + length]

    @functions.signature({"types": ["string", "null"]}, {"types": ["string"]})
    def _func_remove_suffix(self, text: str | None, suffix: str) -> str | None:
        return None if text is None else text.removesuffix(suffix)

    @functions.signature({"types": ["string", "null"]})
    def _func_lower(self, text: str | None) -> str | None:
        return None if text is None else text.lower()

    @functions.signature({"types": ["string"]}, {"types": ["array-string"]})
    def _func_join(self, separator: str, array: Sequence[str]) -> str:
        if sum(map(len, array)) + len(separator) * len(array) > TEXT_CHARS_MAX:
            raise ValueError
        return separator.join(array)

    @functions.signature({"types": ["string", "number", "boolean", "null"]})
    def _func_to_string(self, value: Any) -> str:
        return value if isinstance(value, str) else compact(value)

    @functions.signature({"types": ["array", "string"]}, {"types": ["string", "number", "boolean", "null"]})
    def _func_contains(self, subject: Any, search: Any) -> bool:
        return search in subject
