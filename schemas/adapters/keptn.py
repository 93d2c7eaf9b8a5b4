"""Keptn's own events are recognised and refused: Keptn v1 ended in December 2023.

See docs/reference/sources/keptn.md.
"""

from collections.abc import Mapping
from typing import Any, Final, NoReturn

from schemas.adapters.foreign import ForeignRecord, Format, Unreadable

FORMAT: Final = Format.KEPTN

_PREFIX: Final = "sh.keptn."
_ANSWER: Final = (
    "/type: events of Keptn v1 are not supported, the project ended in 2023; publish CDEvents instead, for example "
    "service.deployed from the task that deploys (docs/reference/sources/keptn.md)"
)


def has_type(type_: str) -> bool:
    return type_.startswith(_PREFIX)


def has_headers(headers: Mapping[str, str]) -> bool:  # noqa: ARG001 - one signature for all adapters
    return False


def has_shape(body: Mapping[str, Any]) -> bool:
    type_ = body.get("type")
    return isinstance(type_, str) and has_type(type_)


def adapt(record: ForeignRecord) -> NoReturn:  # noqa: ARG001 - one signature for all adapters
    """Raises Unreadable."""
    raise Unreadable(_ANSWER, unsupported=True)
