"""What the adapters of GitHub and GitLab share: the id of a change, the host of a repository, and a git reference."""

import hashlib
import re
from typing import Final
from urllib.parse import urlsplit

from schemas.text import NAME_UNITS_MAX

_VISIBLE: Final = re.compile(rf"[!-~]{{1,{NAME_UNITS_MAX}}}")
_VERSION: Final = re.compile(r"[vV]?[0-9]+\.[0-9]+\.[0-9]+(?:[-+._][0-9A-Za-z.+_-]+)?")
_TAGS: Final = "refs/tags/"
_BRANCHES: Final = "refs/heads/"
_REFERENCES: Final = "refs/"
_HASH: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.IGNORECASE)


def delivery_id(value: str | None) -> str | None:
    """An id that the source gave a delivery; None unless it is 1 to 255 visible ASCII characters."""
    return value if value is not None and _VISIBLE.fullmatch(value) else None


def derived_id(*parts: str | None) -> str:
    """The parts that make a change unique as text, such as `deployment/123/status/456`; those that are None left out.

    Where the text is no id that `delivery_id` accepts, its SHA-256 is used instead: `deployment/sha256:…`.
    """
    given = [part for part in parts if part is not None]
    text = "/".join(given)
    if _VISIBLE.fullmatch(text):
        return text
    return f"{given[0]}/sha256:{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()}"


def host_of(url: str | None) -> str | None:
    """The host of an URL in lower case, with its port and without user information; None where there is none."""
    try:
        host = urlsplit(url or "").netloc.rpartition("@")[2].lower()
    except ValueError:
        return None
    return host or None


def path_of(url: str | None) -> str | None:
    """The path of an URL without the slashes around it: `acme/shop`; None where there is none."""
    try:
        path = urlsplit(url or "").path.strip("/")
    except ValueError:
        return None
    return path or None


def split_reference(reference: str | None, *, is_tag: bool | None = None) -> tuple[str | None, str | None]:
    """A branch and a tag, at most one of which is not None. A commit's hash is neither.

    `is_tag`: what the source states. None: it states nothing, as for the reference of a deployment; then it is a tag if
    it begins with `refs/tags/` or is a version of three numbers (`v1.4.2`, `1.4.2-rc.1`), since `1.4` and
    `release/1.4.2` are common names of branches.
    """
    if not reference or _HASH.fullmatch(reference):
        return None, None
    if is_tag is None:
        is_tag = reference.startswith(_TAGS) or _VERSION.fullmatch(reference) is not None
    if is_tag:
        return None, reference.removeprefix(_TAGS)
    if reference.startswith(_BRANCHES):
        return reference.removeprefix(_BRANCHES), None
    return (None if reference.startswith(_REFERENCES) else reference), None
