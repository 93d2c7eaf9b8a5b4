"""The environment pointers in a plan: the rows of `app_environments` as they are after the decisions so far."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from schemas.event import Event
from schemas.incoming import DeploymentChange
from schemas.types import EventType
from worker.ports import Decider
from worker.replay.reading import Tables
from worker.rules.advance import pointer_after
from worker.rules.message import Message
from worker.rules.rows import EnvironmentPointer
from worker.rules.state import Applied, Changes, Outcome, State
from worker.stored_rows import EnvironmentRow, uuid_of

Key = tuple[str, str, str]
"""The environment, the component as canonical text, and the deployment track."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedPointer:
    before: EnvironmentRow
    after: EnvironmentRow


class PointerPrediction:
    """`decide` is a decider that sees the pointers. The rows are loaded once an event could move one; they are as many
    as the table has.
    """

    def __init__(self, tables: Tables, decider: Decider) -> None:
        self._tables = tables
        self._decider = decider
        self._rows: dict[Key, EnvironmentRow] | None = None
        self._moved: dict[Key, EnvironmentRow] = {}
        self._deployed: dict[UUID, tuple[UUID, datetime | None]] = {}

    async def load(self, messages: Sequence[Message]) -> None:
        """Call this before `decide` for these messages. Raises Unavailable."""
        if self._rows is not None or not any(one.content.type is EventType.DEPLOYMENT_SUCCEEDED for one in messages):
            return
        rows = {_key(row): row async for row in self._tables.environments()}
        pointed = [id_ for row in rows.values() if (id_ := uuid_of(row.attempt)) is not None]
        self._deployed = dict(await self._tables.deployed(pointed))
        self._rows = rows

    def decide(self, state: State, message: Message) -> Outcome:
        key = _key_of(state, message)
        row = None if key is None else (self._moved.get(key) or (self._rows or {}).get(key))
        outcome = self._decider(replace(state, pointer=None if row is None else self._pointer(row)), message)
        if isinstance(outcome, Applied) and key is not None and row is not None:
            self._move(key, row, outcome.changes)
        return outcome

    def changes(self) -> Iterator[MovedPointer]:
        for key, after in sorted(self._moved.items()):
            yield MovedPointer(before=(self._rows or {})[key], after=after)

    def _pointer(self, row: EnvironmentRow) -> EnvironmentPointer:
        deployment = uuid_of(row.attempt)
        release_id, deployed_at = self._deployed.get(deployment, (None, None)) if deployment else (None, None)
        return EnvironmentPointer(
            environment_id=row.environment, deployment_id=row.attempt, release_id=release_id, deployed_at=deployed_at
        )

    def _move(self, key: Key, row: EnvironmentRow, changes: Changes) -> None:
        move = changes.pointer_move
        if move is None:
            return
        self._deployed[move.deployment_id] = (move.release_id, pointer_after(move, changes).deployed_at)
        self._moved[key] = replace(
            row, release=str(move.release_id), attempt=str(move.deployment_id), name=move.deployment_name
        )


def _key(row: EnvironmentRow) -> Key:
    return row.environment, row.component, row.track


def _key_of(state: State, message: Message) -> Key | None:
    """Of the environment that the event could point at its deployment."""
    content = message.content
    if not isinstance(content, Event) or content.type is not EventType.DEPLOYMENT_SUCCEEDED:
        return None
    data = content.data
    if not isinstance(data, DeploymentChange):
        return None
    release = state.release or data.release
    if release is None:
        return None
    return data.environment_id, str(release.component_id), release.deployment_track_id
