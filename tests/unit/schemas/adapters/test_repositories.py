"""The id of a change, the host of a repository, and a git reference."""

import pytest

from schemas.adapters.repositories import delivery_id, derived_id, host_of, path_of, split_reference

COMMIT = "f95f852bd8fca8fcc58a9a2d6c842781e32a215e"


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        (None, (None, None)),
        ("", (None, None)),
        (COMMIT, (None, None)),
        (COMMIT.upper(), (None, None)),
        ("a" * 64, (None, None)),
        ("refs/tags/nightly", (None, "nightly")),
        ("refs/heads/1.2.3", ("1.2.3", None)),
        ("refs/pull/7/merge", (None, None)),
        ("1.0.0", (None, "1.0.0")),
        ("v1.4.2", (None, "v1.4.2")),
        ("v1.4.2-rc.1", (None, "v1.4.2-rc.1")),
        ("1.4.2+build.7", (None, "1.4.2+build.7")),
        ("2026.11.28.1", (None, "2026.11.28.1")),
        ("main", ("main", None)),
        ("1.4", ("1.4", None)),
        ("release/1.4.2", ("release/1.4.2", None)),
        ("1.4.2/fix", ("1.4.2/fix", None)),
    ],
)
def test_reference_is_a_branch_a_tag_or_neither(reference: str | None, expected: tuple[str | None, str | None]) -> None:
    assert split_reference(reference) == expected


def test_stated_kind_of_a_reference_is_used() -> None:
    assert split_reference("nightly", is_tag=True) == (None, "nightly")
    assert split_reference("1.0.0", is_tag=False) == ("1.0.0", None)
    assert split_reference("refs/tags/1.0.0", is_tag=True) == (None, "1.0.0")


def test_derived_id_is_readable() -> None:
    assert derived_id("deployment", "123", "status", "456") == "deployment/123/status/456"
    assert derived_id("pipeline", "31", None, "success") == "pipeline/31/success"


@pytest.mark.parametrize("part", ["x" * 300, "a b", "\n", "\0", "\ud800", "ü"])
def test_unusual_derived_id_is_hashed(part: str) -> None:
    hashed = derived_id("deployment", part)
    assert delivery_id(hashed) == hashed
    assert hashed.startswith("deployment/sha256:")
    assert hashed != derived_id("deployment", part + "1")


@pytest.mark.parametrize("value", [None, "", "a b", "\x7f", "ü", "x" * 256])
def test_unusual_delivery_id_is_ignored(value: str | None) -> None:
    assert delivery_id(value) is None


def test_longest_delivery_id_is_accepted() -> None:
    assert delivery_id("x" * 255) == "x" * 255


@pytest.mark.parametrize(
    ("url", "host", "path"),
    [
        ("https://github.com/acme/shop", "github.com", "acme/shop"),
        ("https://user:secret@GitHub.Example.com:8443/acme/shop/", "github.example.com:8443", "acme/shop"),
        ("http://10.126.0.2:3000/root", "10.126.0.2:3000", "root"),
        ("https://github.com", "github.com", None),
        ("acme/shop", None, "acme/shop"),
        ("", None, None),
        (None, None, None),
        ("http://[", None, None),
    ],
)
def test_url_has_a_host_and_a_path(url: str | None, host: str | None, path: str | None) -> None:
    assert (host_of(url), path_of(url)) == (host, path)
