"""The files of integrations/ against the linters, schemas and parsers of the systems that read them."""

import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.end_to_end.pages import DOCS, blocks
from tests.testkit.pipeline_tools import (
    INTEGRATIONS,
    SCRIPT,
    actionlint,
    gitlab_ci_local,
    gitlab_project,
    jenkinsfile_outline,
    parser_errors,
    program,
    run,
    tekton_lint,
    tekton_schema,
)

ACTION = INTEGRATIONS / "github-action" / "action.yml"
WORKFLOWS = (INTEGRATIONS / "github-action" / "deploy.yml", INTEGRATIONS / "monorepo" / "deploy.yml")
TEMPLATE = INTEGRATIONS / "gitlab-component" / "templates" / "deployment.yml"
GITLAB_EXAMPLE = INTEGRATIONS / "gitlab-component" / "example.gitlab-ci.yml"
TASK, PIPELINE = INTEGRATIONS / "tekton" / "task.yaml", INTEGRATIONS / "tekton" / "pipeline.yaml"
PAGE = DOCS / "how-to" / "publish-from-ci.md"
JENKINSFILE = INTEGRATIONS / "jenkins" / "Jenkinsfile"


def changed(path: Path, old: str, new: str, folder: Path) -> Path:
    """A copy of the file with one text replaced everywhere."""
    text = path.read_text("utf-8")
    assert old in text
    copy = folder / path.name
    copy.write_text(text.replace(old, new), encoding="utf-8")
    return copy


def test_script_has_no_findings_of_shellcheck(tmp_path: Path) -> None:
    shellcheck = program("shellcheck")
    done = run([shellcheck, "--shell", "sh", SCRIPT])
    assert done.returncode == 0, done.stdout
    broken = run(
        [shellcheck, "--shell", "sh", changed(SCRIPT, '"$GATEWAY_TOKEN_FILE"', "$GATEWAY_TOKEN_FILE", tmp_path)]
    )
    assert "SC2086" in broken.stdout


def test_action_and_workflows_pass_githubs_parser(tmp_path: Path) -> None:
    assert parser_errors(ACTION, *WORKFLOWS) == []
    [error] = parser_errors(changed(ACTION, "using: composite", "using: compsite", tmp_path))
    assert "Unexpected value 'compsite'" in error
    [error] = parser_errors(changed(WORKFLOWS[1], "fail-fast", "fial-fast", tmp_path))
    assert "Unexpected value 'fial-fast'" in error


def test_workflows_pass_actionlint(tmp_path: Path) -> None:
    """It compares the inputs with those of the action."""
    linter = actionlint()
    workflows, action = tmp_path / ".github" / "workflows", tmp_path / ".github" / "actions" / "rudder-event"
    workflows.mkdir(parents=True)
    action.mkdir(parents=True)
    run(["git", "init", "--quiet"], folder=tmp_path)
    shutil.copy(ACTION, action)
    for path in WORKFLOWS:
        shutil.copy(path, workflows / f"{path.parent.name}.yml")
    done = run([linter, "-no-color"], folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    changed(WORKFLOWS[0], "environment: production", "enviroment: production", workflows)
    done = run([linter, "-no-color"], folder=tmp_path)
    assert 'input "enviroment" is not defined in action' in done.stdout


@pytest.fixture(scope="module")
def schemas() -> dict[str, dict[str, Any]]:
    return {kind: tekton_schema(kind) for kind in ("Task", "Pipeline")}


def schema_errors(schemas: dict[str, dict[str, Any]], path: Path) -> list[str]:
    document = yaml.safe_load(path.read_text("utf-8"))
    validator = jsonschema.Draft7Validator(schemas[document["kind"]])
    return [error.json_path for error in validator.iter_errors(document)]


def test_tekton_objects_conform_to_their_definitions(schemas: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    assert schema_errors(schemas, TASK) == schema_errors(schemas, PIPELINE) == []
    assert schema_errors(schemas, changed(TASK, "computeResources", "resources", tmp_path)) == ["$.spec.steps[0]"]
    assert schema_errors(schemas, changed(PIPELINE, "runAfter: [report-start]", "runAfter: x", tmp_path)) == [
        "$.spec.tasks[1].runAfter"
    ]


def test_tekton_objects_pass_a_linter(tmp_path: Path) -> None:
    done = tekton_lint(TASK, PIPELINE)
    assert (done.returncode, done.stdout.strip()) == (0, "")
    done = tekton_lint(TASK, changed(PIPELINE, "name: run\n", "name: rnu\n", tmp_path))
    assert done.returncode == 1
    assert "rnu" in done.stdout


def test_gitlab_component_conforms_to_gitlabs_schema(tmp_path: Path) -> None:
    example = GITLAB_EXAMPLE.read_text("utf-8")
    done = gitlab_ci_local(gitlab_project(tmp_path / "sound", example, TEMPLATE), "--preview")
    assert done.returncode == 0, done.stdout
    assert "json schema validated" in done.stdout
    jobs = yaml.safe_load(done.stdout[done.stdout.index("---") :])
    assert jobs["cart"]["variables"]["EVENT_COMPONENT"] != jobs["checkout"]["variables"]["EVENT_COMPONENT"]
    [shown] = [block.text for block in blocks(PAGE.read_text("utf-8")) if "- component:" in block.text]
    component = "component: $CI_SERVER_FQDN/acme/rudder/deployment@1.0.0"
    assert component in shown
    shown = shown.replace(component, "local: /templates/deployment.yml")
    done = gitlab_ci_local(gitlab_project(tmp_path / "shown", shown, TEMPLATE), "--preview")
    assert done.returncode == 0, done.stdout
    broken = changed(TEMPLATE, "  variables:", "  varaibles:", tmp_path)
    done = gitlab_ci_local(gitlab_project(tmp_path / "broken", example, broken), "--preview")
    assert done.returncode != 0
    assert "varaibles" in done.stdout


def outline(path: Path) -> dict[str, list[str]]:
    """The values by block and name."""
    done = jenkinsfile_outline(path)
    assert done.returncode == 0, done.stdout
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        name, _, value = line.partition("\t")
        found.setdefault(name.removeprefix("pipeline/"), []).append(value)
    return found


def test_jenkinsfile_reports_every_result(tmp_path: Path) -> None:
    """Groovy reads it. Jenkins and its own linter are not in Maven Central."""
    found = outline(JENKINSFILE)
    reports = {name.split("/")[1]: commands for name, commands in found.items() if name.startswith("post/")}
    assert reports == {
        "success": ["ci/rudder-event.sh deployment.succeeded"],
        "unstable": ["ci/rudder-event.sh deployment.succeeded"],
        "failure": ["ci/rudder-event.sh deployment.failed"],
        "aborted": ["ci/rudder-event.sh deployment.cancelled"],
    }
    assert found["environment/GATEWAY_TOKEN"] == ["credentials(rudder-gateway-token)"]
    broken = jenkinsfile_outline(changed(JENKINSFILE, "post {", "post", tmp_path))
    assert broken.returncode != 0
