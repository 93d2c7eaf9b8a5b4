"""Records of GitHub and GitLab through a real worker: one mapping, complete timelines, redrive after a change of it."""

import json
import signal
from pathlib import Path
from typing import Any

import yaml

from tests.conformance.producers import ToSend
from tests.end_to_end.system import System
from tests.end_to_end.verify_reports import verify_report
from tests.end_to_end.worker_process import MODULE, WorkerProcess

PAYLOADS = Path(__file__).parents[1] / "payloads"
PROJECT = "5d0f4c1e-6a57-4f0b-9d3c-0a4be1c2f7a1"
SHOP, DEMO = "7b1e0f0c-52f3-4a7e-8a34-6f5b8f0f2c11", "0c9d7f54-23b1-4a53-9d64-51a1b6f0f1de"

MAPPING: dict[str, Any] = {
    "organization": "acme",
    "project": PROJECT,
    "environments": {"production": "prod"},
    "rules": [{"match": {"repository": "Codertocat/Hello-World"}, "component": SHOP}],
}


def payload(name: str, headers: dict[str, str], **changes: Any) -> ToSend:
    body = json.loads((PAYLOADS / name).read_bytes())
    for path, value in changes.items():
        node, *steps = body, *path.split("__")
        for step in steps[:-1]:
            node = node[step]
        node[steps[-1]] = value
    given = tuple((name, text.encode()) for name, text in headers.items())
    return ToSend(value=json.dumps(body).encode(), key=b"Codertocat/Hello-World", headers=given)


def github(name: str, event: str, delivery: str, **changes: Any) -> ToSend:
    return payload(name, {"X-GitHub-Event": event, "X-GitHub-Delivery": delivery}, **changes)


def series() -> list[ToSend]:
    """A deployment and its statuses; one of them delivered twice, one notified twice, and a ping."""
    status = "github/octokit/deployment_status.json"
    deployment = github("github/octokit/deployment.json", "deployment", "d1")
    begun = github(status, "deployment_status", "d2", deployment_status__state="in_progress")
    ended = github(status, "deployment_status", "d3", deployment_status__state="success")
    again = github(status, "deployment_status", "d4", deployment_status__state="success")
    ping = payload("github/captured/ping.ping.json", {"X-GitHub-Event": "ping", "X-GitHub-Delivery": "d0"})
    return [ping, ended, deployment, ended, begun, again]


async def command(system: System, *arguments: str, name: str) -> str:
    """What a command prints that succeeds."""
    settings = {**system.settings, **with_mapping(system)}
    with WorkerProcess(*arguments, settings=settings, folder=system.folder, name=name, command=MODULE) as process:
        assert await process.ended() == 0, process.output()
        return process.stdout


def with_mapping(system: System) -> dict[str, str]:
    return {"RUDDER_MAPPING_FILE": str(system.folder / "mapping.yaml"), "RUDDER_LOG_LEVEL": "info"}


async def test_recorded_deployments_become_rows(system: System) -> None:
    mapping = system.folder / "mapping.yaml"
    mapping.write_text(yaml.safe_dump(MAPPING))
    settings = with_mapping(system)
    gitlab = [
        payload(f"gitlab/recorded/deployment.{status}.json", {"X-Gitlab-Event": "Deployment Hook"})
        for status in ("running", "success")
    ]
    with system.worker(**settings) as worker:
        await system.send([*series(), *gitlab])
        await system.caught_up(worker)
        rows = await system.rows()
        [release] = rows["releases"]
        assert (str(release["component_id"]), release["status"], release["release_number"]) == (SHOP, "DEPLOYED", 1)
        [attempt] = rows["release_deployments"]
        assert (attempt["environment_id"], attempt["attempt"], attempt["status"]) == ("prod", 1, "SUCCESS")
        rejections = rows["release_event_rejections"]
        assert [row["reason"] for row in rejections] == ["unmapped", "unmapped"]
        assert all("example-group" in row["detail"] for row in rejections)

        mapping.write_text("rules: nothing\n")
        worker.send_signal(signal.SIGHUP)
        await worker.until(lambda: "mapping.refused" in worker.output(), what="the refusal of the mapping")
        rule = {"match": {"repository": "example-group/*"}, "component": DEMO, "environment": "prod"}
        mapping.write_text(yaml.safe_dump({**MAPPING, "rules": [*MAPPING["rules"], rule]}))
        worker.send_signal(signal.SIGHUP)
        await worker.until(lambda: "mapping.read" in worker.output(), what="the new mapping")
        redrive = ("dead-letters", "redrive", "--reason", "unmapped", "--execute")
        await command(system, *redrive, name="redrive")
        await system.caught_up(worker)
        assert await worker.stop() == 0

    rows = await system.rows()
    assert sorted(row["status"] for row in rows["release_deployments"]) == ["SUCCESS", "SUCCESS"]
    assert all(row["resolved_at"] is not None for row in rows["release_event_rejections"])
    assert {row["activity_type"] for row in rows["release_activity_logs"]} == {
        "RELEASE_CREATED",
        "RELEASE_STATUS_CHANGED",
        "DEPLOYMENT_STATUS_CHANGED",
        "DEPLOYMENT_RUN",
        "EVENT_STALE",
    }
    shown = json.loads(await command(system, "status", "--json", name="status"))
    assert "Codertocat" in json.dumps(shown)
    report = await verify_report(system, settings=settings)
    assert not report["findings"], json.dumps(report["findings"], indent=1)


async def test_replay_of_foreign_events_changes_nothing(system: System) -> None:
    mapping = system.folder / "mapping.yaml"
    mapping.write_text(yaml.safe_dump(MAPPING))
    settings = with_mapping(system)
    with system.worker(**settings) as worker:
        await system.send(series())
        await system.caught_up(worker)
        assert await worker.stop() == 0
    before = await system.rows()
    out = await command(system, "replay", "--topic", system.topics.events, "--json", name="plan")
    plan = json.loads(out)
    assert plan.get("rows", []) == []
    await command(system, "replay", "--topic", system.topics.events, "--execute", name="replay")
    assert await system.rows() == before
