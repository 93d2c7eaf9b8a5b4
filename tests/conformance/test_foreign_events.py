"""Foreign events on each database: their releases, numbers and runs."""

import re
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID, uuid4

import asyncpg
import pytest

from schemas.adapters.foreign import Artifact
from tests.conformance.release_messages import ReleaseMessages
from tests.conformance.stores import migrate, opened, process_until_settled
from tests.unit.foreign_messages import PROJECT, ForeignMessages, commit
from worker.db.dialect import dialect_of
from worker.db.loads import Loads
from worker.db.store import SqlStore
from worker.db.table_reader import SqlTableReader
from worker.pipeline.resolution import resolved
from worker.pipeline.transaction import process, process_chain
from worker.rules.errors import Conflict
from worker.rules.message import Message
from worker.rules.state import Applied, Duplicate, Outcome, Rejected, Stale

DIGEST = "sha256:" + "0a" * 32


async def handle(store: SqlStore, *messages: Message) -> list[Outcome]:
    outcomes = []
    for message in messages:
        [found] = await resolved([message], store)
        outcomes.append(await process_until_settled(found, store))
    return outcomes


async def rows(url: str, release_id: UUID) -> dict[str, object]:
    reader = SqlTableReader.open(url, timeout_seconds=20.0)
    try:
        [found] = await reader.rows_of([release_id])
    finally:
        await reader.close()
    return {
        "release": found.release,
        "attempts": sorted((row["environment_id"], row["attempt"], row["status"]) for row in found.deployments),
    }


async def test_deployments_of_one_commit_meet_in_one_release(database_url: str) -> None:
    await migrate(database_url)
    shop = ForeignMessages()
    staged = shop.event("deployment.succeeded", Artifact(commit=commit(1)), environment="staging")
    deployed = shop.event("deployment.succeeded", Artifact(commit=commit(1)))
    async with opened(database_url) as store:
        await handle(store, staged, deployed)
    assert staged.release_id is not None
    found = await rows(database_url, staged.release_id)
    assert found["attempts"] == [("prod", 1, "SUCCESS"), ("stage", 1, "SUCCESS")]
    release = found["release"]
    assert isinstance(release, dict)
    assert (release["commit_hash"], release["status"], release["project_id"]) == (commit(1), "DEPLOYED", PROJECT)


@pytest.mark.parametrize(
    ("fields", "artifact"),
    [
        ({"commit_hash": commit(5)}, Artifact(commit=commit(5))),
        ({"image_tag": DIGEST}, Artifact(digest=DIGEST, tag="9.9")),
        ({"image_tag": "1.2"}, Artifact(tag="1.2", digest=DIGEST, commit=commit(6))),
        ({}, Artifact(name="20260317-41")),
    ],
    ids=["commit", "digest", "tag", "name"],
)
async def test_release_of_a_pipeline_is_found(database_url: str, fields: dict[str, str], artifact: Artifact) -> None:
    """A release that an event of ours created; the foreign event does not name it."""
    await migrate(database_url)
    shop = ForeignMessages()
    own = ReleaseMessages(component_id=shop.component_id, number=41)
    other = ReleaseMessages(component_id=uuid4(), number=41)
    async with opened(database_url) as store:
        for builder in (own, other):
            created = builder.event("release.created", builder.fields | fields)
            for message in (created, builder.event("release.submitted"), builder.event("release.approved")):
                await process(message, store)
        deployed = shop.event("deployment.succeeded", artifact)
        await handle(store, deployed)
        assert deployed.reference is not None
        reader = SqlTableReader.open(database_url, timeout_seconds=20.0)
        try:
            unknown = replace(deployed.reference, organization_id="another", runs=())
            references = [deployed.reference, unknown]
            for finder in (store, reader):
                assert await finder.find_releases(references) == [own.release_id, None]
        finally:
            await reader.close()
    assert (await rows(database_url, own.release_id))["attempts"] == [("prod", 1, "SUCCESS")]


async def test_derived_release_comes_before_another_with_its_commit(database_url: str) -> None:
    """A release that is created later with the same commit does not split the deployments of an artifact."""
    await migrate(database_url)
    shop = ForeignMessages()
    started = shop.event("deployment.started", Artifact(commit=commit(5)))
    own = ReleaseMessages(component_id=shop.component_id)
    async with opened(database_url) as store:
        await handle(store, started)
        await process(own.event("release.created", own.fields | {"commit_hash": commit(5)}), store)
        await handle(store, shop.event("deployment.succeeded", Artifact(commit=commit(5))))
    assert started.release_id is not None
    assert (await rows(database_url, started.release_id))["attempts"] == [("prod", 1, "SUCCESS")]


async def test_numbers_follow_the_highest_of_the_day(database_url: str) -> None:
    """Of the component and of tracks that collide; another component has numbers of its own."""
    await migrate(database_url)
    shop, other = ForeignMessages(), ForeignMessages()
    own = ReleaseMessages(component_id=shop.component_id, number=41)
    async with opened(database_url) as store:
        await process(own.event("release.created", own.fields | {"deployment_track_id": "MAIN"}), store)
        messages = [
            builder.event("deployment.started", Artifact(tag=tag), run=tag)
            for builder, tag in ((shop, "1"), (shop, "2"), (other, "1"))
        ]
        await handle(store, *messages)
    numbers = []
    for message in messages:
        assert message.release_id is not None
        release = (await rows(database_url, message.release_id))["release"]
        assert isinstance(release, dict)
        numbers.append(release["release_number"])
    assert numbers == [42, 43, 1]


async def test_track_of_a_component_has_numbers_of_its_own(database_url: str) -> None:
    """The number of another track is compared and does not stop the creation."""
    await migrate(database_url)
    shop = ForeignMessages()
    dev = ReleaseMessages(component_id=shop.component_id, number=1)
    deployed = shop.event("deployment.started", Artifact(tag="1"))
    async with opened(database_url) as store:
        await process(dev.event("release.created", dev.fields | {"deployment_track_id": "dev"}), store)
        await handle(store, deployed)
    assert deployed.release_id is not None
    release = (await rows(database_url, deployed.release_id))["release"]
    assert isinstance(release, dict)
    assert release["release_number"] == 1


async def test_run_stays_in_its_release(database_url: str) -> None:
    """Also if a later release has its commit."""
    await migrate(database_url)
    shop = ForeignMessages()
    own = [ReleaseMessages(component_id=shop.component_id, number=number) for number in (41, 42)]
    artifact = Artifact(commit=commit(5))
    async with opened(database_url) as store:
        for builder, kind in zip(own, ("started", "succeeded"), strict=True):
            fields = builder.fields | {"commit_hash": commit(5)}
            for message in (builder.event("release.created", fields), builder.event("release.submitted")):
                await process(message, store)
            await process(builder.event("release.approved"), store)
            await handle(store, shop.event(f"deployment.{kind}", artifact, run="7"))
        await handle(store, shop.event("deployment.started", artifact, run="8"))
    found = [(await rows(database_url, builder.release_id))["attempts"] for builder in own]
    assert found == [[("prod", 1, "SUCCESS")], [("prod", 1, "IN_PROGRESS")]]


async def test_deleted_release_is_not_created_again_under_its_id(database_url: str) -> None:
    """It was deleted between the lookup and the decision: the event is rejected, and can be redriven."""
    await migrate(database_url)
    shop = ForeignMessages()
    deployed = shop.event("deployment.started", Artifact(commit=commit(5))).resolved(uuid4())
    async with opened(database_url) as store:
        outcome = await process(deployed, store)
    assert isinstance(outcome, Rejected)
    assert outcome.rejection.reason == "release_not_found"


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_release_is_found_by_the_indexes_of_its_component(database_url: str) -> None:
    """Not by a walk through the releases of all components, in the order of their dates: sorts are off."""
    await migrate(database_url)
    dialect = dialect_of(database_url)
    statement = Loads.of(dialect.fragments, None, to_statement=dialect.to_statement).release
    connection = await asyncpg.connect(database_url.replace("+asyncpg", ""))
    try:
        await connection.execute(
            "INSERT INTO releases (id, release_date, release_number, project_id, status, organization_id, created_by, "
            "component_id, deployment_track_id, commit_hash) SELECT gen_random_uuid(), DATE '2026-01-01' + n % 300, "
            "n, gen_random_uuid(), 'APPROVED', 'nordwind-logistik', 'ci', md5((n % 50)::text)::uuid, 'main', n::text "
            "FROM generate_series(1, 50000) n"
        )
        await connection.execute("ANALYZE releases")
        await connection.execute("SET enable_sort = off")
        await connection.execute("SET plan_cache_mode = force_generic_plan")
        await connection.execute(f"PREPARE found AS {statement.sql}")
        nulls = ", ".join(["NULL"] * len(statement.names))
        plan = await connection.fetch(f"EXPLAIN EXECUTE found({nulls})")
    finally:
        await connection.close()
    text = "\n".join(row[0] for row in plan)
    assert {"idx_releases_commit_hash", "idx_releases_image_tag"} <= set(re.findall(r"\bidx_\w+", text)), text
    assert "Backward" not in text, text


async def test_events_of_a_run_change_one_attempt(database_url: str) -> None:
    await migrate(database_url)
    shop = ForeignMessages()
    artifact = Artifact(commit=commit(1))
    kinds = ("requested", "started", "succeeded", "succeeded", "failed")
    first = [shop.event(f"deployment.{kind}", artifact, run="1") for kind in kinds]
    second = [shop.event(f"deployment.{kind}", artifact, run="2") for kind in ("started", "succeeded")]
    late = shop.event("deployment.cancelled", artifact, run="1")
    async with opened(database_url) as store:
        outcomes = await handle(store, *first, *second, late)
        again = await handle(store, first[0], second[1])
    assert [type(one) for one in outcomes] == [Applied, Applied, Applied, Stale, Stale, Applied, Applied, Stale]
    assert [type(one) for one in again] == [Duplicate, Duplicate]
    assert late.release_id is not None
    found = await rows(database_url, late.release_id)
    assert found["attempts"] == [("prod", 1, "SUCCESS"), ("prod", 2, "SUCCESS")]


@pytest.mark.parametrize("together", [False, True])
async def test_parts_of_a_run_have_attempts_of_their_own(database_url: str, together: bool) -> None:
    """The workflow's own event comes first, and its cancellation last: it concerns the first part."""
    await migrate(database_url)
    shop = ForeignMessages()
    artifact = Artifact(commit=commit(1))
    messages = [shop.event("deployment.requested", artifact, run="workflow/1")]
    for number, end in ((1, "succeeded"), (2, "failed")):
        run = f"deployment/{number}"
        messages += [
            shop.event(f"deployment.{kind}", artifact, run=run, part_of="workflow/1") for kind in ("started", end)
        ]
    messages.append(shop.event("deployment.cancelled", artifact, run="workflow/1"))
    async with opened(database_url) as store:
        if together:
            outcomes = list(await process_chain(await resolved(messages, store), store))
        else:
            outcomes = await handle(store, *messages)
        again = await handle(store, *messages)
    assert [type(one) for one in outcomes] == [Applied] * 5 + [Stale]
    assert {type(one) for one in again} == {Duplicate}
    assert messages[0].release_id is not None
    found = await rows(database_url, messages[0].release_id)
    assert found["attempts"] == [("prod", 1, "SUCCESS"), ("prod", 2, "FAILED")]


async def test_components_of_one_run_have_releases_of_their_own(database_url: str) -> None:
    """A workflow of a monorepo deploys two components of one commit."""
    await migrate(database_url)
    first, second = ForeignMessages(), ForeignMessages()
    first.source = second.source = "https://git.example/monorepo"
    second.count = 10  # other ids
    events = [
        shop.event("deployment.succeeded", Artifact(commit=commit(1)), run="workflow/1") for shop in (first, second)
    ]
    async with opened(database_url) as store:
        await handle(store, *events)
    assert len({event.release_id for event in events}) == 2
    for event in events:
        assert event.release_id is not None
        assert (await rows(database_url, event.release_id))["attempts"] == [("prod", 1, "SUCCESS")]


async def test_run_of_another_release_is_left_alone(database_url: str) -> None:
    """A deployment that names its release, of a workflow run whose own event created another one."""
    await migrate(database_url)
    shop = ForeignMessages()
    own = ReleaseMessages(component_id=shop.component_id)
    workflow = shop.event("deployment.requested", Artifact(commit=commit(1)), run="workflow/1")
    named = Artifact(release_id=own.release_id)
    parts = [
        shop.event(f"deployment.{kind}", named, run="deployment/1", part_of="workflow/1")
        for kind in ("started", "failed")
    ]
    async with opened(database_url) as store:
        for kind in ("release.created", "release.submitted", "release.approved"):
            await process(own.event(kind, own.fields if kind == "release.created" else None), store)
        await handle(store, workflow, *parts)
    assert (await rows(database_url, own.release_id))["attempts"] == [("prod", 1, "FAILED")]


async def test_chain_of_runs_decides_as_single_messages(database_url: str) -> None:
    await migrate(database_url)
    alone, together = ForeignMessages(), ForeignMessages()
    found: list[Sequence[type[Outcome]]] = []
    attempts = []
    async with opened(database_url) as store:
        for shop in (alone, together):
            messages = [
                shop.event(f"deployment.{kind}", Artifact(commit=commit(1)), run=run)
                for kind, run in (
                    ("started", "1"),
                    ("requested", "1"),
                    ("started", "2"),
                    ("succeeded", "1"),
                    ("succeeded", "2"),
                    ("succeeded", "2"),
                )
            ]
            messages = await resolved(messages, store)
            if shop is alone:
                outcomes: Sequence[Outcome] = await handle(store, *messages)
            else:
                outcomes = await process_chain(messages, store)
            found.append([type(one) for one in outcomes])
            assert messages[0].release_id is not None
            attempts.append((await rows(database_url, messages[0].release_id))["attempts"])
    assert found[0] == found[1]
    assert attempts[0] == attempts[1] == [("prod", 1, "CANCELLED"), ("prod", 2, "SUCCESS")]


async def test_run_that_is_opened_meanwhile_is_a_conflict(database_url: str) -> None:
    """Another worker opened the run's attempt between the load and the write: it is loaded and decided again."""
    await migrate(database_url)
    shop = ForeignMessages()
    artifact = Artifact(commit=commit(1))
    created = shop.event("activity.recorded", artifact, activity_type="SEEN")
    first, second = (shop.event(f"deployment.{kind}", artifact) for kind in ("started", "succeeded"))

    class Racing:
        """Handles `first` after `second` was loaded."""

        def __init__(self, store: SqlStore) -> None:
            self.load, self.store, self.raced = store.load, store, False

        async def write(self, *arguments: object, **more: object) -> object:
            if not self.raced:
                self.raced = True
                await handle(self.store, first)
            return await self.store.write(*arguments, **more)  # type: ignore[arg-type]

    async with opened(database_url) as store:
        await handle(store, created)
        racing = Racing(store)
        with pytest.raises(Conflict):
            await process(second, racing)  # type: ignore[arg-type]
        await process(second, racing)  # type: ignore[arg-type]
    assert second.release_id is not None
    assert (await rows(database_url, second.release_id))["attempts"] == [("prod", 1, "SUCCESS")]
