"""Typed access to foreign bodies: each vendor's way to write times, numbers, images and package URLs."""

from datetime import UTC, datetime

import pytest

from schemas.adapters.fields import (
    TEXT_CHARS_MAX,
    commit_of,
    line,
    member,
    object_at,
    required,
    split_image,
    split_package_url,
    text,
    time_at,
    unix_time_at,
)
from schemas.adapters.foreign import Unreadable

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2021-04-28 21:50:00 +0200", datetime(2021, 4, 28, 19, 50, tzinfo=UTC)),
        ("2016-08-12 15:23:28 UTC", datetime(2016, 8, 12, 15, 23, 28, tzinfo=UTC)),
        ("2025-05-02 12:30:19 +0000", datetime(2025, 5, 2, 12, 30, 19, tzinfo=UTC)),
        ("2026-08-02T07:59:54.000+00:00", datetime(2026, 8, 2, 7, 59, 54, tzinfo=UTC)),
        ("2026-03-01T09:30:00.1234567Z", datetime(2026, 3, 1, 9, 30, 0, 123456, tzinfo=UTC)),
        (None, None),
        ("", None),
    ],
)
def test_times_of_vendors_are_read(value: str | None, expected: datetime | None) -> None:
    assert time_at({"at": value}, "at") == expected


@pytest.mark.parametrize("value", ["yesterday", "2026-03-01", "2026-13-01T00:00:00Z", "9999-12-31T23:59:59Z", True, {}])
def test_other_times_are_refused_with_their_pointer(value: object) -> None:
    with pytest.raises(Unreadable, match=r"^/a/at: "):
        time_at({"a": {"at": value}}, "a", "at")


def test_unix_times_are_read() -> None:
    assert unix_time_at({"at": 1700000000}, "at") == datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert unix_time_at({"at": "1700000000123"}, "at", per_second=1_000) == datetime(
        2023, 11, 14, 22, 13, 20, 123000, tzinfo=UTC
    )
    assert unix_time_at({}, "at") is None


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("x", "is not a number"),
        (-1, "is not a number"),
        ("9" * 30, "is out of range"),
        (253_402_300_799, "after the year"),
    ],
)
def test_other_numbers_are_no_time(value: object, problem: str) -> None:
    with pytest.raises(Unreadable, match=problem):
        unix_time_at({"at": value}, "at")


def test_members_are_found_by_their_path() -> None:
    body = {"a": [{"b": "x"}], "n": 7, "big": 10**30, "flag": True}
    assert member(body, "a", 0, "b") == "x"
    assert member(body, "a", 1) is None
    assert member(body, "n", "b") is None
    assert member(body, "n", 0) is None
    assert (text(body, "n"), text(body, "none"), required(body, "a", 0, "b")) == ("7", None, "x")
    for path in ("big", "flag", "a"):
        with pytest.raises(Unreadable, match=f"^/{path}: is not a string"):
            text(body, path)
    with pytest.raises(Unreadable, match=r"^/none: is missing"):
        required(body, "none")
    with pytest.raises(Unreadable, match=f"more than {TEXT_CHARS_MAX}"):
        text({"long": "x" * (TEXT_CHARS_MAX + 1)}, "long")


def test_lines_are_cut_and_objects_required() -> None:
    assert line({"a": "x" * 5_000}, "a") == "x" * TEXT_CHARS_MAX
    assert line({"a": 5}, "a") is None
    assert object_at({"a": {"b": 1}}, "a") == {"b": 1}
    with pytest.raises(Unreadable, match=r"^/a: is missing"):
        object_at({}, "a")
    with pytest.raises(Unreadable, match=r"^/a: is not an object"):
        object_at({"a": []}, "a")


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("shop", ("shop", None, None)),
        ("registry:5000/acme/shop", ("registry:5000/acme/shop", None, None)),
        ("registry:5000/acme/shop:1.2", ("registry:5000/acme/shop", "1.2", None)),
        (f"acme/shop:1.2@{DIGEST}", ("acme/shop", "1.2", DIGEST)),
        (f"acme/shop@{DIGEST.upper().replace('SHA256', 'sha256')}", ("acme/shop", None, DIGEST)),
        ("acme/shop@sha256:short", ("acme/shop", None, None)),
    ],
)
def test_images_are_split(reference: str, expected: tuple[str, str | None, str | None]) -> None:
    assert split_image(reference) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (f"pkg:oci/shop@{DIGEST.replace(':', '%3A')}?repository_url=reg.io&tag=1.2", ("oci/shop", "1.2", DIGEST)),
        ("pkg:golang/mygit.com/myorg/myapp@234fd47e07d1", ("golang/mygit.com/myorg/myapp", "234fd47e07d1", None)),
        ("pkg:npm/%40acme/shop@1.0.0#sub/path", ("npm/@acme/shop", "1.0.0", None)),
        ("pkg:npm/shop", ("npm/shop", None, None)),
        ("shop@1", None),
    ],
)
def test_package_urls_are_split(url: str, expected: tuple[str, str | None, str | None] | None) -> None:
    assert split_package_url(url) == expected


def test_only_full_hashes_are_commits() -> None:
    assert commit_of("AB" * 20) == "ab" * 20
    assert commit_of("cd" * 32) == "cd" * 32
    assert [commit_of(value) for value in ("abc1234", "x" * 40, None)] == [None] * 3
