#!/usr/bin/env python3
"""Prints the notes of one release: the section of CHANGELOG.md for the version that a tag names.

Usage: .ci/release_notes.py TAG, where TAG is `v` and the version in worker/version.py. Exit code 1 and one line on
standard error if the tag names another version, or if the changelog has no dated section with entries for it. Needs
no more than Python, so that a release workflow can run it before anything is installed.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

_REPOSITORY = Path(__file__).parents[1]
_HEADING = re.compile(r"## \[(?P<version>[^\]]+)\](?: - (?P<date>\d{4}-\d{2}-\d{2}))?")
_COMPARISON = re.compile(r"\[(?:Unreleased|\d+\.\d+[^\]]*)\]: ")
_FENCE = re.compile(r" {0,3}(```|~~~)")


class NoNotes(Exception):
    """The release cannot be described; the message is for its maintainer."""


def release_notes(changelog: str, version: str) -> str:
    """The section's text without its heading; NoNotes where it is absent, has no date or no entry."""
    headings = [(line, match) for line, match in _headings(changelog) if match["version"] == version]
    if not headings:
        raise NoNotes(f"CHANGELOG.md has no section for {version}; add `## [{version}] - YYYY-MM-DD`")
    if len(headings) > 1:
        raise NoNotes(f"CHANGELOG.md has {len(headings)} sections for {version}; join them")
    [(start, heading)] = headings
    if heading["date"] is None:
        raise NoNotes(f"the section for {version} in CHANGELOG.md has no date; write `## [{version}] - YYYY-MM-DD`")
    end = min((line for line, _ in _headings(changelog) if line > start), default=None)
    lines = [line for line in changelog.splitlines()[start + 1 : end] if not _COMPARISON.match(line)]
    if not any(line.startswith(("- ", "* ")) for line in lines):
        raise NoNotes(f"the section for {version} in CHANGELOG.md has no entry")
    return "\n".join(lines).strip() + "\n"


def tagged_version(tag: str, version_module: str) -> str:
    """The version that a tag names; NoNotes where worker/version.py states another."""
    stated = re.search(r'^__version__ = "([^"]+)"$', version_module, flags=re.MULTILINE)
    if stated is None:
        raise NoNotes("worker/version.py states no version")
    if tag != f"v{stated[1]}":
        raise NoNotes(
            f"the tag is {tag}, and worker/version.py states {stated[1]}; tag v{stated[1]} or change the file"
        )
    return stated[1]


def _headings(changelog: str) -> Iterator[tuple[int, re.Match[str]]]:
    """The number and the match of each version's heading; lines within fenced code are none."""
    fence = None
    for number, line in enumerate(changelog.splitlines()):
        if mark := _FENCE.match(line):
            fence = mark[1] if fence is None else None if fence == mark[1] else fence
        elif fence is None and (heading := _HEADING.match(line)):
            yield number, heading


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        sys.stderr.write("usage: .ci/release_notes.py TAG\n")
        return 2
    try:
        version = tagged_version(arguments[0], (_REPOSITORY / "worker" / "version.py").read_text(encoding="utf-8"))
        sys.stdout.write(release_notes((_REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8"), version))
    except NoNotes as error:
        sys.stderr.write(f"release notes: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
