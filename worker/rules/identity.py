"""The ids of rows and status events: name-based, so that the same event always makes the same ids.

The contract's section "Rows are a function of the topic" is the source of the names. The namespace is part of the
data: changing it would make every known event look new.
"""

from uuid import UUID, uuid5

NAMESPACE = UUID("6f1d5f6e-2f0a-5c0b-9d43-7b0d3f2f5a11")

ENTRIES_MAX = 4
"""The most entries that one event appends: release created, attempt superseded, deployment changed, release moved."""


def deployment_id(*, release_id: UUID, environment_id: str, config_revision: int, attempt: int) -> UUID:
    return uuid5(NAMESPACE, f"{release_id}/{environment_id}/{config_revision}/{attempt}")


def activity_id(*, source: str, event_id: str, position: int = 0) -> UUID:
    """The id of an event's entry in the activity log; `position` counts its further entries from 1.

    Attributes hold no control characters, so no event's id can imitate another's further entry.
    """
    name = f"{source}\n{event_id}" if position == 0 else f"{source}\n{event_id}\n{position}"
    return uuid5(NAMESPACE, name)


def entry_ids(*, source: str, event_id: str) -> tuple[UUID, ...]:
    """Every id that an entry of this event can have, in order."""
    return tuple(activity_id(source=source, event_id=event_id, position=position) for position in range(ENTRIES_MAX))


def position_id(*, topic: str, partition: int, offset: int, timestamp_ms: int) -> UUID:
    """The id of the rejection of a record that has no identity of its own.

    The timestamp is in it, since a topic can be deleted and created again: its offsets then begin anew.
    """
    return uuid5(NAMESPACE, f"{topic}/{partition}/{offset}/{timestamp_ms}")
