"""One message's transaction: load, decide, write, commit. Outcomes are values; failures are exceptions."""

from collections.abc import Sequence

from schemas.adapters.foreign import NoInterest
from schemas.decode import EVENT_AHEAD_MAX_SECONDS, decode, decode_mapped
from schemas.mapping import Mapping
from schemas.reasons import Reason
from schemas.record import Record
from worker.ports import Decider, Store, Transaction
from worker.rules.advance import Written, merged, needs_load
from worker.rules.decide import decide, duplicate, reject
from worker.rules.message import Message
from worker.rules.query import queries_of, query_of
from worker.rules.state import Outcome, State, changes_of


def read(record: Record, *, event_bytes_max: int, event_ahead_max_seconds: int = EVENT_AHEAD_MAX_SECONDS) -> Message:
    """Decode a record. Never raises: an unreadable record is a message that will be rejected."""
    content = decode(record, bytes_max=event_bytes_max, ahead_seconds_max=event_ahead_max_seconds)
    return Message(record=record, content=content)


def read_mapped(
    record: Record,
    mapping: Mapping,
    *,
    event_bytes_max: int,
    event_ahead_max_seconds: int = EVENT_AHEAD_MAX_SECONDS,
) -> Message | NoInterest:
    """As `read`, with foreign records."""
    content = decode_mapped(record, mapping, bytes_max=event_bytes_max, ahead_seconds_max=event_ahead_max_seconds)
    return content if isinstance(content, NoInterest) else Message(record=record, content=content, with_foreign=True)


async def process(message: Message, store: Store, decider: Decider = decide) -> Outcome:
    """Give the message its effect, in one transaction. `decider`: the rules, with what the operator adds to them.

    Raises:
        Conflict: another worker wrote first; process again.
        Unavailable: the database cannot be used now, or its answer to the commit was lost; process again.
        Unprocessable: the database refuses the event's values.
    """
    query = query_of(message)
    [state] = await store.load([query])
    outcome = decider(state, message)
    changes = changes_of(outcome)
    if changes is not None:
        [error] = await store.write([Transaction(query=query, state=state, changes=changes)])
        if error is not None:
            raise error
    return outcome


async def process_chain(messages: Sequence[Message], store: Store, decider: Decider = decide) -> Sequence[Outcome]:
    """Give messages of one release their effects, each in a transaction of its own: loaded together, decided one after
    the other in memory, and written together.

    The outcomes of the first messages, up to the first whose transaction failed or that has to be loaded again. Process
    the others again, in order. Neither a redrive nor a correction may be among several messages.

    Raises:
        Unavailable: as `process`; any of the messages may have had its effect.
    """
    queries = queries_of(messages)
    loaded = merged(await store.load(queries))
    outcomes: list[Outcome] = []
    written = Written()
    transactions: list[tuple[int, Transaction]] = []
    for position, (message, query) in enumerate(zip(messages, queries, strict=True)):
        state = written.after(loaded[position]) if transactions else loaded[position]
        if transactions and needs_load(query, loaded=loaded[position], state=state):
            break
        outcome = decider(state, message)
        outcomes.append(outcome)
        changes = changes_of(outcome)
        if changes is not None:
            follows = transactions[-1][1].query.event_id if transactions else None
            transaction = Transaction(query=query, state=state, changes=changes, follows=follows)
            transactions.append((position, transaction))
            written.add(changes)
    if transactions:
        errors = await store.write([transaction for _, transaction in transactions])
        for (position, _), error in zip(transactions, errors, strict=True):
            if error is not None:
                return outcomes[:position]
    return outcomes


async def give_up(message: Message, store: Store, *, detail: str) -> Outcome:
    """Reject a message that failed for a reason of its own in every attempt.

    Raises:
        Conflict, Unavailable: as `process`.
    """

    def decider(state: State, message: Message) -> Outcome:
        known = duplicate(state, message)  # an earlier attempt may have been written after all
        return known or reject(state, message, Reason.PROCESSING_ERROR, detail)

    return await process(message, store, decider)
