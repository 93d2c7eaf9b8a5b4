"""A fictional company: its components, where they are deployed, and who works on them. All follows from the seed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

DAY: Final = datetime(2026, 3, 17, tzinfo=UTC)
ENVIRONMENTS: Final = ("development", "staging", "production-eu", "production-us")
TRACKS: Final = ("main", "hotfix")
NAMES: Final = (
    ("nordwind-logistik", "Sendungsverfolgung", ("tracking-api", "route-planner")),
    ("nordwind-logistik", "Zoll", ("customs-forms",)),
    ("bluefin-bank", "payments", ("ledger", "card-gateway")),
    ("bluefin-bank", "onboarding", ("kyc-checks",)),
    ("kumo-commerce", "storefront", ("catalogue", "checkout")),
    ("kumo-commerce", "在庫管理", ("stock-sync",)),
    ("saludable", "citas", ("appointments-api",)),
    ("saludable", "pagos", ("billing",)),
)
"""Organization, project, components."""
ACTORS: Final = ("amara.okafor@example.com", "zoë.müller@example.com", "佐藤.健@example.com", "release-bot")
COMMENTS: Final = (
    "Größere Timeouts für den Zahlungsdienst",
    "修正: 在庫の二重計上",
    "Añade reintentos al webhook de facturación",
    "නිකුතුව අනුමතයි",
    "Looks good to me 👍",
    'Says "done", means “done”; tabs\tand\nnew lines survive',
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One component on one track; `source` is its pipeline's."""

    organization_id: str
    project_id: UUID
    component_id: UUID
    name: str
    deployment_track_id: str
    source: str


def components(*, seed: int) -> tuple[Component, ...]:
    return tuple(_components(random.Random(f"company {seed}")))


def app_environments(*, seed: int) -> list[dict[str, Any]]:
    """Rows of `app_environments` before the first event: most components in most environments."""
    dice = random.Random(f"environments {seed}")
    return [
        {
            "id": random_uuid(dice),
            "environment_id": environment,
            "component_id": component.component_id,
            "deployment_track_id": component.deployment_track_id,
            "created_at": DAY,
            "updated_at": DAY,
        }
        for component in components(seed=seed)
        for environment in ENVIRONMENTS
        if dice.random() < 0.85
    ]


def random_uuid(dice: random.Random) -> UUID:
    return UUID(int=dice.getrandbits(128), version=4)


def _components(dice: random.Random) -> Iterator[Component]:
    for organization, project, names in NAMES:
        project_id = random_uuid(dice)
        for name in names:
            component_id = random_uuid(dice)
            for track in TRACKS:
                yield Component(
                    organization_id=organization,
                    project_id=project_id,
                    component_id=component_id,
                    name=f"{project}/{name}",
                    deployment_track_id=track,
                    source=f"https://ci.{organization}.example/{name}/{track}",
                )
