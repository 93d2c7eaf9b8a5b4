"""A company's deployment traffic without end: the same seed gives the same bytes, and fewer events are a prefix.

Every contender gets these very records. They are all valid, thousands of releases are under way at once, and event
times only ever grow; how the traffic spreads over releases is the one thing that a run may change.
"""

import bisect
import itertools
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final, Literal
from uuid import UUID

from tests.conformance.producers import ToSend

Skew = Literal["uniform", "zipf", "hot", "single"]
SKEWS: Final[tuple[Skew, ...]] = ("uniform", "zipf", "hot", "single")

HEADERS: Final = (("content-type", b"application/cloudevents+json"),)
HOT_SHARE: Final = 0.5
ENVIRONMENTS: Final = ("development", "staging", "production-eu", "production-us")

BEGINS_AT: Final = datetime(2026, 3, 2, 8, tzinfo=UTC)
_MEAN_GAP_SECONDS: Final = 0.02
_COMPONENTS: Final = 240
_ATTEMPTS_MAX: Final = 3
_COMMENTS: Final = (
    "Größere Timeouts für den Zahlungsdienst",
    "Roll forward, the alert was a false alarm",
    "Añade reintentos al webhook de facturación",
    "Réduit la mémoire du cache à 512 Mo, voir le ticket 4211",
    "scheduled by the release train",
)
_ACTORS: Final = ("amara.okafor@example.com", "j.fernández@example.com", "nimali.perera@example.com", "release-bot")

Step = tuple[str, str]
"""An environment, and the last part of an event type: `("staging", "started")`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What shapes a stream. With `uniform` releases come and go; with the others a fixed set is deployed for ever:
    `zipf` gives the n-th of them 1/n of the first one's traffic, `hot` gives one of them half of all, and `single` has
    no other: each event is of one release.

    `day` moves the times, and the ids of events are of that day: streams with different seeds and days fit into one
    database.
    """

    seed: int = 2026
    skew: Skew = "uniform"
    releases_active: int = 2_000
    day: int = 0


def records(traffic: Traffic) -> Iterator[ToSend]:
    """Yield the stream, record after record; `itertools.islice` takes as many as are wanted."""
    dice = random.Random(f"{traffic.seed} {traffic.skew} {traffic.releases_active}")  # noqa: S311 - no secret
    pick = _picker(traffic, dice)
    numbers = itertools.count(1)
    lasting = traffic.skew != "uniform"
    slots: list[_Story | None] = [None] * traffic.releases_active
    at = BEGINS_AT + timedelta(days=traffic.day)
    ids = f"run-{traffic.day}-" if traffic.day else "run-"
    for index in itertools.count():
        slot = pick()
        story = slots[slot] or _Story(next(numbers), seed=traffic.seed, lasting=lasting)
        slots[slot] = story
        at += timedelta(microseconds=1 + int(dice.expovariate(1 / _MEAN_GAP_SECONDS) * 1_000_000))
        yield story.next_record(f"{ids}{index}", at)
        if story.ended:
            slots[slot] = None


def _picker(traffic: Traffic, dice: random.Random) -> Callable[[], int]:
    releases = traffic.releases_active
    if traffic.skew == "uniform":
        return lambda: dice.randrange(releases)
    if traffic.skew == "single":
        return lambda: 0
    if traffic.skew == "hot":
        return lambda: 0 if dice.random() < HOT_SHARE else dice.randrange(releases)
    weights = list(itertools.accumulate(1 / rank for rank in range(1, releases + 1)))
    return lambda: bisect.bisect_left(weights, dice.random() * weights[-1])


class _Story:
    """One release: what it is, and what happens to it next."""

    def __init__(self, number: int, *, seed: int, lasting: bool) -> None:
        self._dice = dice = random.Random(f"release {seed} {number}")  # noqa: S311 - no secret
        self._number = number
        self._lasting = lasting
        self._component = dice.randrange(_COMPONENTS)
        self._id = str(_uuid(f"release {seed} {number}"))
        self._organization = f"organization-{self._component % 12}"
        self._source = f"https://ci.organization-{self._component % 12}.example/pipelines/{self._component}"
        self._steps = self._plan()
        self._following: Step | None = next(self._steps)
        self._introduced = False

    @property
    def ended(self) -> bool:
        return self._following is None

    def next_record(self, event_id: str, at: datetime) -> ToSend:
        if self._following is None:
            raise RuntimeError("the story is over")
        environment, kind = self._following
        self._following = next(self._steps, None)
        event = {
            "specversion": "1.0",
            "id": event_id,
            "source": self._source,
            "type": f"dev.rudder.deployment.{kind}.v1",
            "time": f"{at:%Y-%m-%dT%H:%M:%S.%f}Z",
            "subject": self._id,
            "datacontenttype": "application/json",
            "data": self._data(environment, kind, at),
        }
        return ToSend(
            key=self._id.encode(),
            value=json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode(),
            headers=HEADERS,
            timestamp_ms=int(at.timestamp() * 1000),
        )

    def _plan(self) -> Iterator[Step]:
        """Environment after environment; what fails is mostly tried again, and sometimes a deployment is taken back."""
        dice = self._dice
        while True:
            for environment in ENVIRONMENTS[: dice.choice((2, 3, 3, 4))]:
                for attempt in range(1, _ATTEMPTS_MAX + 1):
                    failed = dice.random() < 0.15
                    yield environment, "requested"
                    yield environment, "started"
                    yield environment, "failed" if failed else "succeeded"
                    if dice.random() < (0.5 if failed else 0.05):
                        yield environment, "rolled_back"
                    if attempt == _ATTEMPTS_MAX or dice.random() >= (0.7 if failed else 0.05):
                        break
            if not self._lasting:
                return

    def _data(self, environment: str, kind: str, at: datetime) -> dict[str, Any]:
        dice = self._dice
        data: dict[str, Any] = {
            "release_id": self._id,
            "organization_id": self._organization,
            "environment_id": environment,
            "actor": dice.choice(_ACTORS),
        }
        if kind == "requested":
            data["config_mapping_revision"] = dice.randrange(1, 9)
            data["api_settings"] = {"replicas": dice.randrange(1, 9), "timeout_ms": 2_500, "region": environment}
        if dice.random() < 0.6:
            data["comment"] = dice.choice(_COMMENTS)
        if not self._introduced:
            self._introduced = True
            data["release"] = self._block(at)
        return data

    def _block(self, at: datetime) -> dict[str, Any]:
        commit = f"{self._dice.getrandbits(160):040x}"
        return {
            **_component_ids(self._component),
            "deployment_track_id": "main",
            "release_date": f"{at:%Y-%m-%d}",
            "release_number": self._number,
            "created_by": "release-bot",
            "description": self._dice.choice(_COMMENTS),
            "commit_hash": commit,
            "image_tag": f"registry.example/component-{self._component}:{commit[:12]}",
            "metadata": {"pipeline": self._component, "trigger": "merge"},
        }


@cache
def _component_ids(component: int) -> dict[str, str]:
    project, identifier = _uuid(f"project {component // 6}"), _uuid(f"component {component}")
    return {"project_id": str(project), "component_id": str(identifier)}


def _uuid(name: str) -> UUID:
    return UUID(int=random.Random(name).getrandbits(128), version=4)  # noqa: S311 - no secret
