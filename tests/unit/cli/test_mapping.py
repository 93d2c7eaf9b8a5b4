"""`mapping test` shows what becomes of payloads; `mapping init` proposes a file that `mapping test` reads."""

import json
from pathlib import Path

import pytest
import yaml

from schemas.mapping_rules import MappingFile
from tests.unit.cli.command_line import CommandLine

PAYLOADS = Path(__file__).parents[2] / "payloads"
STATUS = PAYLOADS / "github/octokit/deployment_status.json"
DEPLOYMENT = PAYLOADS / "github/octokit/deployment.json"
COMPONENT = "7b1e0f0c-52f3-4a7e-8a34-6f5b8f0f2c11"


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    path = tmp_path / "mapping.yaml"
    path.write_text(
        f"organization: acme\nproject: {COMPONENT}\nenvironments: {{production: prod}}\n"
        f"rules:\n  - match: {{repository: Codertocat/*}}\n    component: {COMPONENT}\n"
    )
    return path


def test_event_of_a_payload_is_shown(command_line: CommandLine, mapping: Path) -> None:
    ended = command_line("mapping", "test", str(mapping), str(STATUS), "--header", "X-GitHub-Delivery: guid-1")
    assert (ended.code, ended.err) == (0, "")
    head, *fields = ended.out.splitlines()
    assert head == f"{STATUS}: deployment.succeeded"
    shown = dict(line.split(maxsplit=1) for line in fields)
    assert (shown["id"], shown["environment_id"], shown["component_id"]) == ("guid-1", "prod", COMPONENT)
    assert shown["release_found_by"] == "commit"


def test_json_has_one_object_per_payload(command_line: CommandLine, mapping: Path) -> None:
    ping = PAYLOADS / "github/captured/ping.ping.json"
    ended = command_line("mapping", "test", str(mapping), str(STATUS), str(ping), "--json")
    assert ended.code == 0
    event, nothing = map(json.loads, ended.out.splitlines())
    assert (event["outcome"], event["format"], event["status"]) == ("event", "github", "success")
    assert nothing == {"payload": str(ping), "outcome": "no interest", "format": "github", "kind": "ping"}


def test_unmapped_payload_fails_with_the_lines_to_add(command_line: CommandLine, tmp_path: Path) -> None:
    empty = tmp_path / "empty.yaml"
    empty.write_text("organization: acme\n")
    ended = command_line("mapping", "test", str(empty), str(STATUS))
    assert ended.code == 1
    assert "rejected: unmapped" in ended.out
    assert "- {match: {repository: 'Codertocat/Hello-World'}, component: <the component's id>}" in ended.out


def test_headers_beside_a_payload_are_used(command_line: CommandLine, mapping: Path) -> None:
    """And the file with the headers is no payload itself."""
    folder = PAYLOADS / "github/captured"
    files = sorted(folder.glob("release.published*"))
    ended = command_line("mapping", "test", str(mapping), *map(str, files), "--json")
    [shown] = map(json.loads, ended.out.splitlines())
    headers = json.loads((folder / "release.published.headers.json").read_bytes())
    delivery = next(value for name, value in headers.items() if name.lower() == "x-github-delivery")
    assert shown["id"] in str(delivery)


def test_lines_of_a_file_are_payloads(command_line: CommandLine, mapping: Path, tmp_path: Path) -> None:
    text = json.dumps(json.loads(STATUS.read_bytes()))
    (tmp_path / "both.jsonl").write_text(f"{text}\n\n{text}\n")
    ended = command_line("mapping", "test", str(mapping), "both.jsonl", "--json", "--format", "github")
    assert [json.loads(line)["payload"] for line in ended.out.splitlines()] == ["both.jsonl:1", "both.jsonl:2"]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["test", "{mapping}", "none.json"], "none.json cannot be read: No such file"),
        (["test", "none.yaml", str(STATUS)], "none.yaml: cannot be read"),
        (["test", "{mapping}", str(STATUS), "--header", "x"], "--header x: write it as 'Name: value'"),
        (["init"], "no payload is given"),
    ],
)
def test_wrong_usage_is_one_line(command_line: CommandLine, mapping: Path, arguments: list[str], line: str) -> None:
    ended = command_line("mapping", *(text.replace("{mapping}", str(mapping)) for text in arguments))
    assert ended.code == 2
    assert line in ended.err
    assert ended.err.count("\n") == 1


def test_proposed_file_is_valid_and_names_what_is_missing(command_line: CommandLine, tmp_path: Path) -> None:
    gitlab = PAYLOADS / "gitlab/recorded/deployment.success.json"
    ended = command_line("mapping", "init", str(STATUS), str(DEPLOYMENT), str(gitlab), "--organization", "acme")
    assert ended.code == 0
    proposed = yaml.safe_load(ended.out)
    MappingFile.model_validate(proposed)
    assert proposed["organization"] == "acme"
    assert "production" in proposed["environments"]
    assert {"repository": "Codertocat/Hello-World"} in [rule["match"] for rule in proposed["rules"]]
    (tmp_path / "proposed.yaml").write_text(ended.out)
    tested = command_line("mapping", "test", "proposed.yaml", str(STATUS))
    assert "is not a UUID" in tested.out


def test_nothing_is_proposed_from_other_payloads(command_line: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"some": "thing"}')
    ended = command_line("mapping", "init", str(PAYLOADS / "github/captured/ping.ping.json"), "other.json")
    assert (ended.code, ended.out) == (1, "")
    assert "its format is unknown" in ended.err
    assert "of no interest (github, ping)" in ended.err
