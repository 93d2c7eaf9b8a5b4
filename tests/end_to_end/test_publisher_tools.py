"""The tools of integrations/ against a real gateway, broker and worker, each as its CI system runs it."""

import asyncio
import json
import os
import re
import shutil
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest
import yaml

from tests.conformance.deadlines import until
from tests.end_to_end.gateway_requests import GITHUB_BODY, client_of, github_headers
from tests.end_to_end.system import System
from tests.end_to_end.test_gateway import decoded
from tests.end_to_end.test_status import status
from tests.end_to_end.worker_process import WorkerProcess
from tests.testkit.apache_kafka import ApacheKafka
from tests.testkit.pipeline_tools import INTEGRATIONS, SCRIPT, gitlab_ci_local, gitlab_project, jenkinsfile_outline
from worker.demo.broker import free_port

ON_EMBEDDED = pytest.mark.parametrize("pair", ["embedded+sqlite"], indirect=True)
ON_APACHE = pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)
TOKEN = "token-of-the-pipelines-of-acme"
SECRET = "secret-of-the-webhooks-of-acme"
KEYS = f"""
[[keys]]
name = "pipelines"
secret = "{TOKEN}"
organizations = ["acme"]

[[keys]]
name = "github"
secret = "{SECRET}"
webhooks = ["github"]
"""
URL = "https://gateway.example.com"
COMMIT = "9fceb02d0ae598e95dc970b74767f19372d61af8"
SHOP, CART = "7b1e0f0c-52f3-4a7e-8a34-6f5b8f0f2c11", "0c9d7f54-23b1-4a53-9d64-51a1b6f0f1de"
MONOREPO = INTEGRATIONS / "monorepo"
PLAIN = {
    "GATEWAY_TOKEN": TOKEN,
    "EVENT_ORGANIZATION": "acme",
    "EVENT_ENVIRONMENT": "production",
    "EVENT_SOURCE": "/ci/shop",
    "EVENT_RUN": "run-1",
    "EVENT_RELEASE": "shop 1.4.2",
    "EVENT_PROJECT": "5d0f4c1e-6a57-4f0b-9d3c-0a4be1c2f7a1",
    "EVENT_COMPONENT": SHOP,
    "EVENT_RELEASE_NUMBER": "1",
}


@dataclass(frozen=True, slots=True)
class Job:
    """A program of a CI job, while it runs and after its end."""

    process: asyncio.subprocess.Process
    errors: Path

    async def ended(self) -> int:
        return await asyncio.wait_for(self.process.wait(), 60)

    @property
    def stderr(self) -> str:
        return self.errors.read_text("utf-8")


async def started(folder: Path, *command: str | Path, environment: Mapping[str, str]) -> Job:
    errors = folder / "job.err"
    with errors.open("wb") as stream:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, env={"PATH": os.environ["PATH"], **environment}, stdout=stream, stderr=stream
        )
    return Job(process, errors)


async def run(folder: Path, *command: str | Path, environment: Mapping[str, str]) -> Job:
    """The command has ended well."""
    job = await started(folder, *command, environment=environment)
    assert await job.ended() == 0, job.stderr
    return job


def gateway_settings(system: System) -> dict[str, str]:
    keys = system.folder / "keys.toml"
    keys.write_text(KEYS, encoding="utf-8")
    return {
        **system.settings,
        "RUDDER_GATEWAY_KEYS_FILE": str(keys),
        "RUDDER_GATEWAY_PORT": str(free_port()),
        "RUDDER_KAFKA_REQUEST_TIMEOUT_SECONDS": "3",
    }


@asynccontextmanager
async def gateway_and_worker(system: System, **settings: str) -> AsyncIterator[str]:
    """The gateway's URL. At the end the worker has read all that the gateway accepted, and rejected nothing."""
    given = gateway_settings(system)
    with (
        system.worker(**settings) as worker,
        WorkerProcess("gateway", settings=given, folder=system.folder, name="gateway") as gateway,
    ):
        await asyncio.gather(worker.ready(), gateway.ready())
        yield f"http://127.0.0.1:{given['RUDDER_GATEWAY_PORT']}"
        await system.caught_up(worker)
        assert await worker.stop() == await gateway.stop() == 0
        assert TOKEN not in gateway.output()
    assert await system.read(system.topics.dead_letters) == []


async def attempts(system: System, release: str) -> list[tuple[str, str]]:
    """Environment and status of each."""
    shown = await status(system, "release", str(uuid5(NAMESPACE_URL, release)))
    return sorted((one["environment_id"], one["status"]) for one in shown["attempts"])


def action_steps(url: str, job_status: str) -> list[dict[str, str]]:
    """The variables that the action's script gets from each of its uses in the example, as GitHub fills them in."""
    action = yaml.safe_load((INTEGRATIONS / "github-action" / "action.yml").read_text("utf-8"))
    [workflow] = yaml.safe_load((INTEGRATIONS / "github-action" / "deploy.yml").read_text("utf-8"))["jobs"].values()
    values = {"${{ secrets.GATEWAY_TOKEN }}": TOKEN, "${{ job.status }}": job_status, URL: url}
    found = []
    for step in workflow["steps"]:
        if step.get("uses", "").endswith("rudder-event"):
            inputs = {name: given.get("default", "") for name, given in action["inputs"].items()}
            inputs |= {name: values.get(value, value) for name, value in step["with"].items()}
            variables = action["runs"]["steps"][0]["env"]
            found.append({name: inputs[re.sub(r"\W*inputs\.|\W*$", "", text)] for name, text in variables.items()})
    return found


@ON_EMBEDDED
async def test_github_action_reports_a_job(system: System) -> None:
    action = yaml.safe_load((INTEGRATIONS / "github-action" / "action.yml").read_text("utf-8"))
    script, output = system.folder / "step.sh", system.folder / "output"
    script.write_text(action["runs"]["steps"][0]["run"], encoding="utf-8")
    github = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_REPOSITORY": "acme/shop",
        "GITHUB_RUN_ID": "1658821493",
        "GITHUB_RUN_NUMBER": "17",
        "GITHUB_JOB": "deploy",
        "GITHUB_SHA": COMMIT,
        "GITHUB_ACTOR": "ada",
        "GITHUB_OUTPUT": str(output),
    }
    async with gateway_and_worker(system) as url:
        start, end = action_steps(url, "failure")
        bash = ("bash", "--noprofile", "--norc", "-eo", "pipefail", script)
        for step in (start, end, end):
            await run(system.folder, *bash, environment=github | step)
    release = f"https://github.com/acme/shop/commit/{COMMIT}/{SHOP}"
    assert await attempts(system, release) == [("production", "FAILED")]
    assert set(output.read_text("utf-8").splitlines()) == {f"release-id={uuid5(NAMESPACE_URL, release)}"}


def executable(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@ON_EMBEDDED
async def test_gitlab_component_reports_two_jobs(system: System) -> None:
    """One deploys, the other one fails."""
    component = INTEGRATIONS / "gitlab-component"
    pipeline = (component / "example.gitlab-ci.yml").read_text("utf-8")
    async with gateway_and_worker(system) as url:
        template = component / "templates" / "deployment.yml"
        project = gitlab_project(system.folder / "shop", pipeline.replace(URL, url), template)
        executable(project / "deploy.sh", '#!/bin/sh\ntest "$1" = cart\n')
        variables = {"GATEWAY_TOKEN": TOKEN, "CI_PIPELINE_IID": "18"}  # the runner's own begins with 0, GitLab's with 1
        jobs = [*(f"--variable={name}={text}" for name, text in variables.items()), "cart", "checkout"]
        done = await asyncio.to_thread(gitlab_ci_local, project, *jobs)
        assert "rudder-event: " not in done.stdout, done.stdout  # what the script writes when it fails or repeats
        assert done.returncode == 1
    cells = (await status(system))["environments"]
    assert {cell["component_id"]: (cell["environment_id"], cell["latest"]["status"]) for cell in cells} == {
        CART: ("production", "SUCCESS"),
        SHOP: ("production", "FAILED"),
    }


def tekton_steps(url: str, task_status: str) -> list[dict[str, str]]:
    """The variables of each TaskRun of the example, as Tekton fills them in."""
    task = yaml.safe_load((INTEGRATIONS / "tekton" / "task.yaml").read_text("utf-8"))
    pipeline = yaml.safe_load((INTEGRATIONS / "tekton" / "pipeline.yaml").read_text("utf-8"))
    values = {
        "$(context.pipelineRun.namespace)": "ci",
        "$(context.pipelineRun.uid)": "b5f0a5a4-7d4c-4a55-8b5f-2f7e9f0a1c11",
        "$(params.commit)": COMMIT,
        "$(params.number)": "3",
        "$(tasks.deploy.status)": task_status,
        URL: url,
    }
    found = []
    for one in (*pipeline["spec"]["tasks"], *pipeline["spec"]["finally"]):
        if one.get("taskRef", {}).get("name") == "rudder-event":
            params = {param["name"]: param.get("default") for param in task["spec"]["params"]}
            for param in one["params"]:
                params[param["name"]] = re.sub(
                    r"\$\([\w.]+\)|" + re.escape(URL), lambda match: values[match[0]], param["value"]
                )
            [step] = task["spec"]["steps"]
            variables = {}
            for variable in step["env"]:
                name = variable.get("value", "")[len("$(params.") : -1]
                variables[variable["name"]] = params[name] if name else TOKEN
            found.append(variables)
    return found


@ON_EMBEDDED
async def test_tekton_task_reports_a_pipeline(system: System) -> None:
    task = yaml.safe_load((INTEGRATIONS / "tekton" / "task.yaml").read_text("utf-8"))
    script = system.folder / "script"
    executable(script, task["spec"]["steps"][0]["script"])
    async with gateway_and_worker(system) as url:
        for variables in tekton_steps(url, "Succeeded"):
            await run(system.folder, script, environment=variables)
    release = f"/tekton/ci/shop/commit/{COMMIT}/{SHOP}"
    assert await attempts(system, release) == [("production", "SUCCESS")]


@ON_EMBEDDED
async def test_jenkinsfile_reports_an_aborted_build(system: System) -> None:
    done = jenkinsfile_outline(INTEGRATIONS / "jenkins" / "Jenkinsfile")
    lines = [line.removeprefix("pipeline/").split("\t") for line in done.stdout.splitlines()]
    environment = {name.removeprefix("environment/"): text for name, text in lines if name.startswith("environment/E")}
    (system.folder / "ci").mkdir()
    shutil.copy(SCRIPT, system.folder / "ci")
    executable(system.folder / "deploy.sh", "#!/bin/sh\nexit 143\n")
    async with gateway_and_worker(system) as url:
        jenkins = {
            "JENKINS_URL": "https://jenkins.example.com/",
            "JOB_URL": "https://jenkins.example.com/job/shop/",
            "BUILD_NUMBER": "19",
            "GIT_COMMIT": COMMIT,
            "GATEWAY_URL": url,
            "GATEWAY_TOKEN": TOKEN,
            **environment,
        }
        [report, deploy] = [text for name, text in lines if name == "stages/stage Deploy/steps/sh"]
        await run(system.folder, "sh", "-xec", report, environment=jenkins)
        job = await started(system.folder, "sh", "-xec", deploy, environment=jenkins)
        assert await job.ended() == 143
        [end] = [text for name, text in lines if name == "post/aborted/sh"]
        await run(system.folder, "sh", "-xec", end, environment=jenkins)
    release = f"https://jenkins.example.com/job/shop/commit/{COMMIT}/{SHOP}"
    assert await attempts(system, release) == [("production", "CANCELLED")]


@ON_EMBEDDED
async def test_monorepo_reports_each_component(system: System) -> None:
    """GitHub's webhooks of the jobs of the matrix, and the mapping file of the example."""
    [workflow] = yaml.safe_load((MONOREPO / "deploy.yml").read_text("utf-8"))["jobs"].values()
    services = workflow["strategy"]["matrix"]["service"]
    assert workflow["environment"] == "${{ matrix.service }}-${{ inputs.stage || 'staging' }}"
    bodies = [
        deployment_status(f"{service}-{stage}", 100 * number + len(stage))
        for number, service in enumerate(services)
        for stage in ("staging", "production")
    ]
    async with (
        gateway_and_worker(system, RUDDER_MAPPING_FILE=str(MONOREPO / "mapping.yaml")) as url,
        client_of(int(url.rpartition(":")[2])) as client,
    ):
        for body in bodies:
            answer = await client.post("/webhooks/github", content=body, headers=github_headers(body, secret=SECRET))
            assert answer.status_code == 202, answer.text
    cells = (await status(system))["environments"]
    components = yaml.safe_load((MONOREPO / "mapping.yaml").read_text("utf-8"))["tables"]["components"]
    assert {(cell["component_id"], cell["environment_id"]) for cell in cells} == {
        (components[service], stage) for service in services for stage in ("stage", "prod")
    }
    assert {cell["running"]["commit_hash"] for cell in cells} == {COMMIT}


def deployment_status(environment: str, number: int) -> bytes:
    """A recorded success, of another deployment."""
    body: dict[str, Any] = json.loads(GITHUB_BODY)
    body["repository"] |= {"full_name": "acme/shop", "html_url": "https://github.com/acme/shop"}
    body["deployment"] |= {"id": number, "environment": environment, "sha": COMMIT}
    body["deployment_status"] |= {"id": number, "environment": environment, "state": "success"}
    return json.dumps(body).encode()


@ON_EMBEDDED
async def test_absent_gateway_gets_the_event_when_it_is_back(system: System) -> None:
    settings = gateway_settings(system)
    url = f"http://127.0.0.1:{settings['RUDDER_GATEWAY_PORT']}"
    job = await started(system.folder, "sh", SCRIPT, "deployment.succeeded", environment=PLAIN | {"GATEWAY_URL": url})
    await until(lambda: "sent again" in job.stderr, what=lambda: f"it is sent again: {job.stderr}")
    with WorkerProcess("gateway", settings=settings, folder=system.folder, name="gateway") as gateway:
        assert await job.ended() == 0, job.stderr
        [record] = await system.read(system.topics.events)
        assert await gateway.stop() == 0
    key = record.key()
    assert key is not None
    assert f"deployment.succeeded accepted; release {key.decode()}\n" in job.stderr


@ON_EMBEDDED
async def test_wrong_token_and_wrong_data_fail_at_once(system: System) -> None:
    settings = gateway_settings(system)
    given = PLAIN | {"GATEWAY_URL": f"http://127.0.0.1:{settings['RUDDER_GATEWAY_PORT']}"}
    with WorkerProcess("gateway", settings=settings, folder=system.folder, name="gateway") as gateway:
        await gateway.ready()
        for changes, expected in (
            ({"GATEWAY_TOKEN": "wrong-token-of-the-pipelines"}, "deployment.started was refused with 401: "),
            ({"EVENT_ORGANIZATION": "other"}, "deployment.started was refused with 403: "),
            ({"EVENT_RELEASE_NUMBER": "seven"}, '"pointer":"/data/release/release_number"'),
        ):
            job = await started(system.folder, "sh", SCRIPT, "deployment.started", environment=given | changes)
            assert await job.ended() == 1
            assert expected in job.stderr
            assert "sent again" not in job.stderr
            assert changes.get("GATEWAY_TOKEN", TOKEN) not in job.stderr
        assert await gateway.stop() == 0
    assert await system.read(system.topics.events) == []


@ON_APACHE
async def test_absent_kafka_gets_the_event_when_it_is_back(system: System, apache_kafka: ApacheKafka) -> None:
    settings = gateway_settings(system)
    given = PLAIN | {"GATEWAY_URL": f"http://127.0.0.1:{settings['RUDDER_GATEWAY_PORT']}"}
    with WorkerProcess("gateway", settings=settings, folder=system.folder, name="gateway") as gateway:
        await gateway.ready()
        await asyncio.to_thread(apache_kafka.kill)
        job = await started(system.folder, "sh", SCRIPT, "deployment.succeeded", environment=given)
        await until(lambda: "the gateway answered 503" in job.stderr, what=lambda: f"503: {job.stderr}")
        await asyncio.to_thread(apache_kafka.start)
        assert await job.ended() == 0, job.stderr
        assert await gateway.stop() == 0
    assert len({decoded(record).id for record in await system.read(system.topics.events)}) == 1
