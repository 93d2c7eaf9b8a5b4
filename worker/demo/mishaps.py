"""What goes wrong on such a day: every way in which a publisher can have a record refused.

Each mishap happens to a story at a fixed point, so that a day of any seed has all of them.
"""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from worker.demo.company import a_uuid
from worker.demo.record import RawRecord
from worker.demo.story import Stage, Story

VALUE_BYTES_MAX: Final = 1_048_576


def broken_json(story: Story) -> RawRecord:
    """A value cut off in the middle, as a pipeline's `head -c` makes it."""
    event = story.event("release.submitted.v1")
    if story.voice.mode == "binary":
        whole = story.send(event)
        story.records.pop()
        return story.publish(whole.value[:-3], headers=whole.headers)
    return story.publish(story.encoded(event)[:-9], headers=(("content-type", b"application/cloudevents+json"),))


def webhook(story: Story) -> RawRecord:
    """Another system's webhook, pointed at the wrong topic."""
    body = {"action": "published", "ref": "refs/tags/v1", "sender": {"login": "señor-deploy"}}
    return story.publish(json.dumps(body).encode(), headers=(("content-type", b"application/json"),))


def no_source(story: Story) -> RawRecord:
    """A structured event that forgot where it comes from."""
    event = story.event("release.submitted.v1")
    del event["source"]
    return story.publish(story.encoded(event), headers=(("content-type", b"application/cloudevents+json"),))


def unknown_type(story: Story) -> RawRecord:
    kind = story.dice.choice(("deployment.paused.v1", "release.created.v2", "release.archived.v1"))
    return story.tell(kind, {"environment_id": "staging"})


def bad_number(story: Story) -> RawRecord:
    return story.tell("release.created.v1", {**story.fields, "release_number": 0})


def no_environment(story: Story) -> RawRecord:
    return story.tell("deployment.requested.v1", {"config_revision": 1})


def long_text(story: Story) -> RawRecord:
    return story.tell("deployment.requested.v1", {"environment_id": "umgebung-" + "ü" * 255})


def oversized(story: Story) -> RawRecord:
    """A build log pasted into a comment."""
    return story.tell("release.submitted.v1", {"build_log": "E: Zeile zu lang\n" * (VALUE_BYTES_MAX // 16)})


def double_creation(story: Story) -> RawRecord:
    return story.tell("release.created.v1", {**story.fields, "description": "created twice"})


def foreign_organization(story: Story) -> RawRecord:
    event = story.event("release.submitted.v1")
    event["data"]["organization_id"] = "somebody-else"
    return story.send(event)


def wrong_way(story: Story) -> RawRecord:
    """An approval of what is past review."""
    return story.tell("release.rejected.v1")


def second_thoughts(story: Story) -> RawRecord:
    """A deployment that succeeded fails, by its number."""
    stage = Stage(environment_id="sandbox", settings={})
    story.deploy("succeeded", stage, attempt=1)
    story.pause(5, 60)
    return story.deploy("failed", stage, attempt=1)


def nothing_to_roll_back(story: Story) -> RawRecord:
    return story.deploy("rolled_back", Stage(environment_id="never-used", settings={}))


def skipped_attempt(story: Story) -> RawRecord:
    return story.deploy("started", story.stage("staging"), attempt=story.dice.randrange(11, 99))


def stranger(story: Story) -> RawRecord:
    """A deployment of a release nobody created."""
    event = story.event("deployment.requested.v1", {"environment_id": "staging"})
    event["data"]["release_id"] = str(a_uuid(story.dice))
    return story.send(event)


def gap_with_block(story: Story) -> RawRecord:
    """A first word about a release that is refused: its block must not make the release either."""
    unborn = str(a_uuid(story.dice))
    fields = {**story.fields, "release_number": 100_000 + story.number}
    event = story.event("deployment.started.v1", {"environment_id": "staging", "attempt": 7, "release": fields})
    event["data"]["release_id"] = unborn
    refused = story.send(event)
    event = story.event("deployment.started.v1", {"environment_id": "staging"})
    event["data"]["release_id"] = unborn
    story.pause(1, 5)
    story.send(event)
    return refused


# While the release is approved and deployable, before its first deployment.
MISHAPS: Final[tuple[Callable[[Story], RawRecord], ...]] = (
    broken_json,
    webhook,
    unknown_type,
    bad_number,
    double_creation,
    foreign_organization,
    wrong_way,
    skipped_attempt,
    stranger,
    no_source,
    second_thoughts,
    no_environment,
    nothing_to_roll_back,
    long_text,
    gap_with_block,
    oversized,
)


def impatience(story: Story) -> RawRecord:
    """Deploy what nobody has approved, again and again."""
    story.tell("release.created.v1", story.fields)
    story.pause(5, 60)
    return story.deploy("requested", story.stage("staging"))


def approval_of_a_draft(story: Story) -> RawRecord:
    story.tell("release.created.v1", story.fields)
    story.pause(5, 60)
    return story.tell("release.approved.v1")


def too_early(story: Story) -> RawRecord:
    """A deployment overtakes its release; once that exists, an operator sends the dead letter back."""
    refused = story.deploy("requested", story.stage("staging"))
    story.pause(30, 90)
    story.tell("release.created.v1", story.fields)
    story.tell("release.submitted.v1")
    story.tell("release.approved.v1")
    story.pause(600, 1_800)
    story.repeat(refused, headers=(("rudder-redrive", b"1"),))
    story.pause(5, 60)
    return refused


def taken_number(story: Story) -> None:
    """In the evening, another release claims this one's number.

    Same key, and hours later: between two releases only the publisher's patience makes an order.
    """
    story.wait_until(hour=21)
    story.pause(0, 3_000)
    fields: dict[str, Any] = story.fields
    for kind, data in (
        ("release.created.v1", fields),
        ("deployment.requested.v1", {"environment_id": "staging", "release": fields}),
    ):
        event = story.event(kind, data)
        event["data"]["release_id"] = str(a_uuid(story.dice))
        refused = story.send(event)
        story.pause(1, 30)
    story.now += timedelta(seconds=1)
    story.repeat(refused)
