"""What the adapters of Kubernetes objects share: the markers of ours, and a Git repository's host and name.

`rudder.dev/environment` names the environment, `rudder.dev/release-id` a release of ours. Both can be an annotation or
a label; the annotation comes first.
"""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote, urlsplit
from uuid import UUID

from schemas.adapters.fields import Path, member, text
from schemas.adapters.foreign import Unreadable
from schemas.detail import pointer

ENVIRONMENT: Final = "rudder.dev/environment"
RELEASE_ID: Final = "rudder.dev/release-id"

_HOLDERS: Final = ("annotations", "labels")
_SCP: Final = re.compile(r"[^@/:\s]+@([^@/:\s]+):(?!/)(\S+)")


def marker(body: object, name: str, *metadata: Path) -> str | None:
    """The annotation or the label with this name. `metadata`: the path of the object's metadata. Raises Unreadable."""
    return next((value for holder in _HOLDERS if (value := text(body, *metadata, holder, name)) is not None), None)


def release_marker(body: object, *metadata: Path) -> UUID | None:
    """The release's id in the annotation or the label. Raises Unreadable."""
    for holder in _HOLDERS:
        path = (*metadata, holder, RELEASE_ID)
        if (value := text(body, *path)) is not None:
            return release_id(value, *path)
    return None


def release_id(value: str | None, *path: Path) -> UUID | None:
    """A release's id. `path`: of the value, for Unreadable, which is raised if it is no UUID."""
    if value is None:
        return None
    try:
        return UUID(value)
    except ValueError:
        raise Unreadable(f"{pointer(path)}: is not a UUID") from None


def repository_scope(url: str | None) -> dict[str, str]:
    """The `host` and the full name of a Git `repository` (`acme/shop`); empty where the URL names none.

    Of `https://github.com/acme/shop.git`, `ssh://git@github.com/acme/shop` and `git@github.com:acme/shop.git`.
    """
    scp = _SCP.fullmatch(url or "")
    try:
        parts = urlsplit(f"ssh://{scp[1]}/{scp[2]}" if scp is not None else url or "")
        host = parts.hostname
    except ValueError:  # brackets that enclose no IPv6 address
        return {}
    name = unquote(parts.path).strip("/").removesuffix(".git")
    if not parts.scheme or parts.scheme == "oci" or host is None or not name:
        return {}
    return {"host": host, "repository": name}


def list_at(body: object, *path: Path) -> Sequence[object]:
    """A list; empty where there is none."""
    value = member(body, *path)
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()
