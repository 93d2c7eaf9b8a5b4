"""The delivery of a message, from its slot to its last acknowledgement: transaction, publishing, metrics and log.

A message that fails while its dependencies are available is attempted a limited number of times, then rejected. No
message is started during an outage, after its partition is released, or while the breaker is open.

Messages of one release that wait behind each other are delivered together, as a chain, as long as nothing fails. What
fails is delivered message by message.
"""

import logging
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import dataclass

import structlog

from schemas.reasons import Reason
from worker.pipeline.breaker import Breaker, Counted
from worker.pipeline.dependency_monitor import DependencyMonitors
from worker.pipeline.log_throttle import LogThrottle
from worker.pipeline.outgoing import OutgoingRecords
from worker.pipeline.partition_state import PartitionState
from worker.pipeline.publish import Decided, PublishStep
from worker.pipeline.retry import Failed, Lease, Retries, RetryPolicy, position
from worker.pipeline.state_order import StateOrder
from worker.pipeline.transaction import give_up, process, process_chain
from worker.ports import Clock, Decider, Publisher, Store, Tracer
from worker.rules.decide import decide
from worker.rules.errors import LeaseLost
from worker.rules.message import REDRIVE_HEADER, Message, RecordPosition
from worker.rules.state import Duplicate, FirstUse, Outcome, Rejected
from worker.telemetry import (
    EVENT_LAG_SECONDS,
    IDENTITY_REUSED,
    MESSAGES,
    PROCESSING_SECONDS,
    PUBLISH_FAILURES,
    PUBLISHED,
    REJECTIONS,
    LogEvent,
    Metrics,
)

_FIRST_TIMESTAMP_MS = 1_293_840_000_000
"""2011, the year of Kafka's first release."""
_AHEAD_MAX_SECONDS = 86_400.0

_REUSE_ADVICE = (
    "the second event has no effect; have its publisher use a unique id for each event, for example the id of the "
    "run and the name of the step"
)

_REDRIVE_ACTION = (
    f"the event was rejected before, so it is not decided again; to have it decided again, send it with the header "
    f"{REDRIVE_HEADER} (rudder-worker publish --redrive)"
)

_ADVICE = (
    "all workers of the group stop. Look at the rejections, in the table release_event_rejections or the dead-letter "
    "topic. If the database is wrong or incomplete, correct it first: a rejected event stays rejected when it is read "
    "again. If a publisher is wrong, correct it; for its remaining events restart with RUDDER_BREAKER_EVENTS=0. Then "
    "run rudder-worker breaker close --note TEXT"
)

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.delivery")


@dataclass(frozen=True, slots=True, kw_only=True)
class InFlight:
    """A message to deliver. `counted`: the message in the breaker's order."""

    message: Message
    lease: PartitionState
    counted: Counted


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedChain:
    """Messages of one release, the first of which are committed, and not published yet. `decided`: those. `ending`:
    closes the messages' spans, and leaves their leases. `began`: when the chain did, in monotonic seconds.
    """

    chain: Sequence[InFlight]
    decided: Sequence[Decided]
    ending: ExitStack
    began: float

    @property
    def whole(self) -> bool:
        return len(self.decided) == len(self.chain)

    def leave(self) -> None:
        """While another chain is published before this one: a drain does not wait for this one alone."""
        for one in self.chain:
            one.lease.leave()

    def enter(self) -> None:
        """After `leave`."""
        for one in self.chain:
            one.lease.enter()


class Delivery:
    """Delivers messages. One for the worker."""

    def __init__(
        self,
        *,
        store: Store,
        publisher: Publisher,
        outgoing: OutgoingRecords,
        policy: RetryPolicy,
        monitors: DependencyMonitors,
        breaker: Breaker,
        decider: Decider = decide,
        tracer: Tracer,
        clock: Clock,
        metrics: Metrics,
        state_order: StateOrder | None = None,
    ) -> None:
        """`state_order`: as that of the publish step."""
        self._store = store
        self._tracer = tracer
        self._retries = Retries(policy, clock=clock, metrics=metrics)
        self._publishing = PublishStep(
            publisher=publisher,
            outgoing=outgoing,
            retries=self._retries,
            monitor=monitors.broker,
            attempts_max=policy.attempts_max,
            state_order=state_order,
        )
        self._monitors = monitors
        self._breaker = breaker
        self._decider = decider
        self._clock = clock
        self._metrics = metrics
        self._log_throttle = LogThrottle()

    async def deliver(
        self,
        message: Message,
        lease: Lease,
        slot: AbstractAsyncContextManager[None],
        counted: Counted | None = None,
    ) -> Outcome:
        """Return when the message's transaction is committed and its published records are acknowledged. `counted`: the
        message in the breaker's order, if several are delivered concurrently.

        Raises:
            LeaseLost: its partition was released before, or the breaker opened.
        """
        record = message.record
        counted = counted or self._breaker.expect(RecordPosition(record.topic, record.partition, record.offset))
        lease.enter()  # from here on only a pause can end it: transaction and publishing are completed
        try:
            with self._tracer.span(message) as span:
                await self._wait_for_dependencies(lease)
                began = self._clock.monotonic_seconds()
                outcome, attempts = await self._persist(message, lease, slot, counted)
                span.set_outcome(outcome)
                decided = Decided(message=message, outcome=outcome, span=span)
                await self._publish(decided, lease, counted, attempts=attempts, began=began)
        finally:
            lease.leave()
            self._log_opened(self._breaker.dropped(counted))
        return outcome

    async def commit_chain(
        self, chain: Sequence[InFlight], slot: AbstractAsyncContextManager[None]
    ) -> "CommittedChain | None":
        """Commit the transactions of messages of one release, from the first on, as long as none fails; None: no
        message. Publish them with `publish_chain`, then deliver the others with `deliver`, in order; transactions of
        theirs may be committed too.
        """
        with ExitStack() as spans:
            for one in chain:
                one.lease.enter()
                spans.callback(one.lease.leave)
            began = self._clock.monotonic_seconds()
            decided = await self._persist_chain(chain, spans, slot)
            if not decided:
                return None
            return CommittedChain(chain=chain, decided=decided, ending=spans.pop_all(), began=began)

    async def publish_chain(self, committed: "CommittedChain") -> int:
        """Publish the records of committed messages, in order: the number of messages that are delivered, from the
        first on. The others have lost their lease, or are not committed.
        """
        chain, decided = committed.chain, committed.decided
        with committed.ending:
            outgoing = await self._publishing.publish_together(decided)
            if outgoing is None:
                return await self._publish_each(chain, decided, committed.began)
        for outgoing_record in outgoing:
            self._metrics.count(PUBLISHED, outgoing_record.topic)
        seconds = self._clock.monotonic_seconds() - committed.began
        for one_decided in decided:
            self._report(one_decided.message, one_decided.outcome, 1, seconds)
        return len(decided)

    async def _publish_each(self, chain: Sequence[InFlight], decided: Sequence[Decided], began: float) -> int:
        """Publish what was not acknowledged together, message by message; the number of those that are published."""
        for number, (one, one_decided) in enumerate(zip(chain, decided, strict=False)):
            try:
                await self._publish(one_decided, one.lease, one.counted, attempts=1, began=began)
            except LeaseLost:
                return number
        return len(decided)

    async def _publish(self, decided: Decided, lease: Lease, counted: Counted, *, attempts: int, began: float) -> None:
        """Raises LeaseLost: the message's partition was released."""
        published = await self._publishing.publish(decided, lease, attempts=attempts)
        if published.replacement is not None:
            self._metrics.count(PUBLISH_FAILURES)
            self._count(counted, Rejected(rejection=published.replacement), decided.message)
        self._count(counted, decided.outcome, decided.message)
        for outgoing_record in published.outgoing:
            self._metrics.count(PUBLISHED, outgoing_record.topic)
        self._report(decided.message, decided.outcome, attempts, self._clock.monotonic_seconds() - began)

    async def _persist_chain(
        self, chain: Sequence[InFlight], spans: ExitStack, slot: AbstractAsyncContextManager[None]
    ) -> Sequence[Decided]:
        async with slot:
            if not self._monitors.available or self._breaker.is_open or any(one.lease.ended.is_set() for one in chain):
                return ()
            opened = [spans.enter_context(self._tracer.span(one.message)) for one in chain]
            try:
                outcomes = await process_chain([one.message for one in chain], self._store, self._decider)
            except Exception as error:  # noqa: BLE001 - `deliver` repeats it for each message, and reports why it fails
                _log.debug(LogEvent.CHAIN_FAILED, **position(chain[0].message), messages=len(chain), cause=repr(error))
                return ()
            decided = []
            for one, outcome, span in zip(chain, outcomes, opened, strict=False):
                span.set_outcome(outcome)
                self._count(one.counted, outcome, one.message)  # before the slot is released, as in `_persist`
                decided.append(Decided(message=one.message, outcome=outcome, span=span))
            return decided

    async def _persist(
        self, message: Message, lease: Lease, slot: AbstractAsyncContextManager[None], counted: Counted
    ) -> tuple[Outcome, int]:
        """The outcome, and the number of transactions."""
        attempts = 0

        async def transact(failed: Failed) -> Outcome:
            nonlocal attempts
            while True:
                await self._wait_for_dependencies(lease)
                async with slot:
                    self._require_lease(lease)
                    if not self._monitors.available:
                        continue  # an outage began while this waited for its slot
                    attempts += 1
                    if failed.permanent is None:
                        outcome = await process(message, self._store, self._decider)
                    else:
                        outcome = await give_up(message, self._store, detail=failed.permanent)
                    if isinstance(outcome, Rejected):
                        # Before the slot is released: after the breaker opens, only running transactions may reject.
                        self._count(counted, outcome, message)
                    return outcome

        return await self._retries.repeat(transact, message, lease, monitor=self._monitors.database), attempts

    def _require_lease(self, lease: Lease) -> None:
        if lease.ended.is_set() or self._breaker.is_open:
            raise LeaseLost

    def _count(self, counted: Counted, outcome: Outcome, message: Message) -> None:
        again = message.redrive or message.corrects is not None
        # A repository without a mapping says nothing about the other sources.
        unmapped = isinstance(outcome, Rejected) and outcome.rejection.reason == Reason.UNMAPPED
        self._log_opened(self._breaker.decided(counted, outcome, redriven=again or unmapped))

    def _log_opened(self, opens: bool) -> None:  # noqa: FBT001 - the breaker's result
        tripped = self._breaker.tripped
        if not opens or tripped is None:
            return
        _log.error(
            LogEvent.BREAKER_OPENED,
            rejected=tripped.rejected,
            events=tripped.events,
            reasons=tripped.reasons,
            sources=tripped.sources,
            **tripped.last._asdict(),
            advice=_ADVICE,
        )

    async def _wait_for_dependencies(self, lease: Lease) -> None:
        """Return when all dependencies are available. Meanwhile a drain does not wait for this message."""
        if not self._monitors.available:
            lease.leave()
            try:
                await self._monitors.wait_until_available(lease.ended)
            finally:
                lease.enter()

    def _report_reuse(self, message: Message, first: FirstUse) -> None:
        self._metrics.count(IDENTITY_REUSED)
        content = message.content
        now_seconds = self._clock.monotonic_seconds()
        left_out = self._log_throttle.left_out_before(content.source or "", now_seconds=now_seconds)
        if left_out is None:
            return
        _log.warning(
            LogEvent.IDENTITY_REUSED,
            source=content.source,
            id=content.id,
            type=content.type and str(content.type),
            release_id=message.release_id and str(message.release_id),
            first_type=first.type,
            first_release_id=first.release_id and str(first.release_id),
            **position(message),
            lines_left_out=left_out or None,
            advice=_REUSE_ADVICE,
        )

    def _report(self, message: Message, outcome: Outcome, attempts: int, seconds: float) -> None:
        name = type(outcome).__name__.lower()
        rejection = outcome.rejection if isinstance(outcome, Rejected | Duplicate) else None
        self._metrics.count(MESSAGES, name)
        self._metrics.observe(PROCESSING_SECONDS, seconds)
        if (lag_seconds := _lag_seconds(message.record.timestamp_ms, self._clock.unix_seconds())) is not None:
            self._metrics.observe(EVENT_LAG_SECONDS, lag_seconds)
        if isinstance(outcome, Rejected):
            self._metrics.count(REJECTIONS, outcome.rejection.reason)
        if isinstance(outcome, Duplicate) and outcome.reused is not None:
            self._report_reuse(message, outcome.reused)
        sent_again = _repeats_rejection(outcome, message)
        level = logging.WARNING if isinstance(outcome, Rejected) or sent_again else logging.DEBUG
        if not _log.is_enabled_for(level):
            return  # thousands a second: skip the formatting too
        content = message.content
        _log.log(
            level,
            LogEvent.MESSAGE_COMPLETED,
            outcome=name,
            reason=rejection and rejection.reason,
            detail=rejection and rejection.detail,
            source=content.source,
            id=content.id,
            type=content.type and str(content.type),
            release_id=message.release_id and str(message.release_id),
            **position(message),
            attempts=attempts,
            duration_ms=round(seconds * 1000, 3),
            action=_REDRIVE_ACTION if sent_again else None,
        )


def _repeats_rejection(outcome: Outcome, message: Message) -> bool:
    """Whether the message is a rejected event that was published again: a redelivered record has the same position."""
    if (
        not isinstance(outcome, Duplicate)
        or outcome.rejection is None
        or outcome.activities
        or outcome.reused is not None
    ):
        return False
    record, rejection = message.record, outcome.rejection
    return (record.topic, record.partition, record.offset) != (rejection.topic, rejection.partition, rejection.offset)


def _lag_seconds(timestamp_ms: int, now_seconds: float) -> float | None:
    """The age of a record; None for an implausible timestamp: -1, seconds, microseconds, a clock days ahead."""
    lag_seconds = now_seconds - timestamp_ms / 1000
    if timestamp_ms < _FIRST_TIMESTAMP_MS or lag_seconds < -_AHEAD_MAX_SECONDS:
        return None
    return max(0.0, lag_seconds)
