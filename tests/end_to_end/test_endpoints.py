"""What orchestrators and Prometheus ask a running worker, and that its numbers add up."""

import platform
from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.end_to_end.demo_day import day_of
from tests.end_to_end.oracle_check import check_with_oracle
from tests.end_to_end.system import System
from tests.end_to_end.worker_process import WorkerProcess
from worker.telemetry import METRICS
from worker.version import __version__

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def samples(worker: WorkerProcess) -> Samples:
    """By name and labels."""
    answer = await worker.get("/metrics")
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


@pytest.mark.parametrize("pair", ["embedded+sqlite"], indirect=True)
async def test_endpoints_of_an_idle_worker_answer(system: System) -> None:
    """Each metric of the documentation is there before anything happened; other paths are not found."""
    with system.worker() as worker:
        await worker.ready()
        for path in ("/livez", "/readyz"):
            answer = await worker.get(path)
            assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        assert (await worker.get("/")).status_code == 404
        text = (await worker.get("/metrics")).text
        names = {family.name.removesuffix("_created") for family in text_string_to_metric_families(text)}
        of_process = {name for name in names if name.startswith("process_")}
        assert names - of_process == {metric.name for metric in METRICS}
        assert "process_resident_memory_bytes" in of_process
        counted = await samples(worker)
        assert counted["rudder_partitions_assigned", ()] == 4
        [build] = [dict(labels) for name, labels in counted if name == "rudder_build_info"]
        assert build == {"version": __version__, "python": platform.python_version()}


async def test_metrics_of_a_day_add_up(system: System) -> None:
    """Every record is counted once by its outcome, every rejection by its reason, every published record by topic."""
    day = day_of(17, releases=25)
    with system.worker() as worker:
        await system.send(day.daytime)
        await system.caught_up(worker)
        await system.send(day.evening)
        await system.caught_up(worker)
        counted = await samples(worker)
        assert await worker.stop() == 0
    expected = (await check_with_oracle(system)).oracle.outcomes
    outcomes: Counter[str] = Counter()
    for name, count in expected.items():
        outcomes[name.partition(" ")[0].lower()] += count
    found = {dict(labels)["outcome"]: n for (name, labels), n in counted.items() if name == "rudder_messages_total"}
    assert found == dict(outcomes)
    reasons = {dict(labels)["reason"]: n for (name, labels), n in counted.items() if name == "rudder_rejections_total"}
    assert reasons == {name.split()[1]: count for name, count in expected.items() if " " in name}
    topics = (system.topics.deployment_status, system.topics.release_status, system.topics.dead_letters)
    for topic in topics:
        assert counted["rudder_published_total", (("topic", topic),)] == len(await system.read(topic)), topic
    total = len(day.daytime) + len(day.evening)
    for histogram in ("rudder_processing_seconds", "rudder_event_lag_seconds"):
        assert counted[f"{histogram}_count", ()] == total
    assert (counted["rudder_in_flight_records", ()], counted["rudder_in_flight_bytes", ()]) == (0, 0)
    assert counted["rudder_commits_total", (("result", "ok"),)] >= 1
