"""Decide several events of one release, loaded together, one after the other in memory: a chain.

The outcomes are exactly those of events that are loaded and written one by one, if
- the queries are those of `worker.rules.query.queries_of`, and all see the same snapshot;
- no two of the events have an identity in common, and none corrects another: `Message.id`, `Message.corrects`;
- an event for which `needs_load` is true begins another chain.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from worker.rules.query import Query, QueryVariant
from worker.rules.rows import (
    Deployment,
    EnvironmentPointer,
    EnvironmentPointerMove,
    Rejection,
    Release,
    ReleaseMove,
)
from worker.rules.state import Changes, Resolved, State


def merged(states: Sequence[State]) -> list[State]:
    """The states of several queries of one release, each with the deployments, environments and runs of all."""
    by_id = {deployment.id: deployment for state in states for deployment in state.deployments}
    deployments = tuple(by_id.values())
    environments = frozenset[str]().union(*(state.environments for state in states))
    more: dict[str, Any] = {}
    if any(state.runs for state in states):
        more["runs"] = {id_: attempt for state in states for id_, attempt in state.runs.items()}
    return [replace(state, deployments=deployments, environments=environments, **more) for state in states]


class Written:
    """The changes of earlier events of a release, in order, which were not written when its state was loaded."""

    def __init__(self) -> None:
        self._release: Release | None = None  # of an event that created it
        self._release_move: ReleaseMove | None = None
        self._release_version: int | None = None
        self._deployments: dict[UUID, Deployment] = {}
        self._pointers: dict[str, EnvironmentPointer] = {}
        self._runs: dict[UUID, int | None] = {}
        self._resolved: dict[UUID, Resolved] = {}

    def add(self, changes: Changes) -> None:
        """The changes of the next event."""
        move = changes.release_move
        if changes.new_release is not None:
            self._release = changes.new_release.release
        elif move is not None and self._release is not None:
            self._release = _moved(self._release, move)
        elif move is not None:
            self._release_move = move
        if changes.release_version is not None:
            self._release_version = changes.release_version
        for deployment in _changed(changes):
            self._deployments[deployment.id] = deployment
        if changes.pointer_move is not None:
            self._pointers[changes.pointer_move.environment_id] = pointer_after(changes.pointer_move, changes)
        if changes.runs:
            self._runs |= changes.runs
        for resolved in changes.resolved:
            self._resolved[resolved.rejection_id] = resolved

    def after(self, state: State) -> State:
        """The state in which an event is decided that was loaded as `state`.

        What is known of the event's own identity stays as it was loaded; a rejection that an earlier event resolves
        becomes resolved.
        """
        release, pointer = self._release or state.release, state.pointer
        if self._release_move is not None and self._release is None and release is not None:
            release = _moved(release, self._release_move)  # None: not loaded, as for an invalid event
        if pointer is not None:
            pointer = self._pointers.get(pointer.environment_id, pointer)
        deployments = {deployment.id: deployment for deployment in state.deployments}
        deployments |= self._deployments
        return replace(
            state,
            rejection=self._after(state.rejection),
            corrected=self._after(state.corrected),
            release=release,
            release_version=state.release_version if self._release_version is None else self._release_version,
            number_taken=state.number_taken and release is None,
            deployments=tuple(deployments.values()),
            pointer=pointer,
            runs={**state.runs, **self._runs} if self._runs else state.runs,
        )

    def _after(self, rejection: Rejection | None) -> Rejection | None:
        resolved = None if rejection is None else self._resolved.get(rejection.id)
        if rejection is None or resolved is None:
            return rejection
        return replace(rejection, resolved_at=resolved.resolved_at)


def advance(state: State, *changes: Changes) -> State:
    """`state`, after the changes of earlier events of its release, in order (`Written.after`)."""
    written = Written()
    for one in changes:
        written.add(one)
    return written.after(state)


def needs_load(query: Query, *, loaded: State, state: State) -> bool:
    """Whether the message of `query` must be loaded again before it is decided in `state`, which `advance` made of
    `loaded`.

    So it is if an earlier event created the release with another component or track than the query has: `pointer` is
    then of another row of `app_environments`.
    """
    release = state.release
    if query.variant is not QueryVariant.DEPLOYMENT_SUCCEEDED or loaded.release is not None or release is None:
        return False
    return (query.component_id, query.deployment_track_id) != (release.component_id, release.deployment_track_id)


def pointer_after(move: EnvironmentPointerMove, changes: Changes) -> EnvironmentPointer:
    """What the `app_environments` row points at after `move`, which is one of `changes`."""
    [deployed_at] = [one.deployed_at for one in _changed(changes) if one.id == move.deployment_id]
    return EnvironmentPointer(
        environment_id=move.environment_id,
        deployment_id=str(move.deployment_id),
        release_id=move.release_id,
        deployed_at=deployed_at,
    )


def _changed(changes: Changes) -> Iterator[Deployment]:
    """As they are afterwards."""
    for move in changes.deployment_moves:
        yield move.deployment
    if changes.new_deployment is not None:
        yield changes.new_deployment.deployment


def _moved(release: Release, move: ReleaseMove) -> Release:
    return replace(release, status=move.status, updated_at=move.updated_at)
