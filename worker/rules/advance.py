"""Decide several events of one release, loaded together, one after the other in memory: a chain.

The outcomes are exactly those of events that are loaded and written one by one, if
- the queries are those of `worker.rules.query.queries_of`, and all see the same snapshot;
- no two of the events have an identity in common, and none corrects another: `Message.id`, `Message.corrects`;
- an event for which `needs_load` is true begins another chain.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from worker.rules.query import Query, QueryVariant
from worker.rules.rows import Deployment, EnvironmentPointer, EnvironmentPointerMove, Rejection
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


def advance(state: State, *written: Changes) -> State:
    """The state in which an event is decided that was loaded as `state`, before the changes of earlier events of its
    release were written. `written`: those changes, in order.

    What is known of the event's own identity stays as it was loaded; a rejection that an earlier event resolves becomes
    resolved.
    """
    release, release_version, pointer = state.release, state.release_version, state.pointer
    rejection, corrected = state.rejection, state.corrected
    deployments = {deployment.id: deployment for deployment in state.deployments}
    runs = state.runs
    for changes in written:
        if changes.runs:
            runs = {**runs, **changes.runs}
        if changes.new_release is not None:
            release = changes.new_release.release
        elif changes.release_move is not None and release is not None:  # None: not loaded, as for an invalid event
            release = replace(release, status=changes.release_move.status, updated_at=changes.release_move.updated_at)
        if changes.release_version is not None:
            release_version = changes.release_version
        for deployment in _changed(changes):
            deployments[deployment.id] = deployment
        move = changes.pointer_move
        if move is not None and pointer is not None and pointer.environment_id == move.environment_id:
            pointer = pointer_after(move, changes)
        for resolved in changes.resolved:
            rejection, corrected = _after(rejection, resolved), _after(corrected, resolved)
    return replace(
        state,
        rejection=rejection,
        corrected=corrected,
        release=release,
        release_version=release_version,
        number_taken=state.number_taken and release is None,
        deployments=tuple(deployments.values()),
        pointer=pointer,
        runs=runs,
    )


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


def _after(rejection: Rejection | None, resolved: Resolved) -> Rejection | None:
    if rejection is None or rejection.id != resolved.rejection_id:
        return rejection
    return replace(rejection, resolved_at=resolved.resolved_at)
