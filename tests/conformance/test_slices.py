"""A store loads only the rows that a decision can depend on. It decides like one that loads all rows.

The other store is the world of the property tests, which passes every attempt of a release to `decide`. Both handle the
same long sequence of events, most of them invalid on purpose. The test compares each outcome, and every row at the end.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import make_url

from schemas.statuses import DeploymentStatus, ReleaseStatus
from tests.conformance.release_messages import COMPONENT, ReleaseMessages, message, minute, redriven
from tests.conformance.stores import migrate, opened
from tests.conformance.table_contents import Row, contents, insert_rows
from tests.properties.world import World
from tests.properties.world_rows import rows_of
from worker.db.pointers import POINTER_COLUMNS
from worker.pipeline.transaction import process
from worker.rules.message import Message
from worker.rules.rows import Deployment
from worker.rules.state import Rejected
from worker.rules.transitions import UNDEPLOYABLE

EVENTS = 600
"""Most events are of two releases; those of a third are rejected, since its number is taken."""

ENVIRONMENTS = {
    "sqlite": ("prod", "Prod", "prod ", "Ämter", "ä", "🚀"),
    "postgresql": ("prod", "Prod", "prod ", "Ämter", "ä", "🚀"),
    # Its usual collations treat others of these as equal.
    "mssql": ("prod", "qa", "Ämter", "a-b", "ab", "zz"),
}
STEPS = ("requested", "started", "succeeded", "failed", "cancelled", "rolled_back")
MET = {
    *("Applied", "Stale", "Duplicate", "release_not_found", "release_conflict", "organization_mismatch"),
    *("release_not_deployable", "invalid_transition", "attempt_gap", "invalid_data"),
    *(status.value for status in DeploymentStatus),
    *(status.value for status in ReleaseStatus if status is not ReleaseStatus.REJECTED),
}
"""Outcomes and statuses that every sequence must have; without them the test would prove little."""


@dataclass(slots=True)
class Publishers:
    """Publishers whose events depend on the seed and on the outcomes so far: an attempt that an event names exists, or
    has a number close to one that exists.
    """

    dice: random.Random
    world: World
    environments: Sequence[str]
    pipelines: list[ReleaseMessages] = field(default_factory=list)
    sent: list[Message] = field(default_factory=list)

    def next(self) -> Message:
        chance = self.dice.random()
        if chance < 0.08 and self.sent:
            again = self.dice.choice(self.sent[-100:])
            redrive = self.dice.random() < 0.6
            return redriven(again) if redrive else message(again.record.value, again.record.headers)
        new = self._new(self.dice.choices(self.pipelines, [5, 5, 1])[0], chance)
        self.sent.append(new)
        return new

    def _new(self, builder: ReleaseMessages, chance: float) -> Message:
        dice, at = self.dice, self._time()
        common: dict[str, Any] = {"organization_id": "another"} if dice.random() < 0.03 else {}
        if chance < (0.15 if self._deployable(builder) else 0.3):
            step = dice.choice(["created", "created", "submitted", "submitted", "approved", "rejected", "reopened"])
            return builder.event(f"release.{step}", {**builder.fields, **common}, at=at)
        common |= self._place(builder)
        if dice.random() < 0.2:
            common["actor"] = dice.choice(["zoë", "ci", 7])  # the last is invalid
        if chance < 0.2:
            return builder.event("activity.recorded", {"activity_type": "SCAN", "activity_data": {}, **common}, at=at)
        if dice.random() < 0.1:
            common |= {"comment": "Größe ✓", "api_settings": {"b": 1, "a": []}, "config_mapping_revision": 3}
        if dice.random() < 0.2 and builder is not self.pipelines[0]:  # which has release events instead
            common["release"] = builder.fields
        return builder.event(f"deployment.{dice.choice(STEPS)}", common, at=at)

    def _deployable(self, builder: ReleaseMessages) -> bool:
        row = self.world.releases.get(builder.release_id)
        return row is not None and row.release.status not in UNDEPLOYABLE

    def _time(self) -> datetime:
        """Ten events a minute; some are late, some by almost an hour, some from the future."""
        return minute(len(self.sent) // 10 - self.dice.choice([0, 0, 0, 0, 0, 0, 1, 1, 2, 5, 50, -2]))

    def _place(self, builder: ReleaseMessages) -> dict[str, Any]:
        dice = self.dice
        place: dict[str, Any] = {
            "environment_id": dice.choice(self.environments),
            "config_revision": dice.choice([1, 1, 1, 2, 7]),
        }
        attempts = [one.attempt for one in self.world.attempts(builder.release_id) if _stands_at(one, place)]
        if dice.random() < 0.25:
            latest = max(attempts, default=0)
            place["attempt"] = max(1, dice.choice([latest + 1, latest, latest - 1, latest - 2, 1, latest + 2]))
        return place


def _stands_at(deployment: Deployment, place: Mapping[str, Any]) -> bool:
    key = (deployment.environment_id, deployment.config_revision)
    return key == (place["environment_id"], place["config_revision"])


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_partial_load_decides_like_a_full_load(database_url: str, seed: int) -> None:
    """Each outcome is the same, to the last cell that it writes, and every row is the same at the end."""
    await migrate(database_url)
    environments = ENVIRONMENTS[make_url(database_url).get_backend_name()]
    dice = random.Random(seed)
    chosen = dice.sample(environments, 4)
    world = World(environments=chosen[:3])
    publishers = Publishers(dice, world, chosen)
    for number in (1, 2, 2):  # two of them claim the same number
        publishers.pipelines.append(
            ReleaseMessages(release_id=UUID(int=dice.getrandbits(128), version=4), number=number)
        )
    key = {"component_id": COMPONENT, "deployment_track_id": "main"}
    rows = [{"id": uuid4(), "environment_id": name, **key} for name in chosen[:3]]
    await insert_rows(database_url, "app_environments", rows)

    seen: Counter[str] = Counter()
    async with opened(database_url) as store:
        for number in range(EVENTS):
            event = publishers.next()
            expected = world.take(event)
            assert await process(event, store) == expected, f"event {number}"
            seen[expected.rejection.reason if isinstance(expected, Rejected) else type(expected).__name__] += 1
            seen.update(row.release.status.value for row in world.releases.values())
    found = await contents(database_url)
    for table, expected_rows in rows_of(world).items():
        assert sorted_by_id(found[table]) == sorted_by_id(expected_rows), table
    assert {row["environment_id"]: pointer(row) for row in found["app_environments"]} == pointers_of(world, chosen[:3])
    seen.update(row.deployment.status.value for row in world.deployments.values())
    assert seen.keys() >= MET, "the story was not hostile enough"


def sorted_by_id(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: str(row.get("id") or row["release_mgt_id"]))


Pointed = tuple[str | None, ...]


def pointer(row: Row) -> Pointed:
    return tuple(row[name] for name in POINTER_COLUMNS)


def pointers_of(world: World, environments: Sequence[str]) -> dict[str, Pointed]:
    moves = {environment: world.pointers.get((environment, COMPONENT, "main")) for environment in environments}
    return {
        environment: (str(move.release_id), str(move.deployment_id), move.deployment_name) if move else (None,) * 3
        for environment, move in moves.items()
    }
