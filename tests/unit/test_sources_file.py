"""RUDDER_SOURCES_FILE: its entries are used as written, and invalid content is refused in one line."""

from pathlib import Path

import pytest

from worker.rules.errors import ConfigurationError
from worker.sources_file import FILE_BYTES_MAX, ORGANIZATIONS_MAX, SOURCES_MAX, allowed_sources

WHOLE = """
# who may speak for whom
[organizations]
acme = ["/ci/acme/*", "https://ci.example.com/acme"]
"größe & co" = []
"*" = ["/platform/*"]
"""


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "sources.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        allowed_sources(path)
    line = str(caught.value)
    assert line.startswith(f"RUDDER_SOURCES_FILE={path}"[:100])
    assert len(line.splitlines()) == 1
    assert line.isprintable()
    assert len(line) <= 500
    return line


def test_missing_file_is_no_list() -> None:
    assert allowed_sources(None) is None


def test_list_has_the_files_content(tmp_path: Path) -> None:
    sources = allowed_sources(written(tmp_path, WHOLE))
    assert sources is not None
    asked = [
        ("acme", "/ci/acme/main", True),
        ("acme", "https://ci.example.com/acme", True),
        ("acme", "/platform/x", False),
        ("größe & co", "/platform/x", False),
        ("new", "/platform/x", True),
        ("new", "/ci/acme/main", False),
    ]
    for organization_id, source, allowed in asked:
        assert sources.allow(source, organization_id=organization_id) is allowed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "/organizations: field required"),
        ("[organizations]", "/organizations: "),
        ("organizations = []", "/organizations: "),
        ("[organisations]\nacme = ['/a']", "/organizations: field required"),
        (WHOLE + "[more]\n", "/more: "),
        ("[organizations]\nacme = '/a'", "/organizations/acme: "),
        ("[organizations]\nacme = [1]", "/organizations/acme/0: "),
        ("[organizations]\nacme = ['/a', '']", "/organizations/acme/1: "),
        ("[organizations]\nacme = ['/ci/*/main']", "last character"),
        ("[organizations]\nacme = ['**']", "last character"),
        ('[organizations]\nacme = ["/a\\u001b[2J"]', "control characters"),
        ("[organizations]\nacme = ['" + "s" * 1025 + "']", "longer than 1024"),
        ("[organizations]\n'' = ['/a']", "/organizations/"),
        ("[organizations]\n" + "o" * 256 + " = ['/a']", "/organizations/"),
        ("[organizations]\nacme = ['/a']\nacme = ['/b']", "not TOML: "),
        ("[organizations\n", "not TOML: "),
        ('[organizations]\nacme = ["\\ud800"]', "not TOML: "),
        ("a = " + "[" * 100_000, "nested too deep"),
        (b"[organizations]\nacme = ['\xff']", "UTF-8"),
        ("#" * (FILE_BYTES_MAX + 1), f"more than {FILE_BYTES_MAX} bytes"),
        ("[organizations]\na = [" + "'s'," * (SOURCES_MAX + 1) + "]", "/organizations/a: "),
        ("[organizations]\n" + "".join(f"o{n} = []\n" for n in range(ORGANIZATIONS_MAX + 1)), "/organizations: "),
    ],
)
def test_invalid_content_is_refused_with_its_position(tmp_path: Path, text: str | bytes, words: str) -> None:
    """A misread list would reject allowed sources or accept others."""
    assert words in refusal(written(tmp_path, text))


def test_unreadable_file_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "missing.toml")
    assert "directory" in refusal(tmp_path)


def test_source_may_be_as_long_as_an_events(tmp_path: Path) -> None:
    longest = "s" * 1024
    sources = allowed_sources(written(tmp_path, f"[organizations]\nacme = ['{longest}*']"))
    assert sources is not None
    assert sources.allow(longest, organization_id="acme")
