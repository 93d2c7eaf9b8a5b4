"""What is asked of the database before a message is judged: the few rows that a decision can depend on.

A release may have thousands of attempts and log entries. A decision looks at the latest attempt of one environment and
config revision, at the one that the event names, at the attempt before each, and at what each environment counts with;
so that is what is read, and reading it costs the same however long the history is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from schemas.event import Event
from schemas.incoming import ActivityRecorded, DeploymentChange, ReleaseCreated, ReleaseFields
from schemas.statuses import DeploymentStatus
from schemas.types import EventType
from worker.rules.message import Message
from worker.rules.transitions import DEPLOYMENT_TRANSITIONS

ABLE_TO_ROLL_BACK = tuple(
    status.value for status, following in DEPLOYMENT_TRANSITIONS.items() if DeploymentStatus.ROLLED_BACK in following
)
"""The statuses of an attempt that a `rolled_back` event without a number may mean."""

OWN_COUNTING_MAX = 2
"""How many attempts of the event's environment are read as candidates for what it counts with. One event changes at
the most one attempt that counts (the one it moves, or the one it supersedes), so the next best is enough."""

TRACKS_MAX = 100
"""How many releases of one date, number and component are looked at for tracks that are alike."""


class Parts(NamedTuple):
    """Which parts of the question a message needs; the same parts give the same statement.

    `release`: the event's release. `attempts`: the latest and the named attempt of its environment and config
    revision, and the one before each. `counting`: the release's environments, and what each counts with. `fallback`:
    the highest attempt that may become ROLLED_BACK. `number`: whether the number of the release it would create is
    taken, and on which tracks. `pointer`: the environment's `app_environments` row.
    """

    release: bool = False
    attempts: bool = False
    counting: bool = False
    fallback: bool = False
    number: bool = False
    pointer: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """`values`: by the names that the statements use. `track`: that of the release which the event would create."""

    parts: Parts
    values: Mapping[str, object]
    track: str | None = None


def question(message: Message, *, pointers: bool) -> Question:
    """`pointers`: whether there is an `app_environments` table to ask."""
    values: dict[str, object] = {"event": message.id}
    content = message.content
    if not isinstance(content, Event):
        return Question(Parts(), values)
    data = content.data
    values["release"] = data.release_id
    match data:
        case ReleaseCreated():
            _block(values, data)
            return Question(Parts(release=True, number=True), values, data.deployment_track_id)
        case DeploymentChange():
            _attempt(values, data.environment_id, data.config_revision, data.attempt)
            _block(values, data.release)
            parts = Parts(
                release=True,
                attempts=True,
                counting=True,
                fallback=content.type is EventType.DEPLOYMENT_ROLLED_BACK and data.attempt is None,
                number=data.release is not None,
                pointer=pointers and content.type is EventType.DEPLOYMENT_SUCCEEDED,
            )
            return Question(parts, values, data.release.deployment_track_id if data.release else None)
        case ActivityRecorded() if data.environment_id is not None:
            _attempt(values, data.environment_id, data.config_revision or 1, data.attempt)
            return Question(Parts(release=True, attempts=True), values)
        case _:
            return Question(Parts(release=True), values)


def _attempt(values: dict[str, object], environment_id: str, config_revision: int, attempt: int | None) -> None:
    values["environment"] = environment_id
    values["config_revision"] = config_revision
    values["attempt"] = attempt


def _block(values: dict[str, object], block: ReleaseFields | None) -> None:
    values["date"] = block.release_date if block else None
    values["number"] = block.release_number if block else None
    values["component"] = block.component_id if block else None
    values["track"] = block.deployment_track_id if block else None
