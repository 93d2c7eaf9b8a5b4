"""What a message publishes, repeated until it is acknowledged; and what is published instead of what never can be.

An outage of the broker is waited out. What fails for a reason of its own is replaced after as many attempts as a
transaction has: status events by a dead letter with the reason `processing_error`, a dead letter by one without
anything of the record. The event's row stays what it is: it is in the activity log and in no rejection. If even the
bare dead letter fails, the fault is no record's, so that nothing is skipped for it: the partition's offset stays.
"""

from dataclasses import dataclass

import structlog

from schemas.reasons import Reason
from worker.domain.decide import reject
from worker.domain.message import Message
from worker.domain.rows import Rejection
from worker.domain.state import Duplicate, Outcome, Rejected, State
from worker.handling.publications import Publications
from worker.ports import Publication, Publisher
from worker.runtime.gate import Gate
from worker.runtime.retries import Failed, Retries, Tenure, position
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

    publications: tuple[Publication, ...]
    instead: Rejection | None = None


class Publishing:
    """One for the worker. `attempts_max`: attempts of one kind of publication that fail for a reason of their own."""

    def __init__(
        self, *, publisher: Publisher, publications: Publications, retries: Retries, gate: Gate, attempts_max: int
    ) -> None:
        self._publisher = publisher
        self._publications = publications
        self._retries = retries
        self._gate = gate
        self._attempts_max = attempts_max

    async def publish(self, outcome: Outcome, message: Message, tenure: Tenure, *, attempts: int) -> Published:
        """Return when all is acknowledged. `attempts`: how often the message was tried so far.

        Raises:
            Abandoned: the message's partition was given up meanwhile.
        """
        rejection = outcome.rejection if isinstance(outcome, Rejected | Duplicate) else None
        actions = (_LETTER, _BARE_LETTER) if rejection is None else (_BARE_LETTER,)
        letter, reported = rejection, 0

        async def attempt(failed: Failed) -> tuple[Publication, ...]:
            nonlocal letter, reported
            replaced = failed.faults // self._attempts_max
            if replaced > reported:
                reported = replaced
                _report(message, failed, action=actions[replaced - 1] if replaced <= len(actions) else _STUCK)
            if replaced == 0:
                publications = self._publications.of(outcome, message, attempts=attempts)
            else:
                letter = letter or _unpublished(message, failed)
                bare, so_far = replaced >= len(actions), attempts + failed.faults
                publications = (self._publications.letter(letter, message, attempts=so_far, bare=bare),)
            if publications:
                await self._publisher.publish(publications)
            return publications

        publications = await self._retries.repeat(attempt, message, tenure, gate=self._gate)
        return Published(publications=publications, instead=None if letter is rejection else letter)


def _unpublished(message: Message, failed: Failed) -> Rejection:
    """For a dead letter only: there is no row of it."""
    return reject(State(), message, Reason.PROCESSING_ERROR, f"{_DETAIL}{failed.hopeless}").rejection


def _report(message: Message, failed: Failed, *, action: str) -> None:
    _log.error(
        LogEvent.MESSAGE_UNPUBLISHABLE,
        **position(message),
        source=message.content.source,
        id=message.content.id,
        cause=failed.hopeless,
        attempts=failed.faults,
        action=action,
    )
