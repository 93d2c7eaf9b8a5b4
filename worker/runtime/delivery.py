"""One message from its lane to its last acknowledgement: every try, every wait between tries, and the end of both.

What fails for want of a database or a broker is tried for ever; while they are away nothing is tried at all, and all
wait at the gate. What fails for a reason of its own is tried a bounded number of times and then rejected. Nothing is
tried once its partition is given up, or so much was rejected that the breaker is open.
"""

import logging
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import structlog

from schemas.detail import printable
from worker.domain.breaker import Breaker
from worker.domain.decide import decide
from worker.domain.errors import Abandoned, Conflict, Misconfigured, Outrun, Unavailable, Unprocessable
from worker.domain.message import Message
from worker.domain.retry import Backoff
from worker.domain.state import Duplicate, Outcome, Rejected
from worker.handling.process import give_up, process
from worker.handling.publications import Publications
from worker.ports import Clock, Judge, Publication, Publisher, Store, Tracer
from worker.runtime.ending import Ending
from worker.runtime.gate import Gate, Gates
from worker.telemetry import (
    BREAKER_OPEN,
    EVENT_LAG_SECONDS,
    MESSAGES,
    PROCESSING_SECONDS,
    PUBLISHED,
    REJECTIONS,
    RETRIES,
    LogEvent,
    Metrics,
)

_NAME_LENGTH_MAX = 500

_CONFLICT_BACKOFF = Backoff(initial_seconds=0.005, max_seconds=1.0)

_RETOLD_AFTER_SECONDS = 10.0
_TROUBLE_CHARS = 80
"""So much of what a cause says tells one trouble from another."""
_TROUBLES_MAX = 100

_PATIENCE = (Unavailable, Misconfigured, MemoryError)
"""What is no fault of any message, and passes or is mended by somebody: a password that was changed, for one."""

_ADVICE = (
    "look at what was rejected, in the table release_event_rejections or the dead letters. Is it the right database, "
    "and all in it? If not, leave the breaker as it is: what is rejected stays so when it is read again. If it is a "
    "publisher, mend it, and restart with RUDDER_BREAKER_EVENTS=0 until the rest of its events is through"
)

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.delivery")


class Tenure(Protocol):
    """The part of an assignment that a delivery needs."""

    ended: Ending

    def enter(self) -> None: ...

    def leave(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How often, and how long apart.

    `attempts_max` bounds tries that fail for the message's own reason, `conflicts_max` those that meet another
    writer's rows: a guard that fails so often is no race but a fault. Being outrun on a release is never counted.
    """

    backoff: Backoff
    attempts_max: int
    conflict_backoff: Backoff = _CONFLICT_BACKOFF
    conflicts_max: int = 50


@dataclass(slots=True, kw_only=True)
class _Told:
    """When a trouble was told last, and how many lines were left out since."""

    at_seconds: float
    left_out: int = 0


class Delivery:
    """Delivers messages. One for the worker; between messages it keeps nothing but when it last told of a retry."""

    def __init__(
        self,
        *,
        store: Store,
        publisher: Publisher,
        publications: Publications,
        policy: Policy,
        gates: Gates,
        breaker: Breaker,
        judge: Judge = decide,
        tracer: Tracer,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._tracer = tracer
        self._publisher = publisher
        self._publications = publications
        self._policy = policy
        self._gates = gates
        self._breaker = breaker
        self._judge = judge
        self._clock = clock
        self._metrics = metrics
        self._told: dict[str, _Told] = {}

    async def deliver(self, message: Message, tenure: Tenure, place: AbstractAsyncContextManager[None]) -> Outcome:
        """Return when the message's transaction is committed and all it publishes is acknowledged.

        Raises:
            Abandoned: its partition was given up first, or the breaker opened.
        """
        tenure.enter()  # what is begun is finished, transaction and publication both; only a pause can end it
        try:
            with self._tracer.span(message) as came_to:
                await self._admitted(tenure)
                began = self._clock.monotonic_seconds()
                outcome, publications, attempts = await self._persist(message, tenure, place)
                came_to(outcome)
                if publications:
                    await self._acknowledge(publications, message, tenure)
        finally:
            tenure.leave()
        for publication in publications:
            self._metrics.count(PUBLISHED, publication.topic)
        self._report(message, outcome, attempts, self._clock.monotonic_seconds() - began)
        return outcome

    async def _persist(
        self, message: Message, tenure: Tenure, place: AbstractAsyncContextManager[None]
    ) -> tuple[Outcome, tuple[Publication, ...], int]:
        """The outcome, what it publishes, and how many tries it took."""
        policy = self._policy
        attempts = failures = conflicts = faults = 0
        hopeless: str | None = None
        while True:
            await self._admitted(tenure)
            cause: Exception
            try:
                async with place:
                    self._still_to_do(tenure)
                    if self._gates.shut:
                        continue  # it was shut while this waited for its place
                    attempts += 1
                    if hopeless is None:
                        outcome = await process(message, self._store, self._judge)
                    else:
                        outcome = await give_up(message, self._store, detail=hopeless)
                    self._count(outcome, message)
                # A known event's entries may have been edited by hand into something that cannot be published: then
                # this fails, and its release waits, until they are mended.
                return outcome, self._publications.of(outcome, message, attempts=attempts), attempts
            except Abandoned:
                raise
            except _PATIENCE as error:
                cause = error
            except Conflict as error:
                cause = error
                conflicts += not isinstance(error, Outrun)
                if conflicts >= policy.conflicts_max:
                    hopeless = _name(error)
            except Exception as error:  # noqa: BLE001 - the one place: no message may end the worker
                cause = error
                faults += 1
                if faults >= policy.attempts_max or isinstance(error, Unprocessable):
                    hopeless = _name(error)
            failures += 1
            if await self._pause(message, tenure, cause, failures, gate=self._gates.database):
                failures = 0

    async def _acknowledge(self, publications: tuple[Publication, ...], message: Message, tenure: Tenure) -> None:
        failures = 0
        while True:
            try:
                await self._publisher.publish(publications)
            except _PATIENCE as error:
                failures += 1
                if await self._pause(message, tenure, error, failures, gate=self._gates.broker):
                    failures = 0
            else:
                return

    def _still_to_do(self, tenure: Tenure) -> None:
        if tenure.ended.is_set() or self._breaker.tripped is not None:
            raise Abandoned

    def _count(self, outcome: Outcome, message: Message) -> None:
        """Before the place is given to the next: what is rejected after the breaker opened is in a transaction now."""
        if not self._breaker.judged(outcome) or self._breaker.tripped is None:
            return
        tripped = self._breaker.tripped
        self._metrics.set(BREAKER_OPEN, 1)
        _log.error(
            LogEvent.BREAKER_OPENED,
            rejected=tripped.rejected,
            judged=tripped.judged,
            reasons=tripped.reasons,
            **_position(message),
            advice=_ADVICE,
        )

    async def _admitted(self, tenure: Tenure) -> None:
        """Return when the gates are open. Who waits there does not hold up a drain."""
        if self._gates.shut:
            tenure.leave()
            try:
                await self._gates.passed(tenure.ended)
            finally:
                tenure.enter()

    async def _pause(self, message: Message, tenure: Tenure, cause: Exception, failures: int, *, gate: Gate) -> bool:
        """Wait before the next try; whether that was for the end of an outage, which says nothing of the message."""
        self._metrics.count(RETRIES, type(cause).__name__)
        tenure.leave()
        try:
            if isinstance(cause, _PATIENCE):
                gate.doubt()
                if await gate.passed(tenure.ended):
                    return True
            await self._back_off(message, tenure, cause, failures)
        finally:
            tenure.enter()
        return False

    async def _back_off(self, message: Message, tenure: Tenure, cause: Exception, failures: int) -> None:
        """The message's own wait, which grows with its failures."""
        backoff = self._policy.conflict_backoff if isinstance(cause, Conflict) else self._policy.backoff
        delay_seconds = backoff.delay_seconds(failures=failures, chance=self._clock.chance())
        if failures.bit_count() == 1:  # 1, 2, 4, 8 …: a long trouble is told, not poured
            self._tell(message, cause, failures, delay_seconds)
        if await self._clock.wait(tenure.ended, timeout_seconds=delay_seconds):
            raise Abandoned

    def _tell(self, message: Message, cause: Exception, failures: int, delay_seconds: float) -> None:
        left_out = 0
        if isinstance(cause, _PATIENCE):
            # The database answers, and will not do: its disk is full, say. That is every message's trouble alike.
            now_seconds, trouble = self._clock.monotonic_seconds(), str(cause)[:_TROUBLE_CHARS]
            told = self._told.get(trouble)
            if told is not None and now_seconds - told.at_seconds < _RETOLD_AFTER_SECONDS:
                told.left_out += 1
                return
            if len(self._told) >= _TROUBLES_MAX:  # by then the first is over, or not alone in being told again
                self._told.clear()
            self._told[trouble] = _Told(at_seconds=now_seconds)
            left_out = told.left_out if told is not None else 0
        expected = isinstance(cause, (Conflict, *_PATIENCE))
        _log.warning(
            LogEvent.MESSAGE_RETRIED,
            **_position(message),
            cause=_name(cause),
            failures=failures,
            delay_seconds=round(delay_seconds, 3),
            lines_left_out=left_out or None,
            exc_info=None if expected else cause,  # a fault of the worker's own is worth its traceback
        )

    def _report(self, message: Message, outcome: Outcome, attempts: int, seconds: float) -> None:
        name = type(outcome).__name__.lower()
        rejection = outcome.rejection if isinstance(outcome, Rejected | Duplicate) else None
        self._metrics.count(MESSAGES, name)
        self._metrics.observe(PROCESSING_SECONDS, seconds)
        self._metrics.observe(
            EVENT_LAG_SECONDS, max(0.0, self._clock.unix_seconds() - message.record.timestamp_ms / 1000)
        )
        if isinstance(outcome, Rejected):
            self._metrics.count(REJECTIONS, outcome.rejection.reason)
        level = logging.WARNING if isinstance(outcome, Rejected) else logging.DEBUG
        if not _log.is_enabled_for(level):
            return  # thousands a second: not even the words are put together
        content = message.content
        _log.log(
            level,
            LogEvent.MESSAGE_DONE,
            outcome=name,
            reason=rejection and rejection.reason,
            detail=rejection and rejection.detail,
            source=content.source,
            id=content.id,
            type=content.type and str(content.type),
            release_id=message.release_id and str(message.release_id),
            **_position(message),
            attempts=attempts,
            duration_ms=round(seconds * 1000, 3),
        )


def _position(message: Message) -> dict[str, object]:
    record = message.record
    return {"topic": record.topic, "partition": record.partition, "offset": record.offset}


def _name(error: Exception) -> str:
    """The error on one line, bounded and printable: it goes into a row, a header and a log line, and may quote what a
    publisher wrote.
    """
    text = " ".join(str(error)[: 2 * _NAME_LENGTH_MAX].split())
    return printable(f"{type(error).__name__}: {text}")[:_NAME_LENGTH_MAX]
