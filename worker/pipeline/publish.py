"""Publish a message's records until they are acknowledged, or publish a replacement.

Outages of the broker are waited out. If every attempt fails while the broker is available, a replacement is published.
For status events it is a dead letter with the reason `processing_error`, for a dead letter one without key, value and
headers. The event's rows stay as they are: it is in the activity log, and has no rejection. If this minimal dead letter
fails too, the record is not the cause: it is not skipped, and the partition's offset does not advance.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from schemas.reasons import Reason
from worker.pipeline.dependency_monitor import DependencyMonitor
from worker.pipeline.outgoing import OutgoingRecords
from worker.pipeline.retry import Failed, Lease, Retries, position
from worker.pipeline.state_order import StateOrder
from worker.ports import MessageSpan, OutgoingRecord, Publisher
from worker.rules.decide import reject
from worker.rules.errors import LeaseLost
from worker.rules.message import Message
from worker.rules.rows import Rejection
from worker.rules.state import Duplicate, Outcome, Rejected, State
from worker.telemetry import LogEvent

_DETAIL = "the event was applied, but its status events cannot be published: "

_DEAD_LETTER = (
    "a dead letter is published instead of the status events; to publish them, remove the cause and send the record "
    "again with the header rudder-redrive"
)
_MINIMAL_DEAD_LETTER = (
    "the dead letter is published without key, value and headers; read the record at its topic, partition and offset"
)
_BLOCKED = "nothing can be published, so the partition's offset stays; remove the cause, then restart the worker"

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.delivery")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """A message with its outcome, which is stored. `span`: that of the message."""

    message: Message
    outcome: Outcome
    span: MessageSpan


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """`replacement`: the rejection in the dead letter that replaced the status events, if any."""

    outgoing: Sequence[OutgoingRecord]
    replacement: Rejection | None = None


class PublishStep:
    """One per worker. `attempts_max`: attempts of one form while the broker is available. `state_order`: None: the
    order of states is not kept.
    """

    def __init__(
        self,
        *,
        publisher: Publisher,
        outgoing: OutgoingRecords,
        retries: Retries,
        monitor: DependencyMonitor,
        attempts_max: int,
        state_order: StateOrder | None = None,
    ) -> None:
        self._publisher = publisher
        self._outgoing = outgoing
        self._retries = retries
        self._monitor = monitor
        self._attempts_max = attempts_max
        self._state_order = state_order

    async def publish_together(self, decided: Sequence[Decided]) -> Sequence[OutgoingRecord] | None:
        """Publish the records of several messages of one release, in order. None: not all are acknowledged, and some
        may have been written; publish each message's.
        """
        try:
            outgoing = [record for one in decided for record in self._of(one, attempts=1)]
            if outgoing:
                await self._publisher.publish(outgoing)
        except asyncio.CancelledError:
            self._given_up(decided[0].message)
            raise
        except Exception:  # noqa: BLE001 - `publish` repeats it for each message, and reports why it fails
            return None
        return outgoing

    def _given_up(self, message: Message) -> None:
        """After an attempt without an acknowledgement: its records may have been written."""
        if self._state_order is not None and message.release_id is not None:
            self._state_order.published_late(message.release_id)

    def _of(self, decided: Decided, *, attempts: int) -> Sequence[OutgoingRecord]:
        return self._outgoing.of(
            decided.outcome, decided.message, attempts=attempts, trace_headers=decided.span.headers()
        )

    async def publish(self, decided: Decided, lease: Lease, *, attempts: int) -> Published:
        """Return when all records are acknowledged. `attempts`: the number of transactions of the message.

        Raises:
            LeaseLost: the message's partition was released.
        """
        outcome, message = decided.outcome, decided.message
        rejection = outcome.rejection if isinstance(outcome, Rejected | Duplicate) else None
        actions = (_DEAD_LETTER, _MINIMAL_DEAD_LETTER) if rejection is None else (_MINIMAL_DEAD_LETTER,)
        dead_letter, reported = rejection, 0

        async def attempt(failed: Failed) -> Sequence[OutgoingRecord]:
            nonlocal dead_letter, reported
            replaced = failed.faults // self._attempts_max
            if replaced > reported:
                reported = replaced
                _report(message, failed, action=actions[replaced - 1] if replaced <= len(actions) else _BLOCKED)
            if replaced == 0:
                outgoing = self._of(decided, attempts=attempts)
            else:
                dead_letter = dead_letter or _unpublished(message, failed)
                minimal, so_far = replaced >= len(actions), attempts + failed.faults
                outgoing = (self._outgoing.replacement(dead_letter, message, attempts=so_far, minimal=minimal),)
            if outgoing:
                await self._publisher.publish(outgoing)
            return outgoing

        try:
            outgoing = await self._retries.repeat(attempt, message, lease, monitor=self._monitor)
        except (LeaseLost, asyncio.CancelledError):
            self._given_up(message)
            raise
        return Published(outgoing=outgoing, replacement=None if dead_letter is rejection else dead_letter)


def _unpublished(message: Message, failed: Failed) -> Rejection:
    """A rejection for the dead letter only; it is not stored."""
    return reject(State(), message, Reason.PROCESSING_ERROR, f"{_DETAIL}{failed.permanent}").rejection


def _report(message: Message, failed: Failed, *, action: str) -> None:
    _log.error(
        LogEvent.MESSAGE_PUBLISH_FAILED,
        **position(message),
        source=message.content.source,
        id=message.content.id,
        cause=failed.permanent,
        attempts=failed.faults,
        action=action,
    )
