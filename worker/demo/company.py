"""The fictional company whose day the demo plays: who builds what, where it runs, and how they talk.

Everything follows from the seed, so that a day can be played again, byte for byte.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

DAY: Final = datetime(2026, 3, 17, tzinfo=UTC)
ENVIRONMENTS: Final = ("development", "staging", "production-eu", "production-us")

PRODUCTS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "nordwind-logistik": {"Sendungsverfolgung": ("tracking-api", "route-planner"), "Zoll": ("customs-forms",)},
    "bluefin-bank": {"payments": ("ledger", "card-gateway"), "onboarding": ("kyc-checks",)},
    "kumo-commerce": {"storefront": ("catalogue", "checkout"), "在庫管理": ("stock-sync",)},
    "saludable": {"citas": ("appointments-api",), "pagos": ("billing",)},
}
TRACKS: Final = ("main", "hotfix")

ACTORS: Final = (
    "amara.okafor@example.com",
    "zoë.müller@example.com",
    "佐藤.健@example.com",
    "j.fernández@example.com",
    "nimali.perera@example.com",
    "release-bot",
)

COMMENTS: Final = (
    "Größere Timeouts für den Zahlungsdienst",
    "修正: 在庫の二重計上",
    "Añade reintentos al webhook de facturación",
    "නිකුතුව අනුමතයි",
    "Réduit la mémoire du cache à 512 Mo — voir le ticket 4211",
    "Looks good to me 👍",
    "Roll forward, the alert was a false alarm",
    "Näin se toimii myös vanhoilla selaimilla",
    'Says "done", means “done”; tabs\tand\nnew lines survive',
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One deployable thing on one track, and the pipeline that speaks for it."""

    organization_id: str
    project_id: UUID
    component_id: UUID
    name: str
    deployment_track_id: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AppEnvironment:
    """A row of `app_environments`, as the company's platform has it before the worker points it anywhere."""

    id: UUID
    environment_id: str
    component_id: UUID
    deployment_track_id: str
    created_at: datetime


def a_company(*, seed: int) -> tuple[Component, ...]:
    """Return every component on every track, always the same for a seed."""
    dice = random.Random(f"company {seed}")
    return tuple(_components(dice))


def app_environments(*, seed: int) -> tuple[AppEnvironment, ...]:
    """Return the platform's rows: most components in most environments, since the worker must do without the rest."""
    dice = random.Random(f"environments {seed}")
    return tuple(
        AppEnvironment(
            id=a_uuid(dice),
            environment_id=environment,
            component_id=component.component_id,
            deployment_track_id=component.deployment_track_id,
            created_at=DAY,
        )
        for component in a_company(seed=seed)
        for environment in ENVIRONMENTS
        if dice.random() < 0.85
    )


def a_uuid(dice: random.Random) -> UUID:
    return UUID(int=dice.getrandbits(128), version=4)


def _components(dice: random.Random) -> Iterator[Component]:
    for organization, projects in PRODUCTS.items():
        for project, names in projects.items():
            project_id = a_uuid(dice)
            for name in names:
                component_id = a_uuid(dice)
                for track in TRACKS:
                    yield Component(
                        organization_id=organization,
                        project_id=project_id,
                        component_id=component_id,
                        name=f"{project}/{name}",
                        deployment_track_id=track,
                        source=f"https://ci.{organization}.example/{name}/{track}",
                    )
