"""The mapping file: read with one clear line for each fault, and read again while the worker runs."""

import asyncio
from pathlib import Path

import pytest

from worker.mapping_file import FILE_BYTES_MAX, LiveMapping, load_mapping
from worker.rules.errors import ConfigurationError

VALID = "organization: acme\nrules:\n  - match: {repository: acme/shop}\n    ignore: true\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("organization: [", "line 1, column"),
        ("a: b: c", "mapping values are not allowed"),
        ("organization: acme\norganization: other\n", "the name 'organization' is repeated"),
        ("organizations: acme\n", "/organizations: extra inputs are not permitted"),
        ("rules:\n  - match: {repo: x}\n", "/rules/0/match/repo"),
        ("rules: {}\n", "/rules: should be a list"),
        ("- acme\n", "should be a mapping"),
        ("organization: !!python/object:os.system {}\n", "could not determine a constructor"),
        ("x" * (FILE_BYTES_MAX + 1), "has more than"),
        ("[" * 5_000, "nested too deep"),
        ("track: !!int abc\n", "does not fit its tag"),
        ("track: !!timestamp x\n", "does not fit its tag"),
        ("organization: [[a]: b]\n", "line 1"),
        ("organization: \x00", "is not YAML"),
        ("rules:\n  - match: {repository: x}\n    component: {table: t, key: x}\n", "there is no table t"),
    ],
)
def test_faulty_file_is_refused_in_one_line(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "mapping.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as raised:
        load_mapping(path)
    line = str(raised.value)
    assert line.startswith(f"RUDDER_MAPPING_FILE={path}: ")
    assert problem in line
    assert "\n" not in line


def test_missing_file_and_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: No such file"):
        load_mapping(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"organization: \xe9")
    with pytest.raises(ConfigurationError, match="is not UTF-8 text"):
        load_mapping(tmp_path / "latin.yaml")


def test_scalars_are_texts(tmp_path: Path) -> None:
    """As they are written: 1.10 is no number, and 2026-13-45 no date."""
    (tmp_path / "mapping.yaml").write_text("track: 1.10\nenvironments: {2026-13-45: 007, off: ~}\n")
    file = load_mapping(tmp_path / "mapping.yaml").file
    assert (file.track, dict(file.environments)) == ("1.10", {"2026-13-45": "007", "off": None})


def test_empty_file_has_no_rules(tmp_path: Path) -> None:
    (tmp_path / "mapping.yaml").write_text("# nothing yet\n")
    assert load_mapping(tmp_path / "mapping.yaml").file.rules == ()


async def test_file_is_read_again_and_a_faulty_one_is_not_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mapping.yaml"
    path.write_text(VALID)
    live, stop = LiveMapping(path), asyncio.Event()

    async def after_reload(lines: int) -> str:
        live.request_reload()
        text = ""
        while text.count("mapping.re") < lines:
            await asyncio.sleep(0)
            text += capsys.readouterr().out
        return text

    async with asyncio.TaskGroup() as group:
        group.create_task(live.run(stop))
        first = live.current
        path.write_text("rules: nothing\n")
        assert "mapping.refused" in await after_reload(1)
        assert live.current is first
        path.write_text(VALID + "track: v2\n")
        assert "mapping.read" in await after_reload(1)
        assert live.current.file.track == "v2"
        stop.set()
