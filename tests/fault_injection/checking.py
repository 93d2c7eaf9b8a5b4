"""What is left at the end of a plan, checked twice: by `verify`, and by the oracle."""

from dataclasses import dataclass
from typing import Any

from tests.end_to_end.oracle_check import check_with_oracle
from tests.end_to_end.system import System
from tests.end_to_end.verify_reports import verify_report
from tests.end_to_end.worker_process import WorkerProcess
from tests.oracle.status_machines import DEPLOYMENT_STATE

_FINDINGS_MAX = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """`differences`: what either of them finds. `published_again`: how many status events and dead letters an
    undisturbed worker would not have published, as they repeat earlier ones.
    """

    differences: tuple[str, ...]
    published_again: int


async def check(system: System, environments: list[dict[str, Any]], *, killed: bool = False) -> Check:
    """`environments`: the rows of `app_environments` before the first event. `killed`: a worker was."""
    by_verify = await _findings_of_verify(system, killed=killed)
    by_oracle = await check_with_oracle(system, environments, late_states=True)
    return Check(
        differences=(*by_verify, *(f"oracle: {line}" for line in by_oracle.differences)),
        published_again=by_oracle.published - sum(one.kind != DEPLOYMENT_STATE for one in by_oracle.oracle.published),
    )


async def _findings_of_verify(system: System, *, killed: bool) -> list[str]:
    report = await verify_report(system, findings_max=_FINDINGS_MAX)
    if killed and any(finding["topic"] == system.topics.deployment_state for finding in report["findings"]):
        # A worker repairs the states that it publishes late, unless it is killed meanwhile; then an operator does
        # (docs/contract.md#state-topic).
        await _publish_states(system)
        report = await verify_report(system, findings_max=_FINDINGS_MAX)
    left = {name: report["counts"][name] for name in ("uncommitted", "unverifiable", "foreign")}
    found = [f"verify: {finding}" for finding in report["findings"]]
    return [*found, *(f"verify: {count} {name}" for name, count in left.items() if count)]


async def _publish_states(system: System) -> None:
    arguments = ("state", "publish", "--execute")
    with WorkerProcess(*arguments, settings=system.settings, folder=system.folder, name="state") as process:
        code = await process.ended()
        assert code in {0, 1}, process.output()
