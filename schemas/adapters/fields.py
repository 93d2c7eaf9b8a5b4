"""Read a member of a foreign body: its value with the expected type, or Unreadable with the JSON pointer.

`null`, the empty string and a missing member are the same: vendors use all three for "none".
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import unquote

from schemas.adapters.foreign import Unreadable
from schemas.detail import pointer
from schemas.times import YEAR_MAX, parse_time

TEXT_CHARS_MAX: Final = 2_000
"""Longer texts are cut by `line`, and refused by `text`: an identity is never cut."""
_NUMBER_BITS_MAX: Final = 64
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.IGNORECASE)
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}", re.IGNORECASE)
_SPACED_TIME: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[ T]([0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?) ?(UTC|Z|[+-][0-9]{2}:?[0-9]{2})"
)

Path = str | int


def member(body: object, *path: Path) -> object:
    """The value at the path; None where any step is missing or of another shape."""
    value = body
    for step in path:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, Mapping) else None
        elif isinstance(value, Sequence) and not isinstance(value, str) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return None
    return value


def text(body: object, *path: Path) -> str | None:
    """A string, or an integer as text (vendors' ids are either); None where there is none.

    Raises:
        Unreadable: it is of another type, or longer than TEXT_CHARS_MAX.
    """
    value = member(body, *path)
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= _NUMBER_BITS_MAX:
        return str(value)
    if not isinstance(value, str):
        raise Unreadable(f"{pointer(path)}: is not a string")
    if len(value) > TEXT_CHARS_MAX:
        raise Unreadable(f"{pointer(path)}: has {len(value)} characters, more than {TEXT_CHARS_MAX}")
    return value


def required(body: object, *path: Path) -> str:
    """As `text`; raises Unreadable where there is none, too."""
    value = text(body, *path)
    if value is None:
        raise Unreadable(f"{pointer(path)}: is missing")
    return value


def line(body: object, *path: Path) -> str | None:
    """A text for people, such as a description or a name: cut, and None instead of another type."""
    value = member(body, *path)
    return value[:TEXT_CHARS_MAX] if isinstance(value, str) and value else None


def object_at(body: object, *path: Path) -> Mapping[str, Any]:
    """An object. Raises Unreadable."""
    value = member(body, *path)
    if not isinstance(value, Mapping):
        raise Unreadable(f"{pointer(path)}: {'is missing' if value is None else 'is not an object'}")
    return value


def time_at(body: object, *path: Path) -> datetime | None:
    """A time in one of the vendors' formats; None where there is none.

    RFC 3339; with a blank for the `T`, `UTC` for the zone, or an offset without a colon (`2021-04-28 21:50:00 +0200`).

    Raises:
        Unreadable: it is in no such format or out of range.
    """
    value = text(body, *path)
    if value is None:
        return None
    try:
        return parse_time(_rfc3339(value))
    except ValueError as error:
        raise Unreadable(f"{pointer(path)}: {error}") from None


def _rfc3339(value: str) -> str:
    spaced = _SPACED_TIME.fullmatch(value)
    if spaced is None:
        return value
    day, time, zone = spaced.groups()
    if zone in ("UTC", "Z"):
        zone = "Z"
    elif ":" not in zone:
        zone = f"{zone[:3]}:{zone[3:]}"
    return f"{day}T{time}{zone}"


def unix_time_at(body: object, *path: Path, per_second: int = 1) -> datetime | None:
    """A number, or digits as text, of seconds since 1970 (or of `per_second` parts of one). Raises Unreadable."""
    value = text(body, *path)
    if value is None:
        return None
    if not value.isascii() or not value.isdigit():
        raise Unreadable(f"{pointer(path)}: is not a number of {'seconds' if per_second == 1 else 'milliseconds'}")
    try:
        time = _EPOCH + timedelta(microseconds=int(value) * 1_000_000 // per_second)
    except OverflowError:
        raise Unreadable(f"{pointer(path)}: is out of range") from None
    if time.year > YEAR_MAX:
        raise Unreadable(f"{pointer(path)}: is after the year {YEAR_MAX}, UTC")
    return time


def commit_of(value: str | None) -> str | None:
    """The commit's hash in lower case; None unless it is a full one."""
    return value.lower() if value is not None and _COMMIT.fullmatch(value) else None


def split_image(reference: str) -> tuple[str, str | None, str | None]:
    """An image reference as repository, tag and digest: `registry:5000/shop:1.2@sha256:…`.

    Source: the grammar of distribution/reference.
    """
    name, _, digest = reference.partition("@")
    head, slash, last = name.rpartition("/")
    repository, _, tag = last.partition(":")
    return head + slash + repository, tag or None, digest.lower() if _DIGEST.fullmatch(digest) else None


def split_package_url(url: str) -> tuple[str, str | None, str | None] | None:
    """A package URL (`pkg:oci/shop@sha256%3A…?repository_url=…&tag=1.2`) as name, version or tag, and digest.

    None where it is no package URL. Source: the package-url specification, type `oci`.
    """
    if not url.startswith("pkg:"):
        return None
    rest, _, _ = url.removeprefix("pkg:").partition("#")
    rest, _, qualifiers = rest.partition("?")
    path, _, version = rest.partition("@")
    version = unquote(version)
    given = dict(part.partition("=")[::2] for part in qualifiers.split("&") if part)
    tag = unquote(given["tag"]) if given.get("tag") else None
    if _DIGEST.fullmatch(version):
        return unquote(path), tag, version.lower()
    return unquote(path), version or tag, None
