"""Valid CloudEvents context attributes of a publisher, and how each is written as a Kafka header.

`schemas.attributes` reads the attributes that the worker needs. This module is for writing an event: a strict writer
sends nothing that another reader of the topic would refuse. Sources: CloudEvents 1.0.2, "Naming
Convention" and "Type System"; its JSON format, "Type System Mapping"; its Kafka protocol binding, "Binary Content
Mode".
"""

import re
from collections.abc import Iterator, Mapping

from schemas.detail import echo
from schemas.envelope import BINARY_CONTENT_TYPE
from schemas.media_type import parse_media_type
from schemas.record import Headers

KNOWN_ATTRIBUTES = ("specversion", "id", "source", "type", "time", "subject", "datacontenttype", "dataschema")
"""The attributes that CloudEvents defines; every other one is an extension."""

_DATA_MEMBERS = frozenset({"data", "data_base64"})
_READ_BY_THE_WORKER = frozenset({"specversion", "id", "source", "type", "time"})
_NAME = re.compile("[a-z0-9]+")
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_INT32_MIN, _INT32_MAX = -(2**31), 2**31 - 1


def attribute_problems(event: Mapping[str, object]) -> tuple[str, ...]:
    """The problems, as `name: problem`, of attributes that decoding does not check. A null member is unset."""
    return tuple(problem for name, value in _attributes(event) if (problem := _problem(name, value)))


def attribute_headers(event: Mapping[str, object]) -> Headers:
    """The headers in binary mode of an event without problems: all attributes, unchanged."""
    attributes = dict(_attributes(event))
    content_type = str(attributes.pop("datacontenttype", BINARY_CONTENT_TYPE))
    return (
        *((f"ce_{name}", _text(value).encode()) for name, value in attributes.items()),
        ("content-type", content_type.encode()),
    )


def _attributes(event: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    return ((name, value) for name, value in event.items() if name not in _DATA_MEMBERS and value is not None)


def _problem(name: str, value: object) -> str | None:
    if not _NAME.fullmatch(name):
        return f"{echo(name)}: is not an attribute name: use lower-case ASCII letters and digits only"
    if name in _READ_BY_THE_WORKER:
        return None
    if name in KNOWN_ATTRIBUTES and not isinstance(value, str):
        return f"{name}: is not a string"
    if isinstance(value, str):
        return _problem_of_text(name, value)
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return None if _INT32_MIN <= value <= _INT32_MAX else f"{echo(name)}: is not an integer of 32 bits"
    return f"{echo(name)}: is not a string, an integer or a boolean, the only types of attributes"


def _problem_of_text(name: str, value: str) -> str | None:
    if not value and name in KNOWN_ATTRIBUTES:
        return f"{name}: is empty"
    if _FORBIDDEN.search(value):
        return f"{echo(name)}: has a control character or a lone surrogate"
    if name == "datacontenttype" and parse_media_type(value).is_structured:
        return "datacontenttype: is a CloudEvents type; use the content type of the data"
    return None


def _text(value: object) -> str:
    """A value in CloudEvents' canonical text form."""
    return str(value).lower() if isinstance(value, bool) else str(value)
