"""The notes of a release are its section of CHANGELOG.md, and a release that cannot be described stops."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "release_notes.py"

CHANGELOG = """\
# Changelog

## [Unreleased]

### Added

- Not released.

## [0.2.0] - 2026-12-01

A sentence about the release.

### Fixed

- A fault, see [the issue][7].

```
## [0.9.0] - 2026-12-24
```

### Removed

- An option.

## [0.1.0] - 2026-11-01

### Added

- The first version.

[Unreleased]: https://example.com/compare/v0.2.0...HEAD
[0.2.0]: https://example.com/compare/v0.1.0...v0.2.0
[7]: https://example.com/issues/7
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("release_notes", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_notes_are_the_versions_section(script: ModuleType) -> None:
    """From below its heading to the next version's; a heading within fenced code ends nothing."""
    notes = script.release_notes(CHANGELOG, "0.2.0")
    assert notes.startswith("A sentence about the release.\n\n### Fixed\n\n- A fault")
    assert notes.endswith("```\n## [0.9.0] - 2026-12-24\n```\n\n### Removed\n\n- An option.\n")


def test_notes_of_the_oldest_version_end_before_comparison_links(script: ModuleType) -> None:
    """A reference of the text's own stays."""
    notes = script.release_notes(CHANGELOG, "0.1.0")
    assert notes == "### Added\n\n- The first version.\n\n[7]: https://example.com/issues/7\n"


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("0.3.0", "no section for 0.3.0"),
        ("0.9.0", "no section for 0.9.0"),
        ("0.2", r"no section for 0\.2;"),
        ("Unreleased", "has no date"),
    ],
)
def test_undescribed_version_is_refused(script: ModuleType, version: str, message: str) -> None:
    with pytest.raises(script.NoNotes, match=message):
        script.release_notes(CHANGELOG, version)


def test_section_without_entries_is_refused(script: ModuleType) -> None:
    with pytest.raises(script.NoNotes, match="no entry"):
        script.release_notes("## [0.2.0] - 2026-12-01\n\n### Added\n\n## [0.1.0] - 2026-11-01\n\n- Old.\n", "0.2.0")


def test_version_with_two_sections_is_refused(script: ModuleType) -> None:
    with pytest.raises(script.NoNotes, match=r"2 sections for 0\.2\.0"):
        script.release_notes("## [0.2.0] - 2026-12-01\n\n- One.\n\n## [0.2.0] - 2026-12-02\n\n- Two.\n", "0.2.0")


def test_tag_must_name_the_stated_version(script: ModuleType) -> None:
    module = 'words\n\n__version__ = "0.2.0"\n'
    assert script.tagged_version("v0.2.0", module) == "0.2.0"
    for tag in ("0.2.0", "v0.2.1", "v0.2.0-rc1", "main"):
        with pytest.raises(script.NoNotes, match=r"worker/version.py states 0\.2\.0"):
            script.tagged_version(tag, module)


def test_command_refuses_a_wrong_tag_in_one_line() -> None:
    """The repository's own files: no release has this tag."""
    ended = subprocess.run([sys.executable, str(SCRIPT), "v0"], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("release notes: the tag is v0, and worker/version.py states ")
    assert ended.stderr.count("\n") == 1
