"""One message's transaction: load, decide, write, commit. Outcomes are values; failures are exceptions."""

from schemas.decode import EVENT_AHEAD_MAX_SECONDS, decode
from schemas.reasons import Reason
from schemas.record import Record
from worker.ports import Decider, Store
from worker.rules.decide import decide, duplicate, reject
from worker.rules.message import Message
from worker.rules.query import query_of
from worker.rules.state import Outcome, State, changes_of


def read(record: Record, *, event_bytes_max: int, event_ahead_max_seconds: int = EVENT_AHEAD_MAX_SECONDS) -> Message:
    """Decode a record. Never raises: an unreadable record is a message that will be rejected."""
    content = decode(record, bytes_max=event_bytes_max, ahead_seconds_max=event_ahead_max_seconds)
    return Message(record=record, content=content)


async def process(message: Message, store: Store, decider: Decider = decide) -> Outcome:
    """Give the message its effect, in one transaction. `decider`: the rules, with what the operator adds to them.

    Raises:
        Conflict: another worker wrote first; process again.
        Unavailable: the database cannot be used now, or its answer to the commit was lost; process again.
        Unprocessable: the database refuses the event's values.
    """
    async with store.begin() as tx:
        state = await tx.load(query_of(message))
        outcome = decider(state, message)
        changes = changes_of(outcome)
        if changes is not None:
            await tx.write(changes)
    return outcome


async def give_up(message: Message, store: Store, *, detail: str) -> Outcome:
    """Reject a message that failed for a reason of its own in every attempt.

    Raises:
        Conflict, Unavailable: as `process`.
    """

    def decider(state: State, message: Message) -> Outcome:
        known = duplicate(state, message)  # an earlier attempt may have been written after all
        return known or reject(state, message, Reason.PROCESSING_ERROR, detail)

    return await process(message, store, decider)
