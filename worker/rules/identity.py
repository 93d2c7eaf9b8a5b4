"""The ids of rows and status events: UUIDv5, so that one event always gets the same ids.

Source of the names: the contract, section "Rows are a function of the topic".
"""

import hashlib
from uuid import UUID

from schemas.derived_ids import NAMESPACE

ACTIVITIES_MAX = 4
"""Most activities of one event: release created, attempt superseded, deployment changed, release changed."""


_SHA1 = hashlib.sha1(NAMESPACE.bytes, usedforsecurity=False)
_VERSION_AND_VARIANT = 0xF000 << 64 | 0xC000 << 48
_VERSION_5 = 0x5000 << 64 | 0x8000 << 48


def _uuid5(name: str) -> UUID:
    """As `uuid.uuid5`, in a third of the time: every event has several."""
    sha1 = _SHA1.copy()
    sha1.update(name.encode())
    number = int.from_bytes(sha1.digest()[:16], "big")
    return UUID(int=number & ~_VERSION_AND_VARIANT | _VERSION_5)


def deployment_id(*, release_id: UUID, environment_id: str, config_revision: int, attempt: int) -> UUID:
    return _uuid5(f"{release_id}/{environment_id}/{config_revision}/{attempt}")


def activity_id(*, source: str, event_id: str, position: int = 0) -> UUID:
    """The id of an event's activity; `position` 0 is its first.

    Ids are unambiguous, because attributes contain no line feed.
    """
    name = f"{source}\n{event_id}" if position == 0 else f"{source}\n{event_id}\n{position}"
    return _uuid5(name)


def activity_ids(*, source: str, event_id: str) -> tuple[UUID, ...]:
    """The ids of all activities that the event can have, in order."""
    return tuple(activity_id(source=source, event_id=event_id, position=position) for position in range(ACTIVITIES_MAX))


def position_id(*, topic: str, partition: int, offset: int, timestamp_ms: int) -> UUID:
    """The id of the rejection of a record without an event identity.

    It includes the timestamp, because offsets start again when a topic is created anew.
    """
    return _uuid5(f"{topic}/{partition}/{offset}/{timestamp_ms}")
