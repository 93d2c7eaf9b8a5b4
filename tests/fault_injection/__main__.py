"""`make test-crash`: many plans, one after the other, each judged; what was found, and how to see it again."""

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
from tests.fault_injection.playing import Verdict, play
from tests.fault_injection.servers import Servers

_COMPLAINT_CHARS_MAX = 1_000


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 nothing was found, 1 something was, 2 the servers cannot be had."""
    parser = argparse.ArgumentParser(prog="make test-crash", description=__doc__)
    parser.add_argument("--plans", type=int, default=20, help="how many plans are played (20)")
    parser.add_argument("--seed", type=int, default=0, help="the first plan's; the next one has the next number (0)")
    parser.add_argument("--fault", choices=FAULTS, help="plays a worker with this fault, which plans ought to find")
    given = parser.parse_args(arguments)
    if given.plans < 1:
        parser.error("--plans: at least one")
    command = MODULE if given.fault is None else mutant_worker.command(FAULTS[given.fault])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # servers and disks are put away
    verdicts = []
    try:
        with Servers.running() as servers:
            if servers.disk is None:
                print("no disk will be full: none can be mounted here")
            for seed in range(given.seed, given.seed + given.plans):
                verdict = asyncio.run(play(plan_of(seed, kinds=servers.kinds), servers, command=command))
                _tell(verdict)
                verdicts.append(verdict)
    except (pytest.skip.Exception, pytest.fail.Exception) as error:
        print(f"make test-crash: {error}", file=sys.stderr)
        return 2
    if given.fault is not None:
        print(f"with the fault {given.fault}, which ought to be found:")
    return _sum_up(verdicts)


def _tell(verdict: Verdict) -> None:
    said = f", ended by themselves: {list(verdict.ends)}" if verdict.ends else ""
    outcome = "FOUND" if verdict.complaints else "clean"
    print(
        f"plan {verdict.plan.seed}: {outcome}, {verdict.records} records, {verdict.seconds:.1f} s, "
        f"settled {verdict.settling_seconds:.1f} s after the last harm, {verdict.more_published} published again{said}",
        flush=True,
    )
    if verdict.complaints:
        for harm in verdict.plan.harms:
            print(f"    {harm}")
        for complaint in verdict.complaints[:20]:
            print(f"    {complaint[:_COMPLAINT_CHARS_MAX]}")
        print(f"    what the workers said: {verdict.folder}", flush=True)


def _sum_up(verdicts: Sequence[Verdict]) -> int:
    kinds = Counter(str(harm.kind) for verdict in verdicts for harm in verdict.plan.harms)
    found = [verdict.plan.seed for verdict in verdicts if verdict.complaints]
    records = sum(verdict.records for verdict in verdicts)
    again = sum(verdict.more_published for verdict in verdicts)
    print(f"harm done: {dict(sorted(kinds.items()))}")
    print(f"plans: {len(verdicts)}, records: {records}; published again, as harm was felt: {again}")
    print(f"found in {len(found)}: {found}; again with --plans 1 --seed N" if found else "nothing found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
