"""Eiffel events are recognised and refused: one deployment is spread over linked events.

See docs/reference/sources/eiffel.md.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from schemas.adapters.fields import member
from schemas.adapters.foreign import ForeignRecord, Format, Unreadable

FORMAT: Final = Format.EIFFEL

_TYPE: Final = re.compile(r"Eiffel[A-Za-z]{1,100}Event")
_ANSWER: Final = (
    "/meta/type: Eiffel events are not supported, because a deployment is spread over events that only refer to each "
    "other; translate them to CDEvents before they reach the topic (docs/reference/sources/eiffel.md)"
)


def has_type(type_: str) -> bool:
    return _TYPE.fullmatch(type_) is not None


def has_headers(headers: Mapping[str, str]) -> bool:  # noqa: ARG001 - one signature for all adapters
    return False


def has_shape(body: Mapping[str, Any]) -> bool:
    type_ = member(body, "meta", "type")
    return isinstance(type_, str) and has_type(type_) and isinstance(member(body, "meta", "id"), str)


def adapt(record: ForeignRecord) -> NoReturn:  # noqa: ARG001 - one signature for all adapters
    """Raises Unreadable."""
    raise Unreadable(_ANSWER, unsupported=True)
