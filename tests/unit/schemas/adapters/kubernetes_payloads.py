"""What the tests of the adapters of Kubernetes objects share: unusual values in members that are deep in a body."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from hypothesis import strategies as st

from schemas.adapters.foreign import ForeignEvent, ForeignRecord, NoInterest, Unreadable
from schemas.types import short_type
from tests.unit.schemas.adapters.vendor_payloads import changed

UNUSUAL: st.SearchStrategy[Any] = st.sampled_from(
    [None, "", "\0", "\ud800", "x" * 3_000, -1, 2**70, True, 1e300, [], {}, [[]], [None], [{}], "9999-12-31T23:59:59Z"]
)


@st.composite
def unusual(draw: st.DrawFn, body: dict[str, Any], paths: Sequence[str]) -> dict[str, Any]:
    """The body with up to three of its members at these paths replaced, the deepest first."""
    members = draw(st.lists(st.tuples(st.sampled_from(paths), UNUSUAL), max_size=3, unique_by=lambda one: one[0]))
    for path, value in sorted(members, key=lambda one: -one[0].count("/")):
        body = changed(body, {path: value})
    return body


def result(found: ForeignEvent | NoInterest) -> str:
    """The kind that is of no interest, the activity, or our event's short type."""
    if isinstance(found, NoInterest):
        return found.kind
    return found.activity_type or short_type(found.type)


def check_answer(adapter: ModuleType, body: dict[str, Any], *, type_: str | None = None) -> None:
    """The adapter returns, or names the member that is wrong."""
    adapter.has_shape(body)
    try:
        found = adapter.adapt(ForeignRecord(headers={}, body=body, type=type_))
    except Unreadable as error:
        assert error.problem.startswith("/")  # noqa: PT017 - either outcome is right
    else:
        assert isinstance(found, NoInterest) or (found.id and found.source)
