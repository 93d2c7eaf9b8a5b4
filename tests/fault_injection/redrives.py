"""A redrive of dead letters beside the workers: killed once, stopped by faults, and continued until it is settled."""

import asyncio
import random
import re
import signal
import zlib
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, Self
from uuid import UUID

from tests.conformance.deadlines import until
from tests.conformance.producers import ToSend, headers_of
from tests.conformance.table_contents import rows
from tests.end_to_end.killed_redrive import STEPS, command
from tests.end_to_end.release_records import ReleaseRecords
from tests.end_to_end.system import PARTITIONS
from tests.end_to_end.worker_process import MODULE, WorkerProcess
from tests.fault_injection.fixture import Fixture, settings_of

_RELEASES = 6
_STEPS = ("requested", "started", "succeeded")
_OPTIONS = ("--all", "--execute", "--rate", "5/s", "--wait", "5")
_ATTEMPTS_MAX = 40
_ENDED_WITHIN_SECONDS = 120.0
_BEGUN_WITHIN_SECONDS = 2.0
_SENDING_SECONDS = 3.0
"""Sending all dead letters takes longer."""
_START_SECONDS = 1.0
_PAUSE_SECONDS = 0.2
_ACTION = re.compile(r"(?:redrive|--resume) ([0-9a-f-]{36})\b")


async def leave_dead_letters(fixture: Fixture) -> frozenset[UUID]:
    """Send deployments before their releases, then the releases; the ids of the dead letters, which would pass now."""
    builders = [ReleaseRecords() for _ in range(_RELEASES)]
    await fixture.system.send([_placed(builder.deploy(step)) for builder in builders for step in _STEPS])
    await fixture.settled()
    found = await rows(fixture.system.database_url, "release_event_rejections")
    await fixture.system.send([_placed(record) for builder in builders for record in builder.approved()])
    await fixture.settled()
    return frozenset(row["id"] for row in found)


def _placed(record: ToSend) -> ToSend:
    """In the partition of its key while the topic has its first partitions, as the publisher of the plan."""
    return replace(record, partition=zlib.crc32(record.key or b"") % PARTITIONS)


@dataclass(slots=True)
class Redriving:
    """One action. `dead_letters`: those that it must resolve. `action_id`: None until the command has printed it."""

    fixture: Fixture
    dead_letters: frozenset[UUID]
    dice: random.Random
    action_id: UUID | None = None
    killed: bool = False

    @classmethod
    def of(cls, fixture: Fixture, dead_letters: frozenset[UUID]) -> Self:
        return cls(fixture, dead_letters, random.Random(f"redrives {fixture.plan.seed}"))

    async def run(self) -> list[str]:
        """Continue the action until all its dead letters are settled. What went wrong."""
        await self.fixture.moment(self.dice.uniform(0, _BEGUN_WITHIN_SECONDS))
        for number in range(_ATTEMPTS_MAX):
            process = await self._attempt(number)
            unsettled = await self._unsettled()
            if problem := _problem(process, unsettled=unsettled):
                return [f"redrive {number}: {problem}"]
            if not unsettled:
                return []
            await asyncio.sleep(_PAUSE_SECONDS)
        return [f"the redrive is not settled after {_ATTEMPTS_MAX} attempts: {process.output()}"]

    async def _attempt(self, number: int) -> WorkerProcess:
        """One process, through the links of one worker, until it ends or is killed: at one step, or at any time."""
        system, links = self.fixture.system, self.dice.choice(self.fixture.links)
        more = ("--ramp",) if self.dice.random() < 0.5 else ()
        arguments = (*_OPTIONS, *more) if self.action_id is None else ("--resume", str(self.action_id))
        at_step = not self.killed and self.dice.random() < 0.5
        with WorkerProcess(
            "dead-letters",
            "redrive",
            *arguments,
            settings=system.settings | settings_of(self.fixture.plan, system, links),
            folder=system.folder,
            name=f"redrive-{number}",
            command=command(self.dice.choice(STEPS)) if at_step else MODULE,
        ) as process:
            if not self.killed and not at_step:
                await self._kill(process)
            await process.ended(timeout_seconds=_ENDED_WITHIN_SECONDS)
        self.killed |= process.exit_code == -signal.SIGKILL
        if found := _ACTION.search(process.stderr):
            self.action_id = UUID(found[1])
        return process

    async def _kill(self, process: WorkerProcess) -> None:
        """The first process prints the action when it begins to send."""
        begun = self.action_id is not None
        await until(
            lambda: begun or process.exit_code is not None or _ACTION.search(process.stderr) is not None,
            what=process.output,
        )
        await asyncio.sleep(self.dice.uniform(0, _START_SECONDS if begun else _SENDING_SECONDS))
        process.kill()

    async def _unsettled(self) -> bool:
        """Whether the journal has dead letters to settle, or has none at all: then the command begins again."""
        async with self.fixture.database_fault:
            journal = await self._journal()
        if not journal:
            self.action_id = None
        return not journal or any(row["state"] != "SETTLED" for row in journal)

    async def _journal(self) -> list[dict[str, Any]]:
        found = await rows(self.fixture.system.database_url, "redrive_records")
        return [row for row in found if row["action_id"] == self.action_id]

    async def differences(self) -> list[str]:
        """What is wrong after the redrive: a dead letter that is not resolved, or was not sent as its row states."""
        system = self.fixture.system
        journal = await self._journal()
        rejections = await rows(system.database_url, "release_event_rejections")
        open_ = {row["id"] for row in rejections if row["resolved_at"] is None}
        problems = [f"dead letter {id_} is not resolved" for id_ in sorted(self.dead_letters & open_)]
        if len(self.dead_letters) != _RELEASES * len(_STEPS):
            problems.append(f"{len(self.dead_letters)} dead letters were left before the redrive")
        if missing := self.dead_letters - {row["rejection_id"] for row in journal}:
            problems.append(f"{len(missing)} dead letters are not in the plan")
        sent: Counter[tuple[str, int | None]] = Counter()
        positions: Counter[str] = Counter()
        for message in await system.read(system.topics.events):
            named = (dict(headers_of(message)).get("rudder-redrive") or b"").decode("utf-8", "replace")
            positions[named] += 1
            sent[named, message.offset()] += 1
        for row in journal:
            named = f"{row['topic']}/{row['topic_partition']}@{row['topic_offset']}"
            if positions[named] != 1 or not sent[named, row["sent_offset"]]:
                problems.append(f"{named} was sent {positions[named]} times: {row}")
        return problems


def _problem(process: WorkerProcess, *, unsettled: bool) -> str | None:
    """A command that stops must state the command that continues; 2: a server did not answer at its start."""
    if "Traceback" in process.stderr or process.exit_code not in {0, 1, 2, -signal.SIGKILL}:
        return process.output()
    if unsettled and process.exit_code in {0, 1} and "to continue: " not in process.stderr:
        return f"it is not settled: {process.output()}"
    return None
