"""`make test-crash`: run many fault plans, one after the other, and check each; print what was found, with its seed."""

import argparse
import asyncio
import signal
import sys
from collections import Counter
from collections.abc import Sequence

import pytest

from tests.end_to_end import mutant_worker
from tests.end_to_end.mutant_worker import FAULTS
from tests.end_to_end.worker_process import MODULE
from tests.fault_injection.plans import plan_of
from tests.fault_injection.running import PlanResult, run_plan
from tests.fault_injection.servers import Servers

_DIFFERENCE_CHARS_MAX = 1_000


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 nothing was found, 1 something was, 2 a server is not available."""
    parser = argparse.ArgumentParser(prog="make test-crash", description=__doc__)
    parser.add_argument("--plans", type=int, default=20, help="number of plans (20)")
    parser.add_argument("--seed", type=int, default=0, help="the first plan's seed; the next plan has the next one (0)")
    parser.add_argument(
        "--fault", choices=FAULTS, help="run a worker with this programming fault: plans should find it"
    )
    given = parser.parse_args(arguments)
    if given.plans < 1:
        parser.error("--plans: at least one")
    command = MODULE if given.fault is None else mutant_worker.command(FAULTS[given.fault])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that servers and disks are removed
    results = []
    try:
        with Servers.running() as servers:
            if servers.disk is None:
                print("no plan fills a disk: no small file system can be mounted here")
            for seed in range(given.seed, given.seed + given.plans):
                result = asyncio.run(run_plan(plan_of(seed, kinds=servers.kinds), servers, command=command))
                _print(result)
                results.append(result)
    except (pytest.skip.Exception, pytest.fail.Exception) as error:
        print(f"make test-crash: {error}", file=sys.stderr)
        return 2
    if given.fault is not None:
        print(f"with the fault {given.fault}, which should be found:")
    return _print_summary(results)


def _print(result: PlanResult) -> None:
    ended = f", workers that ended by themselves: {list(result.exit_codes)}" if result.exit_codes else ""
    outcome = "FOUND" if result.differences else "clean"
    print(
        f"plan {result.plan.seed}: {outcome}, {result.records} records, {result.seconds:.1f} s, "
        f"settled {result.settling_seconds:.1f} s after the last fault, "
        f"{result.published_again} published again{ended}",
        flush=True,
    )
    if result.differences:
        for fault in result.plan.faults:
            print(f"    {fault}")
        for difference in result.differences[:20]:
            print(f"    {difference[:_DIFFERENCE_CHARS_MAX]}")
        print(f"    logs of the workers: {result.folder}", flush=True)


def _print_summary(results: Sequence[PlanResult]) -> int:
    kinds = Counter(str(fault.kind) for result in results for fault in result.plan.faults)
    found = [result.plan.seed for result in results if result.differences]
    records = sum(result.records for result in results)
    again = sum(result.published_again for result in results)
    print(f"injected: {dict(sorted(kinds.items()))}")
    print(f"plans: {len(results)}, records: {records}, records published again: {again}")
    print(f"found in {len(found)}: {found}; again with --plans 1 --seed N" if found else "nothing found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
