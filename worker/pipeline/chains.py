"""Messages in flight, delivered chain by chain: what the executor runs.

A chain of messages is committed in its first step and published in its second one, so that the database works on the
next chain of a release while the broker acknowledges the records of this one. A message alone has one step.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import structlog

from worker.pipeline.delivery import CommittedChain, Delivery, InFlight
from worker.pipeline.executor import SecondStep
from worker.pipeline.retry import position
from worker.rules.errors import LeaseLost
from worker.telemetry import LogEvent

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.consumer")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainDelivery:
    """`slot`: the executor's. `complete`: called with each message that is delivered, in order. `release`: called with
    each message when nothing more is done for it. `chain_ended`: called after the last message of a chain.
    """

    delivery: Delivery
    slot: AbstractAsyncContextManager[None]
    complete: Callable[[InFlight], None]
    release: Callable[[InFlight], None]
    chain_ended: Callable[[], None]

    async def run(self, chain: Sequence[InFlight]) -> SecondStep | None:
        """The first step, and all of it for a message alone."""
        if len(chain) > 1:
            committed = await self.delivery.commit_chain(chain, self.slot)
            return _PublishChain(self, chain, committed)
        await self._delivered(chain[0])
        self.chain_ended()
        return None

    async def deliver_each(self, chain: Sequence[InFlight]) -> bool:
        """One message after the other; whether all were delivered."""
        return all([await self._delivered(in_flight) for in_flight in chain])

    async def _delivered(self, in_flight: InFlight) -> bool:
        message = in_flight.message
        try:
            await self.delivery.deliver(message, in_flight.lease, self.slot, in_flight.counted)
        except LeaseLost:
            _log.debug(LogEvent.MESSAGE_LEASE_LOST, **position(message))
            return False
        else:
            self.complete(in_flight)
            return True
        finally:
            self.release(in_flight)


class _PublishChain:
    """`worker.pipeline.executor.SecondStep`. `committed`: None: no message of the chain is."""

    def __init__(self, chains: ChainDelivery, chain: Sequence[InFlight], committed: CommittedChain | None) -> None:
        self._chains = chains
        self._chain = chain
        self._committed = committed
        self._waited = False

    @property
    def beside_next(self) -> bool:
        return self._committed is not None and self._committed.whole

    def wait(self) -> None:
        if self._committed is not None:
            self._committed.leave()
            self._waited = True

    async def run(self, *, completed: bool) -> bool:
        """A message that has lost its lease is published by the partition's next owner, before those behind it: they
        are delivered again, as duplicates or not at all.
        """
        delivered = 0
        if self._committed is not None:
            if self._waited:
                self._committed.enter()
            if completed:
                delivered = await self._chains.delivery.publish_chain(self._committed)
            else:
                self._committed.ending.close()
        for in_flight in self._chain[:delivered]:
            self._chains.complete(in_flight)
            self._chains.release(in_flight)
        all_delivered = await self._chains.deliver_each(self._chain[delivered:])
        self._chains.chain_ended()
        return all_delivered
