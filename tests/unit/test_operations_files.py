"""The files that operators and CI rely on agree with the code: compose.yaml, Dockerfile, the workflow, the pins."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from sqlalchemy import make_url

from tests.testkit.availability import SERVERS
from worker.cli.run import GRACE_SECONDS
from worker.settings import Settings, unknown_names

REPOSITORY = Path(__file__).parents[2]
"""The time that `rudder-worker run` allows beyond the drain timeout; see worker/cli/run.py."""

PASSWORD_VARIABLE = re.compile(r"\$\{MSSQL_SA_PASSWORD:\?[^}]+\}")


def text_of(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


COMPOSE = "compose.yaml"
DOCKERFILE = "Dockerfile"
WORKFLOW = ".github/workflows/ci.yml"
RELEASE = ".github/workflows/release.yml"
WORKFLOWS = (WORKFLOW, RELEASE, ".github/workflows/nightly.yml")
REQUIREMENTS = ("requirements/runtime.txt", "requirements/dev.txt", "requirements/bench.txt")


@pytest.fixture
def services() -> Mapping[str, Any]:
    services: Mapping[str, Any] = yaml.safe_load(text_of(COMPOSE))["services"]
    return services


@pytest.fixture
def jobs() -> Mapping[str, Any]:
    jobs: Mapping[str, Any] = yaml.safe_load(text_of(WORKFLOW))["jobs"]
    return jobs


def scalars(value: object) -> Iterator[str]:
    """Every text within a parsed document, the keys of mappings left out."""
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from scalars(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from scalars(inner)
    elif isinstance(value, str):
        yield value


def waits_for(services: Mapping[str, Any], name: str) -> set[tuple[str, str]]:
    """Every (service, condition) that must hold before the service starts, those of its dependencies included."""
    direct = {(other, how["condition"]) for other, how in services[name].get("depends_on", {}).items()}
    return direct.union(*(waits_for(services, other) for other, _ in direct))


def instructions(name: str) -> list[str]:
    """The Dockerfile's instructions, each on one line, without comments."""
    lines = (line for line in text_of(DOCKERFILE).splitlines() if not line.lstrip().startswith("#"))
    joined = "\n".join(lines).replace("\\\n", " ")
    return [line for line in joined.splitlines() if line.split(" ", 1)[0] == name]


def test_worker_starts_after_its_dependencies(services: Mapping[str, Any]) -> None:
    """The broker and the database respond, and topics and tables exist, before the worker starts for the first time."""
    assert waits_for(services, "worker") == {
        ("kafka", "service_healthy"),
        ("topics", "service_completed_successfully"),
        ("sqlserver", "service_healthy"),
        ("database", "service_completed_successfully"),
        ("database-url", "service_completed_successfully"),
        ("migrate", "service_completed_successfully"),
    }
    assert ("database", "service_completed_successfully") in waits_for(services, "migrate")
    assert ("sqlserver", "service_healthy") in waits_for(services, "database")
    assert ("kafka", "service_healthy") in waits_for(services, "topics")


def test_every_awaited_service_can_become_ready(services: Mapping[str, Any]) -> None:
    """A healthy service has a health check; one that completes is not started again."""
    for other, condition in waits_for(services, "worker"):
        if condition == "service_healthy":
            assert services[other]["healthcheck"]["test"]
            assert services[other]["restart"] == "unless-stopped"
        else:
            assert services[other]["restart"] == "no"


def test_compose_file_holds_no_secret(services: Mapping[str, Any]) -> None:
    """The password comes from the environment, and without it nothing starts."""
    for service in services.values():
        for name, value in service.get("environment", {}).items():
            if "PASSWORD" in name:
                assert PASSWORD_VARIABLE.fullmatch(value), name
    assert len(PASSWORD_VARIABLE.findall(text_of(COMPOSE))) == 3
    assert not [
        text
        for text in scalars(services)
        if re.search(r"(?i)://[^/\s]*:[^/\s]*@|\b(pwd|password)=(?!os\.environ)\S", text)
    ]


def test_worker_gets_its_password_only_as_a_file(services: Mapping[str, Any]) -> None:
    """Every user who may inspect the container can read its environment variables."""
    for name in ("migrate", "worker"):
        environment = services[name]["environment"]
        assert environment["RUDDER_DATABASE_URL_FILE"] == "/var/lib/rudder/database-url"
        assert not [variable for variable in environment if "PASSWORD" in variable]
        assert services[name]["volumes"] == ["database-url:/var/lib/rudder:ro"]


def test_url_file_preserves_any_password(services: Mapping[str, Any], tmp_path: Path) -> None:
    """The password's characters are escaped for a URL, and only the owner may read the file."""
    password = "Aa1 :/@?#[]%&+='\";{}$é"
    script, path = services["database-url"]["command"]
    assert path == services["worker"]["environment"]["RUDDER_DATABASE_URL_FILE"]
    written = tmp_path / "database-url"
    environment = {"MSSQL_SA_PASSWORD": password, "PYTHONUTF8": "1"}
    subprocess.run([sys.executable, "-c", script, str(written)], check=True, env=environment, timeout=60)
    url = make_url(written.read_text(encoding="utf-8"))
    assert url.password == password
    assert (url.drivername, url.host, url.database) == ("mssql+aioodbc", "sqlserver", "rudder")
    assert f"[{url.query['driver']}]" in text_of(DOCKERFILE)
    assert written.stat().st_mode & 0o077 == 0


def test_created_topics_are_the_defaults_of_the_settings(services: Mapping[str, Any]) -> None:
    """The worker runs with its defaults, so the four topics are those."""
    created = re.findall(r"^create (\S+)", services["topics"]["command"][0], flags=re.MULTILINE)
    defaults = [field.default for name, field in Settings.model_fields.items() if "topic" in name]
    assert sorted(created) == sorted(
        topic
        for value in defaults
        if value is not None  # the topic of another setting
        for topic in (value if isinstance(value, tuple) else (value,))
    )


def test_kafka_version_of_compose_is_the_tested_one(services: Mapping[str, Any]) -> None:
    """The broker and its tools have the same version."""
    version = re.search(r"<kafka\.version>([^<]+)<", text_of("tests/testkit/kafka/pom.xml"))
    assert version is not None
    assert {services[name]["image"] for name in ("kafka", "topics")} == {f"apache/kafka:{version[1]}"}


def test_stop_grace_period_covers_the_drain(services: Mapping[str, Any]) -> None:
    """A worker killed during the drain would leave its work to be repeated."""
    seconds = re.fullmatch(r"([0-9]+)s", services["worker"]["stop_grace_period"])
    assert seconds is not None
    assert int(seconds[1]) > Settings.model_fields["drain_timeout_seconds"].default + GRACE_SECONDS


def test_containers_are_read_only_and_unprivileged(services: Mapping[str, Any]) -> None:
    """A read-only root file system, no capabilities, no new privileges."""
    ours = [service for service in services.values() if service["image"].startswith("rudder-worker")]
    assert len(ours) == 3
    for service in ours:
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_ports_are_published_on_localhost_only(services: Mapping[str, Any]) -> None:
    """The services are not secured for a network."""
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert len(ports) == 3
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_images_have_a_version_tag(services: Mapping[str, Any]) -> None:
    """Every image has a tag with a version, and none has `latest`."""
    base = instructions("ARG")[0].partition("=")[2]
    for image in [base, *(service["image"] for service in services.values())]:
        assert re.search(r":[^/:]*[0-9a-z]+$", image), image
        assert not image.endswith(":latest")


@pytest.mark.parametrize("name", [COMPOSE, DOCKERFILE, WORKFLOW])
def test_every_rudder_variable_is_a_setting(name: str) -> None:
    """A misspelt variable would have no effect."""
    variables = set(re.findall(r"\bRUDDER_[A-Z_]+", text_of(name)))
    assert variables
    assert list(unknown_names(dict.fromkeys(variables, ""))) == []


def test_worker_is_healthy_when_it_is_ready(services: Mapping[str, Any]) -> None:
    """Compose checks readiness, for `--wait`. The image checks liveness only, so that an orchestrator does not restart
    the worker during an outage of its database.
    """
    assert "/readyz" in services["worker"]["healthcheck"]["test"][-1]
    (image_check,) = instructions("HEALTHCHECK")
    assert "/livez" in image_check


def test_health_checks_are_valid_python(services: Mapping[str, Any]) -> None:
    """A syntax error in a check would look like an unhealthy worker."""
    compile(services["worker"]["healthcheck"]["test"][-1], COMPOSE, "exec")
    found = [
        match
        for name in ("HEALTHCHECK", "RUN")
        for line in instructions(name)
        for match in re.findall(r'"python", "-c", "([^"]+)"', line)
    ]
    assert len(found) == 2
    for code in found:
        compile(code, DOCKERFILE, "exec")


def test_image_runs_as_an_unprivileged_user() -> None:
    """The user is a number, which an orchestrator can verify without reading the image."""
    user = instructions("USER")[-1].split()[1]
    assert re.fullmatch(r"[1-9][0-9]*:[1-9][0-9]*", user)
    assert int(user.split(":")[0]) >= 10_000


def test_image_runs_the_command_without_a_shell() -> None:
    """The worker receives signals directly."""
    assert instructions("ENTRYPOINT") == ['ENTRYPOINT ["rudder-worker"]']
    assert instructions("CMD") == ['CMD ["run"]']


def test_image_contains_only_the_listed_paths() -> None:
    """The build context has a list of allowed paths, and every copied path is on it."""
    ignore = [line for line in text_of(".dockerignore").splitlines() if line and not line.startswith("#")]
    assert ignore[0] == "*"
    allowed = {line[1:] for line in ignore if line.startswith("!")}
    copied = {path for line in instructions("COPY") if "--from" not in line for path in line.split()[1:-1]}
    assert copied == allowed
    assert all((REPOSITORY / path).exists() for path in allowed)


def test_image_pins_its_build_backends_requirements() -> None:
    """Otherwise the image's build, which requires hashes, fails after the next `make lock`."""
    pinned = re.search(r"wanted = /\^\(([a-z|-]+)\)==/", text_of(DOCKERFILE))
    assert pinned is not None
    needed, new = set[str](), {"hatchling"}
    while new:
        needed |= new
        requirements = [Requirement(line) for name in new for line in metadata.requires(name) or ()]
        wanted = {r.name for r in requirements if r.marker is None or r.marker.evaluate({"extra": ""})}
        new = wanted - needed
    assert set(pinned[1].split("|")) == needed


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_every_pin_has_hashes_and_no_address(name: str) -> None:
    """The hashes identify the locked files, whatever index serves them."""
    text = text_of(name)
    assert "://" not in text
    stanzas = re.split(r"\n(?=\S)", text.strip())
    assert len(stanzas) > 20
    for stanza in stanzas:
        assert re.match(r"[a-z0-9][a-z0-9.\-]*(\[[a-z,]+\])?==[^\s;]+", stanza), stanza
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", stanza), stanza


def test_runtime_pins_are_the_development_pins() -> None:
    """The tested and measured versions are the shipped ones."""
    runtime, development, benchmark = (
        set(re.findall(r"^\S+==\S+", text_of(name), flags=re.MULTILINE)) for name in REQUIREMENTS
    )
    assert runtime <= development <= benchmark


def test_workflow_has_read_permissions_and_timeouts(jobs: Mapping[str, Any]) -> None:
    """The limits reduce the damage of a hanging or compromised job."""
    workflow = yaml.safe_load(text_of(WORKFLOW))
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["group"]
    for job in jobs.values():
        assert job["timeout-minutes"] <= 60
        assert "permissions" not in job


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflow_actions_are_pinned_by_commit(name: str) -> None:
    """A tag can be moved to other code; the comment names the version that Dependabot replaces together with it."""
    used = re.findall(r"^ +(?:- )?uses: (.+)$", text_of(name), flags=re.MULTILINE)
    assert used
    for action in used:
        assert re.fullmatch(r"\./\.github/workflows/[a-z]+\.yml|[a-z-]+/[a-z-]+@[0-9a-f]{40} # v[0-9.]+", action), (
            action
        )


def test_workflows_agree_on_each_action() -> None:
    """Each action has one commit in all workflows."""
    pairs = {tuple(pin) for name in WORKFLOWS for pin in re.findall(r"uses: ([a-z/-]+)@(\S+)", text_of(name))}
    assert len(pairs) == len({action for action, _ in pairs}) > 5


def test_release_publishes_only_what_passed() -> None:
    """Each job that may write waits for the tests and, at last, for all others; no job may write more than it needs."""
    workflow = yaml.safe_load(text_of(RELEASE))
    assert workflow[True] == {"push": {"tags": ["v*"]}}
    assert workflow["permissions"] == {"contents": "read"}
    jobs = workflow["jobs"]
    assert jobs["test"] == {"uses": f"./{WORKFLOW}"}
    writers = {name for name, job in jobs.items() if "write" in job.get("permissions", {}).values()}
    assert writers == {"image", "release"}
    assert set(jobs["image"]["needs"]) == {"test", "build"}
    assert set(jobs["release"]["needs"]) == {"test", "build", "image"}
    assert "contents" not in {name for name, right in jobs["image"]["permissions"].items() if right == "write"}


def test_release_calls_what_exists() -> None:
    """The workflow's script and `make` targets exist."""
    runs = [
        step.get("run", "")
        for job in yaml.safe_load(text_of(RELEASE))["jobs"].values()
        for step in job.get("steps", ())
    ]
    called = {name for run in runs for name in re.findall(r"\bmake ([a-z-]+)", run)}
    assert called == {"install", "dist"}
    assert called <= set(re.findall(r"^([a-z-]+):", text_of("Makefile"), flags=re.MULTILINE))
    assert any(run.startswith(".ci/release_notes.py ") for run in runs)
    assert os.access(REPOSITORY / ".ci" / "release_notes.py", os.X_OK)


def test_nightly_workflow_has_read_permissions_and_its_target() -> None:
    workflow = yaml.safe_load(text_of(".github/workflows/nightly.yml"))
    assert workflow["permissions"] == {"contents": "read"}
    assert "schedule" in workflow[True]  # YAML 1.1 reads the key `on` as true
    runs = [step.get("run") for step in workflow["jobs"]["search"]["steps"]]
    assert "make test-nightly" in runs


def test_make_targets_name_paths_that_exist() -> None:
    """Otherwise a moved test would be missing from its target, or fail it."""
    named = set(re.findall(r"\btests/[\w/]+(?:\.py)?", text_of("Makefile")))
    assert len(named) > 4
    assert [path for path in named if not (REPOSITORY / path).exists()] == []
    searching = {
        path.relative_to(REPOSITORY)
        for path in (REPOSITORY / "tests").rglob("test_*.py")
        if re.search(
            r"^from tests(?:\.hypothesis_profile| import hypothesis_profile)\b",
            path.read_text(encoding="utf-8"),
            flags=re.MULTILINE,
        )
    }
    assert len(searching) > 4
    (nightly,) = re.findall(r"RUDDER_TEST_SEARCH=10 (.+?)\$\(ARGS\)", text_of("Makefile"), flags=re.DOTALL)
    left_out = [path for path in searching if not any(path.is_relative_to(one) for one in nightly.split())]
    assert left_out == []


def test_workflow_runs_every_server_and_allows_no_skip(jobs: Mapping[str, Any]) -> None:
    """The jobs together require every kind of server that the tests use."""
    required = {
        server for job in jobs.values() for server in job.get("env", {}).get("RUDDER_TEST_REQUIRE", "").split(",")
    }
    assert required - {""} == SERVERS


def test_workflow_holds_no_password(jobs: Mapping[str, Any]) -> None:
    """Each run creates a password and masks it in the log."""
    steps = [step.get("run", "") for job in jobs.values() for step in job["steps"]]
    makers = [run for run in steps if "MSSQL_SA_PASSWORD=" in run and "SQLCMDPASSWORD" not in run]
    assert len(makers) == 2
    for run in makers:
        assert "openssl rand" in run
        assert "::add-mask::" in run
    assert not re.search(r"sa:[^$]", text_of(WORKFLOW))


def test_workflow_calls_existing_make_targets(jobs: Mapping[str, Any]) -> None:
    """One vocabulary for people, hooks and CI."""
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), flags=re.MULTILINE))
    called = {
        name
        for job in jobs.values()
        for step in job["steps"]
        for name in re.findall(r"make ([a-z-]+)", step.get("run", ""))
    }
    assert {"install", "check", "test", "test-fast", "coverage"} <= called
    assert called <= targets
