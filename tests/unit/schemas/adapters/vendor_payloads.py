"""The recorded payloads of tests/payloads, and bodies that differ from one of them in a few members."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

PAYLOADS = Path(__file__).parents[3] / "payloads"
Path_ = tuple[str | int, ...]

_JSON: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
# Values that vendors send instead of the documented ones, and some that no vendor sends.
_UNUSUAL: st.SearchStrategy[object] = st.sampled_from(
    [None, "", "\0", "\ud800", "x" * 3_000, -1, 2**70, True, 1e300, [], {}, [[]], "http://[", "9999-12-31T23:59:59Z"]
)


def files(folder: str) -> list[str]:
    """The names of a source's bodies, without those of their headers: `octokit/deployment.json`."""
    root = PAYLOADS / folder
    found = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.json"))
    return [name for name in found if not name.endswith(".headers.json")]


def body_of(folder: str, name: str) -> dict[str, Any]:
    body = json.loads((PAYLOADS / folder / name).read_text("utf-8"))
    assert isinstance(body, dict)
    return body


def headers_of(folder: str, name: str) -> dict[str, str]:
    """The recorded headers of a body, their names in lower case; none where none were recorded."""
    path = PAYLOADS / folder / name.replace(".json", ".headers.json")
    return {key.lower(): value for key, value in json.loads(path.read_text("utf-8")).items()} if path.exists() else {}


def changed(body: Mapping[str, Any], changes: Mapping[str, object]) -> dict[str, Any]:
    """A copy with other values at paths such as `deployment_status/state`; a member that is missing is added."""
    copied = copy.deepcopy(dict(body))
    for path, value in changes.items():
        *outer, name = path.split("/")
        inner = copied
        for step in outer:
            inner = inner[step]
        inner[name] = value
    return copied


def without(body: Mapping[str, Any], path: str) -> dict[str, Any]:
    """A copy without the member at the path."""
    copied = copy.deepcopy(dict(body))
    *outer, name = path.split("/")
    inner = copied
    for step in outer:
        inner = inner[step]
    del inner[name]
    return copied


def json_objects() -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.text(max_size=10), _JSON, max_size=5)


@st.composite
def mutated(draw: st.DrawFn, folder: str) -> dict[str, Any]:
    """A recorded body of the folder, in which up to three values are replaced or removed."""
    body = body_of(folder, draw(st.sampled_from(files(folder))))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(_paths(body)))
        inner: Any = body
        for step in path[:-1]:
            inner = inner[step]
        if isinstance(inner, dict) and draw(st.booleans()):
            del inner[path[-1]]
        else:
            inner[path[-1]] = draw(_UNUSUAL | _JSON)
        if not body:
            break
    return body


def _paths(value: object, path: Path_ = ()) -> list[Path_]:
    """The paths of the first three levels: an adapter reads none below."""
    if len(path) == 3 or not isinstance(value, dict | list):
        return [path]
    children = value.items() if isinstance(value, dict) else enumerate(value)
    below = [found for step, child in children for found in _paths(child, (*path, step))]
    return ([path] if path else []) + below
