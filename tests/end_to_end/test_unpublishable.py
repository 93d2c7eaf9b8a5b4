"""A status event that cannot be published, for a fault of the worker's own: what it costs, and what it does not."""

import pytest

from tests.conformance.producers import ToSend, headers_of
from tests.end_to_end.mutant_worker import UNPUBLISHABLE, command, fails_to_publish_what_is_marked
from tests.end_to_end.release_records import ReleaseRecords
from tests.end_to_end.system import System
from tests.end_to_end.test_breaker import lines_of
from tests.end_to_end.worker_process import WorkerProcess

FAULTY = command(fails_to_publish_what_is_marked)


@pytest.mark.parametrize("pair", ["embedded+sqlite"], indirect=True)
async def test_fault_in_publishing_costs_one_dead_letter(system: System) -> None:
    """The worker lives, the partition and the release go on, and a redrive publishes what was missed."""
    builder = ReleaseRecords()
    marked = builder.deploy("requested", comment=UNPUBLISHABLE.decode(), release=builder.fields)
    with system.worker(
        "faulty", command=FAULTY, RUDDER_ATTEMPTS_MAX="2", RUDDER_RETRY_INITIAL_SECONDS="0.01"
    ) as worker:
        await system.send([marked, builder.deploy("started", comment="fine"), *ReleaseRecords().approved()])
        await system.caught_up(worker)
        assert await worker.status("/livez") == 200
        assert await worker.stop() == 0
    [letter] = await system.read(system.topics.dead_letters)
    headers = dict(headers_of(letter))
    assert (headers["rudder-reason"], headers["rudder-attempts"]) == (b"processing_error", b"3")
    assert letter.value() == marked.value
    rows = await system.rows()
    assert rows["release_event_rejections"] == []
    assert [deployment["status"] for deployment in rows["release_deployments"]] == ["IN_PROGRESS"]
    [reported] = lines_of(worker, "message.publish_failed")
    assert (reported["level"], reported["cause"]) == ("error", "LookupError: a fault in the client")
    missed = await published_twice_by_redrive(system, marked)
    assert missed > 0


async def published_twice_by_redrive(system: System, marked: ToSend) -> int:
    """How many status events a worker without the fault publishes for the record, sent again by hand; and until then
    `verify` misses just these.
    """
    before = len(await system.read(system.topics.deployment_status))
    with WorkerProcess("verify", settings=system.settings, folder=system.folder, name="verify") as verifying:
        assert await verifying.ended() == 1, verifying.output()
    redriven = ToSend(value=marked.value, key=marked.key, headers=(*marked.headers, ("rudder-redrive", b"1")))
    with system.worker("mended") as worker:
        await system.send([redriven])
        await system.caught_up(worker)
        assert await worker.stop() == 0
    return len(await system.read(system.topics.deployment_status)) - before
