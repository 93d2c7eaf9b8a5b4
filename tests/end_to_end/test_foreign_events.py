"""Records of GitHub and GitLab through a real worker: one mapping, complete timelines, redrive after a change of it."""

import json
import random
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml

from tests import hypothesis_profile
from tests.conformance.producers import ToSend
from tests.end_to_end.release_records import ORGANIZATION, ReleaseRecords
from tests.end_to_end.system import PARTITIONS, System
from tests.end_to_end.verify_reports import verify_report
from tests.end_to_end.worker_process import MODULE, WorkerProcess
from tests.testkit.migrated import migrate

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

        proposed = yaml.safe_load(await command(system, "mapping", "init", "--dead-letters", name="init"))
        assert [rule["match"] for rule in proposed["rules"]] == [{"repository": "example-group/demo"}]
        assert list(proposed["environments"]) == ["production"]

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


def component(partition: int) -> UUID:
    return UUID(int=900 + partition)


def interleaved(seed: int, events: int) -> list[ToSend]:
    """Own and foreign events of a few commits of one component for each partition, so that they meet in releases."""
    dice = random.Random(seed)
    sent: list[ToSend] = []
    numbers = [0] * PARTITIONS
    commits: dict[tuple[int, int], ReleaseRecords] = {}
    for count in range(events):
        partition, commit = dice.randrange(PARTITIONS), dice.randrange(6)
        own = commits.get((partition, commit))
        kind = dice.choice(["created", "own", "foreign", "foreign", "foreign"])
        sha = f"{partition * 100 + commit:040x}"
        if kind == "created" and own is None:
            own = commits[partition, commit] = ReleaseRecords()
            own.component_id = component(partition)
            numbers[partition] += 1
            fields = own.fields | {"commit_hash": sha, "release_number": 20 + numbers[partition]}
            record = own.deploy("requested", release=fields)
        elif kind == "own" and own is not None:
            record = own.deploy(dice.choice(["started", "succeeded", "failed"]))
        else:
            run = dice.randrange(3)
            record = github(
                "github/octokit/deployment_status.json",
                "deployment_status",
                f"{seed}-{count}",
                repository__full_name=f"acme/shop-{partition}",
                repository__html_url=f"https://github.com/acme/shop-{partition}",
                deployment__id=1000 * partition + 10 * commit + run,
                deployment__sha=sha,
                deployment_status__state=dice.choice(["in_progress", "success", "failure"]),
                deployment_status__created_at=f"2026-03-17T10:{count // 60:02}:{count % 60:02}Z",
            )
        sent.append(replace(record, partition=partition))
    return sent


@pytest.mark.parametrize("pair", ["apache+postgresql"], indirect=True)
@pytest.mark.parametrize("seed", hypothesis_profile.seeds(1, 2))
async def test_concurrency_changes_no_row(system: System, seed: int) -> None:
    """Rows are a function of the topic: one at a time, or many at a time with releases that are looked up meanwhile."""
    records = interleaved(seed=seed, events=400)
    shops = {f"acme/shop-{partition}": str(component(partition)) for partition in range(PARTITIONS)}
    rule = {"match": {"repository": "acme/*"}, "component": {"table": "shops", "key": "{repository}"}}
    file = {**MAPPING, "organization": ORGANIZATION, "rules": [rule]}
    sqlite = system.with_database(f"sqlite+aiosqlite:///{system.folder / 'second.sqlite3'}")
    await migrate(sqlite.database_url)
    (system.folder / "mapping.yaml").write_text(yaml.safe_dump({**file, "tables": {"shops": shops}}))
    await system.send(records)
    found = []
    for each, concurrency in ((system, "64"), (sqlite, "1")):
        with each.worker(
            f"concurrency-{concurrency}", RUDDER_CONCURRENCY=concurrency, **with_mapping(system)
        ) as worker:
            await each.caught_up(worker)
            assert await worker.stop() == 0
        found.append(await each.rows())
    assert found[0] == found[1]
    rebuilt = system.with_database(f"sqlite+aiosqlite:///{system.folder / 'rebuilt.sqlite3'}")
    await migrate(rebuilt.database_url)
    await command(system, "replay", "--into", rebuilt.database_url, "--execute", name="replay")
    assert await rebuilt.rows() == found[0]
    assert len(found[0]["releases"]) > 2 * PARTITIONS
    for each in (system, sqlite):
        report = await verify_report(each, settings=with_mapping(system))
        assert not report["findings"], json.dumps(report["findings"], indent=1)
