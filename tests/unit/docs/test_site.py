"""`make docs`: the pages build without a warning, a dead link is one, and the site needs no other host."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[3] / "docs"
# What a browser fetches by itself; a link that a reader may follow is not among it.
_FETCHED = re.compile(r'<(?:script|img|iframe)[^>]*\ssrc="([^"]*)"|<link[^>]*\srel="stylesheet"[^>]*\shref="([^"]*)"')


def build(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    """Runs Sphinx as `make docs` does."""
    arguments = ["--quiet", "--fail-on-warning", "--keep-going", "--builder", "html", str(source), str(target)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *arguments],
        check=False, capture_output=True, text=True, timeout=240, env=environment,
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    result = build(DOCS, target)
    assert result.returncode == 0, result.stderr
    return target


def test_site_has_every_page(site: Path) -> None:
    pages = {path.relative_to(DOCS).with_suffix("") for path in DOCS.rglob("*.md") if "_build" not in path.parts}
    assert pages
    built = {path.relative_to(site).with_suffix("") for path in site.rglob("*.html")}
    assert pages <= built


def test_site_fetches_nothing_from_other_hosts(site: Path) -> None:
    fetched = {
        first or second
        for page in site.rglob("*.html")
        for first, second in _FETCHED.findall(page.read_text(encoding="utf-8"))
    }
    assert fetched
    assert [url for url in fetched if "//" in url] == []


def test_site_refuses_dead_links(tmp_path: Path) -> None:
    shutil.copy(DOCS / "conf.py", tmp_path)
    (tmp_path / "other.md").write_text('---\norphan: true\n---\n# Other\n\n<a id="rule"></a>\n\nA rule.\n', "utf-8")
    links = ["other.md#rule", "other.md#other", "missing.md", "other.md#no-rule", "#nowhere", "../missing.json"]
    (tmp_path / "index.md").write_text("# Pages\n\n" + "".join(f"[a link]({link})\n" for link in links), "utf-8")
    result = build(tmp_path, tmp_path / "_build")
    assert result.returncode != 0
    assert result.stderr.count("[myst.xref_missing]") == 4, result.stderr
    for dead in ("missing.md", "no-rule", "nowhere", "missing.json"):
        assert dead in result.stderr
