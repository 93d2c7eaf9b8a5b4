"""What `run` needs to start itself again as several worker processes.

Wired here and not in `worker.assembly`: that brings every edge with it, and a process that only watches others has no
use for any.
"""

import asyncio
import os
import sys
from collections.abc import Mapping

from worker.service.clock import SystemClock
from worker.service.processes import Launch, ProcessKeeper
from worker.settings import Settings

NUMBER_OPTION = "--process-number"

_PATIENT = {"RUDDER_STARTUP_TIMEOUT_SECONDS": "inf"}
"""For a process that takes a dead one's place: the timeout is for the start of all. Afterwards a database or broker
that is away is waited for, by a newcomer as by the others."""


def process_keepers(settings: Settings, *, grace_seconds: float) -> Mapping[str, ProcessKeeper]:
    """A service per worker process."""
    clock = SystemClock()
    return {
        f"process {number}": ProcessKeeper(
            number=number, launch=_launch(number), grace_seconds=grace_seconds, clock=clock
        )
        for number in range(settings.processes)
    }


def _launch(number: int) -> Launch:
    # As this very process was started, with the same interpreter, flags and options, whatever the way.
    command = (sys.executable, *sys.orig_argv[1:], NUMBER_OPTION, str(number))

    async def launch(died: int, standard_input: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *command,
            env={**os.environ, **(_PATIENT if died else {})},
            stdin=standard_input,
            # Ctrl-C in a terminal reaches a whole process group; it is this process that tells the others.
            start_new_session=True,
        )

    return launch
