"""Streams of events of one release, and how they are cut into chains that are decided together."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from hypothesis import strategies as st

from schemas.event import Invalid
from schemas.reasons import Reason
from schemas.types import EventType as E
from tests.unit.rules.release_scenario import TRACK, fields, message
from worker.rules.message import Message

CHAIN_MAX = 8
DEPLOYMENTS = [kind for kind in E if ".deployment." in kind]
REVIEW = [E.RELEASE_CREATED, E.RELEASE_SUBMITTED, E.RELEASE_APPROVED, E.RELEASE_REJECTED, E.RELEASE_REOPENED]
ENVIRONMENTS = ["prod", "prod", "prod", "stage", "stage", "test", "Prod"]
POINTED = ["prod", "stage"]
"""Environments with an `app_environments` row."""

TAKEN = 9
"""A block with this number: the one of another release."""


@dataclass(frozen=True, slots=True)
class Step:
    """An event of the release. `late`: how many minutes its time is behind that of its step; three steps take a minute.
    `again`: the event that many steps before is sent again instead, as a redrive or as a duplicate. `corrects`: the
    event that many steps before.
    """

    kind: E = E.DEPLOYMENT_SUCCEEDED
    late: int = 0
    environment: str = "prod"
    config_revision: int = 1
    attempt: int | None = None
    block: int | None = 1
    track: str = TRACK
    organization: str = "acme"
    invalid: bool = False
    again: int = 0
    redrive: bool = False
    corrects: int = 0


def steps(kinds: Sequence[E], **fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    drawn: dict[str, st.SearchStrategy[Any]] = {
        "kind": st.sampled_from(kinds),
        "late": st.sampled_from([0, 0, 0, 0, 1, 2, 5, -1]),
        "environment": st.sampled_from(ENVIRONMENTS),
        "config_revision": st.sampled_from([1, 1, 2]),
        "attempt": st.sampled_from([None, None, None, 1, 2, 3, 5]),
        "block": st.sampled_from([1, 1, 1, None, 2, TAKEN]),
        "track": st.sampled_from([TRACK] * 7 + ["other"]),
        "organization": st.sampled_from(["acme"] * 11 + ["other"]),
        "invalid": st.sampled_from([False] * 11 + [True]),
        "again": st.sampled_from([0] * 12 + [1, 2, 5, 9]),
        "redrive": st.booleans(),
        "corrects": st.sampled_from([0] * 9 + [1, 2, 5]),
    }
    return st.builds(Step, **(drawn | fixed))


ANY = [*DEPLOYMENTS * 3, *[E.DEPLOYMENT_SUCCEEDED] * 8, *REVIEW, E.ACTIVITY_RECORDED, E.ACTIVITY_RECORDED]
SUPERSEDING = steps(
    [*DEPLOYMENTS, E.DEPLOYMENT_REQUESTED, E.DEPLOYMENT_REQUESTED, E.DEPLOYMENT_CANCELLED, E.DEPLOYMENT_ROLLED_BACK],
    environment=st.just("prod"),
    attempt=st.none(),
    block=st.just(1),
    track=st.just(TRACK),
    organization=st.just("acme"),
    invalid=st.just(False),
    again=st.just(0),
)
"""Many attempts that count, and roll-backs of them."""

STORIES = st.one_of(
    st.lists(steps(ANY), max_size=12),
    st.lists(steps(ANY), min_size=12, max_size=40),
    st.lists(SUPERSEDING, min_size=6, max_size=30),
)
CUTS = st.lists(st.integers(1, CHAIN_MAX), min_size=40, max_size=40)


def _minutes_apart(*steps: Step) -> list[Step]:
    return [replace(step, late=offset // 3 - offset) for offset, step in enumerate(steps)]


ROLLED_BACK = _minutes_apart(
    *[Step()] * 3,
    *[Step(E.DEPLOYMENT_REQUESTED), Step(E.DEPLOYMENT_CANCELLED)] * 2,
    *[Step(config_revision=number) for number in (2, 3, 4, 5)],
    *[Step(E.DEPLOYMENT_ROLLED_BACK)] * 3,
)
"""The last 3 roll back attempts that neither are the latest nor count."""

COUNTED = _minutes_apart(
    Step(E.DEPLOYMENT_FAILED),
    Step(config_revision=2),
    *[Step(E.DEPLOYMENT_REQUESTED, config_revision=number) for number in (3, 4)],
    *[Step(E.DEPLOYMENT_CANCELLED, config_revision=number) for number in (4, 3)],
)
"""The last 2 cancel attempts that count; then a third one counts."""


CREATED = _minutes_apart(
    Step(E.RELEASE_CREATED, track="other"),
    Step(E.RELEASE_SUBMITTED),
    Step(E.RELEASE_APPROVED),
    Step(),
    Step(block=None),
)
"""Successes of a release that was created before them, with another track than the first one has."""

TWO_POINTERS = _minutes_apart(Step(), Step(environment="stage"), Step(), Step(environment="stage"))


def ending_with(chain: int, story: Sequence[Step]) -> list[int]:
    """The lengths of chains: single events, and then one chain."""
    return [1] * (len(story) - chain) + [chain]


def sent(story: Iterable[Step], *, release: int = 1) -> list[Message]:
    """The steps as records of one partition, one after the other."""
    messages: list[Message] = []
    for offset, step in enumerate(story):
        if step.again and messages:
            earlier = messages[-1 - (step.again - 1) % len(messages)]
            headers = (("rudder-redrive", b""),) if step.redrive else ()
            messages.append(replace(earlier, record=replace(earlier.record, headers=headers, offset=offset)))
        else:
            messages.append(_event(step, offset, messages, release))
    return messages


def _event(step: Step, offset: int, earlier: Sequence[Message], release: int) -> Message:
    data: dict[str, Any] = {}
    if step.kind in DEPLOYMENTS or (step.kind is E.ACTIVITY_RECORDED and step.block is not None):
        data = {"environment_id": step.environment, "config_revision": step.config_revision, "attempt": step.attempt}
    if step.kind in DEPLOYMENTS:
        data["block"] = step.block and fields(_number(step.block, release), deployment_track_id=step.track)
    elif step.kind is E.RELEASE_CREATED:
        data = fields(_number(step.block or 1, release), deployment_track_id=step.track)
    headers: tuple[tuple[str, bytes], ...] = ()
    if step.corrects and earlier:
        headers = (("rudder-corrects", str(earlier[-1 - (step.corrects - 1) % len(earlier)].id).encode()),)
    made = message(
        step.kind,
        id=f"{release}-{offset}",
        release=release,
        at=offset // 3 - step.late,
        recorded_at=offset,
        offset=offset,
        organization_id=step.organization,
        headers=headers,
        **data,
    )
    if not step.invalid:
        return made
    content = made.content
    return replace(made, content=Invalid(reason=Reason.INVALID_DATA, detail="", source=content.source, id=content.id))


def _number(block: int, release: int) -> int:
    return block if block == TAKEN else 10 * release + block


def chains(messages: Sequence[Message], lengths: Iterable[int]) -> Iterator[list[Message]]:
    """Chains of at most these lengths, in which no two messages have an identity in common."""
    chain: list[Message] = []
    ids: set[UUID | None] = set()
    wanted = iter(lengths)
    length = next(wanted)
    for one in messages:
        own = {one.id, one.corrects} - {None}
        if len(chain) == length or ids & own:
            yield chain
            chain, ids, length = [], set(), next(wanted)
        chain.append(one)
        ids |= own
    if chain:
        yield chain


def other_release() -> Message:
    """It has the number that is taken, and `app_environments` points at it."""
    return message(E.DEPLOYMENT_SUCCEEDED, release=TAKEN, id="other", at=2, block=fields(TAKEN))
