"""Ids that differ in case, width, accents or blanks only: one key to SQL Server's collations, several to the others.

Rows must be the same function of the topic everywhere, so each test compares with what SQLite makes of the same stream.
"""

import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from schemas.confusables import DIFFERENCES
from tests.conformance.release_messages import COMPONENT, ReleaseMessages
from tests.conformance.stores import migrate, opened, process_all
from tests.conformance.table_contents import Contents, contents, insert_rows
from worker.db.store import SqlStore
from worker.rules.message import Message
from worker.rules.state import Outcome, Rejected

SPELLINGS = ("Prod", "prod", "PROD ", "pr\u00f6d", "\uff50\uff52\uff4f\uff44", "prod\U0001f680", "pro\u200dd")
APPLIED, REFUSED = "Applied", "invalid_data"


@pytest.fixture
async def stores(database_url: str, tmp_path: Path) -> AsyncIterator[tuple[tuple[str, SqlStore], tuple[str, SqlStore]]]:
    """The database, and a SQLite one, each with a row for every spelling of an environment and of a track."""
    other_url = f"sqlite+aiosqlite:///{tmp_path / 'other.db'}"
    keys = [*((spelling, "main") for spelling in SPELLINGS), ("Prod", "MAIN")]
    rows = [
        {"id": UUID(int=number), "environment_id": environment, "component_id": COMPONENT, "deployment_track_id": track}
        for number, (environment, track) in enumerate(keys)
    ]
    for url in (database_url, other_url):
        await migrate(url)
        await insert_rows(url, "app_environments", [{**row, "created_at": None, "updated_at": None} for row in rows])
    async with opened(database_url) as one, opened(other_url) as other:
        yield (database_url, one), (other_url, other)


async def sent(stores: Iterable[tuple[str, SqlStore]], messages: list[Message]) -> tuple[list[str], Contents]:
    """What the messages came to and all rows, the same on both."""
    (names, found), (others, expected) = [
        ([_name(outcome) for outcome in await process_all(messages, store)], await contents(url))
        for url, store in stores
    ]
    assert names == others
    assert found == expected
    return names, found


def _name(outcome: Outcome) -> str:
    return outcome.rejection.reason if isinstance(outcome, Rejected) else type(outcome).__name__


def _pointed(found: Contents) -> list[tuple[Any, Any]]:
    return [
        (row["environment_id"], row["deployment_track_id"])
        for row in found["app_environments"]
        if row["release_mgt_release_id"] is not None
    ]


async def test_environment_has_one_spelling_per_release(stores: Any) -> None:
    """The first that a release is deployed to; whatever is only alike is refused, whatever it says of attempts."""
    one = ReleaseMessages()
    messages = [*one.approved(), one.deploy("started", environment_id="Prod")]
    messages += [one.deploy("succeeded", environment_id=spelling, attempt=1) for spelling in SPELLINGS]
    messages += [one.deploy("requested", environment_id=spelling) for spelling in SPELLINGS]
    messages += [one.deploy("succeeded", environment_id="Prod"), one.deploy("succeeded", environment_id="prod2")]
    names, found = await sent(stores, messages)
    tried = [APPLIED, *[REFUSED] * (len(SPELLINGS) - 1)]
    assert names == [*[APPLIED] * 4, *tried, *tried, APPLIED, APPLIED]
    environments = {row["environment_id"] for row in found["release_deployments"]}
    assert environments == {"Prod", "prod2"}
    assert _pointed(found) == [("Prod", "main")]
    details = {row["detail"] for row in found["release_event_rejections"]}
    assert details == {f"/data/environment_id: collides with Prod, an environment of the release: {DIFFERENCES}"}


async def test_environment_with_only_cancelled_attempts_is_known(stores: Any) -> None:
    """A release whose only attempt there was cancelled has deployed to it."""
    one = ReleaseMessages()
    cancelled = [one.deploy("requested", environment_id="prod"), one.deploy("cancelled", environment_id="prod")]
    messages = [*one.approved(), *cancelled, one.deploy("started", environment_id="Prod")]
    names, _ = await sent(stores, messages)
    assert names[-1] == REFUSED


async def test_two_releases_may_spell_one_environment_differently(stores: Any) -> None:
    """Nothing in a release knows of another; each points at the row of its own spelling."""
    one, other = ReleaseMessages(), ReleaseMessages()
    messages = [*one.approved(), *other.approved()]
    messages += [one.deploy("succeeded", environment_id="Prod"), other.deploy("succeeded", environment_id="prod")]
    names, found = await sent(stores, messages)
    assert set(names) == {APPLIED}
    assert sorted(_pointed(found)) == [("Prod", "main"), ("prod", "main")]


async def test_number_is_taken_on_every_colliding_track(stores: Any) -> None:
    """By release.created and by a release block; a track that is another one has numbers of its own."""
    one = ReleaseMessages()
    messages = [one.created(deployment_track_id="main")]
    for track in ("Main", "main ", "m\u00e4in", "hotfix"):
        messages.append(ReleaseMessages(number=one.number).created(deployment_track_id=track))
        other = ReleaseMessages(number=one.number)
        block = {**other.fields, "deployment_track_id": track.upper()}
        messages.append(other.deploy("started", release=block))
    names, _ = await sent(stores, messages)
    assert names == [APPLIED, *["release_conflict"] * 6, APPLIED, "release_conflict"]


async def test_activity_finds_attempts_of_its_exact_spelling(stores: Any) -> None:
    """It is a note: there is nothing to refuse, and nothing to mix up."""
    one = ReleaseMessages()
    noted = {"activity_type": "SCAN", "activity_data": {}, "attempt": 1}
    messages = [*one.approved(), one.deploy("started", environment_id="Prod")]
    messages += [one.event("activity.recorded", {**noted, "environment_id": spelling}) for spelling in SPELLINGS]
    names, found = await sent(stores, messages)
    assert set(names) == {APPLIED}
    scans = [row for row in found["release_activity_logs"] if row["activity_type"] == "SCAN"]
    of_attempt = {row["environment_id"] for row in scans if row["release_deployment_id"] is not None}
    assert of_attempt == {"Prod"}
    assert len({json.loads(row["activity_data"])["event"]["id"] for row in scans}) == len(SPELLINGS)
