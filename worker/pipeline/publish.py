"""What a message publishes, repeated until it is acknowledged; and what is published instead of what never can be.

An outage of the broker is waited out. What fails for a reason of its own is replaced after as many attempts as a
transaction has: status events by a dead letter with the reason `processing_error`, a dead letter by one without
anything of the record. The event's row stays what it is: it is in the activity log and in no rejection. If even the
bare dead letter fails, the fault is no record's, so that nothing is skipped for it: the partition's offset stays.
"""

from dataclasses import dataclass

import structlog

from schemas.reasons import Reason
from worker.pipeline.dependency_monitor import DependencyMonitor
from worker.pipeline.outgoing import OutgoingRecords
from worker.pipeline.retry import Failed, Lease, Retries, position
from worker.ports import OutgoingRecord, Publisher
from worker.rules.decide import reject
from worker.rules.message import Message
from worker.rules.rows import Rejection
from worker.rules.state import Duplicate, Outcome, Rejected, State
from worker.telemetry import LogEvent

_DETAIL = "the event has had its effect, but its status events cannot be published: "

_LETTER = (
    "a dead letter is published instead of the status events; send the record again with the header rudder-redrive to "
    "have them published"
)
_BARE_LETTER = "the dead letter is published without anything of the record, which is still at its position"
_STUCK = "nothing can be published, so the partition's offset stays; restart the worker, or see the cause"

_log: structlog.stdlib.BoundLogger = structlog.get_logger("worker.delivery")


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """`instead`: what the dead letter says that was published instead of status events."""

    outgoing: tuple[OutgoingRecord, ...]
    instead: Rejection | None = None


class PublishStep:
    """One for the worker. `attempts_max`: attempts of one kind of publication that fail for a reason of their own."""

    def __init__(
        self,
        *,
        publisher: Publisher,
        outgoing: OutgoingRecords,
        retries: Retries,
        monitor: DependencyMonitor,
        attempts_max: int,
    ) -> None:
        self._publisher = publisher
        self._publications = outgoing
        self._retries = retries
        self._monitor = monitor
        self._attempts_max = attempts_max

    async def publish(self, outcome: Outcome, message: Message, lease: Lease, *, attempts: int) -> Published:
        """Return when all is acknowledged. `attempts`: how often the message was tried so far.

        Raises:
            LeaseLost: the message's partition was given up meanwhile.
        """
        rejection = outcome.rejection if isinstance(outcome, Rejected | Duplicate) else None
        actions = (_LETTER, _BARE_LETTER) if rejection is None else (_BARE_LETTER,)
        letter, reported = rejection, 0

        async def attempt(failed: Failed) -> tuple[OutgoingRecord, ...]:
            nonlocal letter, reported
            replaced = failed.faults // self._attempts_max
            if replaced > reported:
                reported = replaced
                _report(message, failed, action=actions[replaced - 1] if replaced <= len(actions) else _STUCK)
            if replaced == 0:
                outgoing = self._publications.of(outcome, message, attempts=attempts)
            else:
                letter = letter or _unpublished(message, failed)
                bare, so_far = replaced >= len(actions), attempts + failed.faults
                outgoing = (self._publications.letter(letter, message, attempts=so_far, bare=bare),)
            if outgoing:
                await self._publisher.publish(outgoing)
            return outgoing

        outgoing = await self._retries.repeat(attempt, message, lease, monitor=self._monitor)
        return Published(outgoing=outgoing, instead=None if letter is rejection else letter)


def _unpublished(message: Message, failed: Failed) -> Rejection:
    """For a dead letter only: there is no row of it."""
    return reject(State(), message, Reason.PROCESSING_ERROR, f"{_DETAIL}{failed.hopeless}").rejection


def _report(message: Message, failed: Failed, *, action: str) -> None:
    _log.error(
        LogEvent.MESSAGE_PUBLISH_FAILED,
        **position(message),
        source=message.content.source,
        id=message.content.id,
        cause=failed.hopeless,
        attempts=failed.faults,
        action=action,
    )
