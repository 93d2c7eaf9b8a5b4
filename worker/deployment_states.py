"""The states of a release's environments, from its stored rows: what the state topic must hold.

The cause and the version are those of the environment's last change in the activity log, and the deployment is the one
that the environment counts with. So a state equals the one that the worker published at that change.
"""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence

from schemas.times import format_time
from worker.release_simulation import deployment_of
from worker.rules.attempts import counting
from worker.rules.deployment_state import StateEvent, state_key, state_of
from worker.rules.effects import DEPLOYMENT_STATUS_CHANGED
from worker.rules.identity import activity_ids
from worker.rules.rows import Activity
from worker.stored_rows import ReleaseRows, version_of


def states_of(rows: ReleaseRows) -> Mapping[str, StateEvent]:
    """The state of each environment, by the record's key. Environments without a change in the log have none.

    Raises:
        ValueError, KeyError, TypeError: a stored row was edited, and misses a field or has a wrong value.
    """
    counted = counting(deployment_of(row) for row in rows.deployments)
    return {
        key: state_of(changes[-1], counted.get(changes[-1].environment_id or ""))
        for key, changes in changes_by_key(rows).items()
    }


def changes_by_key(rows: ReleaseRows) -> Mapping[str, Sequence[Activity]]:
    """The activities that changed a deployment, by the key of the environment's state, in the order of the changes."""
    found: dict[str, list[Activity]] = defaultdict(list)
    for activity in sorted(rows.activities, key=_order):
        if activity.activity_type == DEPLOYMENT_STATUS_CHANGED and activity.environment_id is not None:
            found[state_key(activity.release_id, activity.environment_id)].append(activity)
    return found


def content_of(event: StateEvent) -> Mapping[str, object]:
    """The content of a state's record, the same in both content modes: as `worker.verify.history` reads it."""
    return {
        "id": event.id,
        "type": event.type.value,
        "time": format_time(event.time),
        "key": event.key,
        "trace": event.trace,
        "data": dict(event.data),
    }


def _order(activity: Activity) -> tuple[object, ...]:
    """By the release's version, then the position in the event. Activities of an earlier program version have no
    version, and are older than those with one.
    """
    version = version_of(activity)
    try:
        event = json.loads(activity.activity_data)["event"]
        ids = activity_ids(source=event["source"], event_id=event["id"])
        position = ids.index(activity.id)
    except (ValueError, KeyError, TypeError):
        position = 0
    return (-1 if version is None else version, activity.created_at, position)
