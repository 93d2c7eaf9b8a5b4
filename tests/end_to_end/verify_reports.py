"""Reports of `verify`: from the command as a process, or in the test's own process."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tests.end_to_end.system import System
from tests.end_to_end.worker_process import WorkerProcess
from worker.assembly.databases import table_reader
from worker.assembly.kafka_clients import topic_reader
from worker.assembly.operator_commands import verification_plan
from worker.environment_variables import PREFIX
from worker.settings import load
from worker.verify.verification import verify

LOG, REJECTIONS = "release_activity_logs", "release_event_rejections"


async def run_verify(system: System, *arguments: str, code: int = 0) -> dict[str, Any]:
    """The report of the command as a process."""
    (system.folder / "verify.out").unlink(missing_ok=True)
    arguments = ("verify", "--json", *arguments)
    with WorkerProcess(*arguments, settings=system.settings, folder=system.folder, name="verify") as process:
        assert await process.ended() == code, process.output()
        report = json.loads(process.stdout)
    assert isinstance(report, dict)
    return report


async def verify_report(
    system: System, *, findings_max: int = 100, settings: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Any]:
    """The report in the test's own process, which saves a second."""
    given = {**system.settings, **settings}
    settings_read = load(**{name.removeprefix(PREFIX).lower(): value for name, value in given.items()})
    tables, topics = table_reader(settings_read), topic_reader(settings_read)
    try:
        await topics.start()
        plan = verification_plan(settings_read, findings_max=findings_max, scratch_folder=system.folder)
        return dict((await verify(plan, topics, tables)).as_json())
    finally:
        await topics.stop()
        await tables.close()


def without_texts(report: dict[str, Any]) -> list[dict[str, Any]]:
    """The findings without their texts and releases."""
    omitted = {"expected", "found", "release"}
    return [{name: value for name, value in one.items() if name not in omitted} for one in report["findings"]]
