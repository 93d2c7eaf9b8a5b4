"""Find the releases of foreign events, before they are dispatched: a release is the key by which messages are ordered.

Messages of a partition pass in offset order. One that names its release passes at once, unless earlier ones wait. The
releases of several foreign events are found in one round trip. An event that has a commit or an image in common with
an earlier one waits until that one has ended: it may create the release.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import UUID

import structlog

from schemas.event import ReleaseReference
from worker.pipeline.delivery import InFlight
from worker.pipeline.dependency_monitor import DependencyMonitor
from worker.ports import Clock, Partition, ReleaseFinder
from worker.rules.errors import EXTERNAL, Conflict, LeaseLost
from worker.rules.message import Claim, Message
from worker.telemetry import LogEvent

BATCH_MAX = 64
"""Messages whose releases are found in one round trip."""

_RETRY_SECONDS = 0.2
"""At least so long between two attempts: the database may answer the probe, and not this query."""

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.consumer")


async def resolved(messages: Sequence[Message], finder: ReleaseFinder) -> list[Message]:
    """The messages with the releases that exist now. Raises Unavailable."""
    wanted = {_key(one.reference): one.reference for one in messages if one.reference is not None}
    if not wanted:
        return list(messages)
    found = dict(zip(wanted, await finder.find_releases(list(wanted.values())), strict=True))
    return [
        one if one.reference is None or (id_ := found[_key(one.reference)]) is None else one.resolved(id_)
        for one in messages
    ]


_Key = tuple[ReleaseReference, tuple[UUID, ...]]


def _key(reference: ReleaseReference) -> _Key:
    """What decides which release is found. References of one artifact are equal, whatever their runs are."""
    return reference, reference.runs


class ReleaseResolution:
    """`run` it while messages are added. Its queues are bounded by the in-flight budget."""

    def __init__(self, finder: ReleaseFinder, *, monitor: DependencyMonitor, clock: Clock) -> None:
        self._finder = finder
        self._monitor = monitor
        self._clock = clock
        self._waiting: dict[Partition, deque[InFlight]] = {}
        self._changed = asyncio.Event()

    def add(self, in_flight: InFlight, submit: Callable[[InFlight], None]) -> None:
        """Submit the message now, or when its release and those of earlier messages of its partition are found."""
        partition = in_flight.lease.partition
        if partition not in self._waiting and in_flight.message.reference is None:
            submit(in_flight)
            return
        self._waiting.setdefault(partition, deque()).append(in_flight)
        self._changed.set()

    def message_ended(self) -> None:
        """A submitted message has ended: another one may wait for it."""
        if self._waiting:
            self._changed.set()

    async def run(self, submit: Callable[[InFlight], None], running: Callable[[Sequence[Claim]], bool]) -> None:
        """Until cancelled. `running`: whether a submitted message with one of these claims has not ended."""
        while True:
            self._changed.clear()
            batch = self._next_batch(running)
            if not batch:
                await self._changed.wait()
                continue
            found = await self._found([one for one in batch if _is_unresolved(one)])
            # Only now: what is added meanwhile must see that earlier messages wait.
            for in_flight in batch:
                self._take(in_flight.lease.partition)
                reference = in_flight.message.reference
                if reference is not None and _key(reference) in found:
                    message = in_flight.message.resolved(found[_key(reference)])
                    in_flight = replace(in_flight, message=message)  # noqa: PLW2901
                submit(in_flight)

    def _take(self, partition: Partition) -> None:
        waiting = self._waiting[partition]
        waiting.popleft()
        if not waiting:
            del self._waiting[partition]

    def _next_batch(self, running: Callable[[Sequence[Claim]], bool]) -> list[InFlight]:
        """The first messages of each partition, up to one that shares a commit or an image with a message that may
        create its release.
        """
        batch: list[InFlight] = []
        creators: dict[Claim, ReleaseReference | None] = {}
        for waiting in self._waiting.values():
            for in_flight in waiting:
                message = in_flight.message
                claims = message.artifact_claims
                # Equal references find the same release, whether or not the first of them creates it.
                shared = any(creators.get(claim, message.reference) != message.reference for claim in claims)
                if len(batch) == BATCH_MAX or (_is_unresolved(in_flight) and (shared or running(claims))):
                    break
                creators |= dict.fromkeys(claims, message.reference)
                batch.append(in_flight)
        return batch

    async def _found(self, batch: Sequence[InFlight]) -> dict[_Key, UUID]:
        """The releases that there are. Those of messages whose partition is lost meanwhile are not looked up."""
        while True:
            batch = [one for one in batch if not one.lease.ended.is_set()]
            given = (one.message.reference for one in batch)
            references = {_key(reference): reference for reference in given if reference is not None}
            if not references:
                return {}
            try:
                ids = await self._finder.find_releases(list(references.values()))
            except (*EXTERNAL, Conflict) as error:
                _log.debug(LogEvent.RELEASES_NOT_FOUND, references=len(references), cause=repr(error))
                if isinstance(error, EXTERNAL):
                    self._monitor.suspect()
                await self._clock.wait(asyncio.Event(), timeout_seconds=_RETRY_SECONDS)
                with contextlib.suppress(LeaseLost):
                    await self._monitor.wait_until_available(batch[0].lease.ended)
            except Exception as error:  # noqa: BLE001 - the message meets the same fault, which is reported there
                _log.debug(LogEvent.RELEASES_NOT_FOUND, references=len(references), cause=repr(error))
                if len(references) == 1:
                    return {}
                found: dict[_Key, UUID] = {}
                for one in batch:
                    found |= await self._found([one])
                return found
            else:
                return {key: id_ for key, id_ in zip(references, ids, strict=True) if id_ is not None}


def _is_unresolved(in_flight: InFlight) -> bool:
    """Whether the message's release has to be found; not if the message will not be processed here."""
    return in_flight.message.reference is not None and not in_flight.lease.ended.is_set()
