"""The CloudEvents attributes that the worker reads, from either content mode.

Each is read by itself: the row of a rejected record should have as many of them as are valid.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from schemas import likely_cause
from schemas.detail import echo
from schemas.text import NAME_UNITS_MAX, SOURCE_UNITS_MAX, utf16_units
from schemas.times import parse_time
from schemas.trace_context import TraceContext, trace_context

SPECVERSION = "1.0"
_UNITS_MAX = {"id": NAME_UNITS_MAX, "source": SOURCE_UNITS_MAX, "type": NAME_UNITS_MAX}
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


class Attributes(NamedTuple):
    """Each attribute if it is valid, else None. `problems`: why not, as `name: problem`.

    Without problems, `source`, `id` and `type` are set, and `time` if the event has one. A named tuple, because it is
    created per message in a third of a frozen dataclass's time.
    """

    source: str | None = None
    id: str | None = None
    type: str | None = None
    time: datetime | None = None
    problems: tuple[str, ...] = ()
    trace: TraceContext | None = None


def read_attributes(given: Mapping[str, object], *, faults: Mapping[str, str]) -> Attributes:
    """`given`: attributes by name; None is unset, as in the JSON format. `faults`: problems of unreadable ones."""
    problems = [f"{echo(name)}: {fault}" for name, fault in faults.items()]
    if (specversion := given.get("specversion")) != SPECVERSION and "specversion" not in faults:
        problems.append("specversion: is missing" if specversion is None else _wrong_version(specversion))
    source = _text("source", given, faults, problems)
    id_ = _text("id", given, faults, problems)
    type_ = _text("type", given, faults, problems)
    time = _time(given.get("time"), problems)
    traceparent = given.get("traceparent")
    trace = None if traceparent is None else trace_context(traceparent, given.get("tracestate"))
    return Attributes(source, id_, type_, time, tuple(problems), trace)


def _wrong_version(specversion: object) -> str:
    cause = likely_cause.of_quotes(specversion) if isinstance(specversion, str) else "it is not a string"
    return likely_cause.with_cause(f'specversion: is not "{SPECVERSION}"', cause)


def _text(name: str, given: Mapping[str, object], faults: Mapping[str, str], problems: list[str]) -> str | None:
    value = given.get(name)
    units_max = _UNITS_MAX[name]
    # The usual case, tested first: no forbidden character is printable.
    if isinstance(value, str) and value.isascii() and value.isprintable() and 0 < len(value) <= units_max:
        return value
    if value is None:
        if name not in faults:
            problems.append(f"{name}: is missing")
    elif not isinstance(value, str):
        problems.append(f"{name}: is not a string")
    elif not value:
        problems.append(f"{name}: is empty")
    elif utf16_units(value) > units_max:
        problems.append(f"{name}: is longer than {units_max} UTF-16 code units")
    elif _FORBIDDEN.search(value):
        problems.append(f"{name}: has a control character or a lone surrogate")
    else:
        return value
    return None


def _time(value: object, problems: list[str]) -> datetime | None:
    if value is None:
        return None
    try:
        if isinstance(value, str):
            return parse_time(value)
        problem = "is not a string"
    except ValueError as error:
        problem = str(error)
    problems.append(likely_cause.with_cause(f"time: {problem}", likely_cause.of_no_time(value)))
    return None
