"""What publishers do wrong: every reason for which an event can be rejected.

Each fault happens to a release at a fixed point, so that a day of any seed has all of them.
"""

import json
from collections.abc import Callable
from typing import Any, Final

from worker.demo.company import DAY, random_uuid
from worker.demo.release_publisher import EventRecord, ReleasePublisher

VALUE_BYTES_MAX: Final = 1_048_576
_CLOUDEVENT: Final = (("content-type", b"application/cloudevents+json"),)
REDRIVE: Final = (("rudder-redrive", b"1"),)


def cut_off(publisher: ReleasePublisher) -> EventRecord:
    """A value cut off in the middle, as `head -c` in a pipeline makes it."""
    whole = json.dumps(publisher.event("release.submitted", {})).encode()
    return publisher.publish_bytes(whole[:-9], _CLOUDEVENT)


def foreign_webhook(publisher: ReleasePublisher) -> EventRecord:
    """Another system's webhook, configured with the wrong topic."""
    body = {"action": "published", "ref": "refs/tags/v1", "sender": {"login": "señor-deploy"}}
    return publisher.publish_bytes(json.dumps(body).encode(), (("content-type", b"application/json"),))


def missing_source(publisher: ReleasePublisher) -> EventRecord:
    event = publisher.event("release.submitted", {})
    del event["source"]
    return publisher.publish_bytes(json.dumps(event).encode(), _CLOUDEVENT)


def changed_success(publisher: ReleasePublisher) -> EventRecord:
    """A successful attempt is reported as failed."""
    publisher.deploy("succeeded", "sandbox", attempt=1)
    publisher.pause(60)
    return publisher.deploy("failed", "sandbox", attempt=1)


def gap_with_release(publisher: ReleasePublisher) -> EventRecord:
    """The first event of a release is rejected, so its `release` block creates nothing either."""
    new = {"release_id": str(random_uuid(publisher.dice)), "environment_id": "staging"}
    fields = {**publisher.fields, "release_number": 100_000 + publisher.fields["release_number"]}
    rejected = publisher.publish("deployment.started", {**new, "attempt": 7, "release": fields})
    publisher.publish("deployment.started", new)
    return rejected


def _event(kind: str, **data: Any) -> Callable[[ReleasePublisher], EventRecord]:
    return lambda publisher: publisher.publish(kind, data)


def _created_again(**changes: Any) -> Callable[[ReleasePublisher], EventRecord]:
    return lambda publisher: publisher.publish("release.created", {**publisher.fields, **changes})


FAULTS: Final[tuple[Callable[[ReleasePublisher], EventRecord], ...]] = (
    cut_off,
    foreign_webhook,
    _event("deployment.paused", environment_id="staging"),
    _created_again(release_number=0),
    _created_again(description="created twice"),
    _event("release.submitted", organization_id="another-organization"),
    _event("release.rejected"),
    _event("deployment.started", environment_id="staging", attempt=42),
    lambda publisher: publisher.publish(
        "deployment.requested", {"release_id": str(random_uuid(publisher.dice)), "environment_id": "staging"}
    ),
    missing_source,
    changed_success,
    _event("deployment.requested", config_revision=1),
    _event("deployment.rolled_back", environment_id="never-used"),
    _event("deployment.requested", environment_id="umgebung-" + "ü" * 255),
    gap_with_release,
    _event("release.submitted", build_log="E: Zeile zu lang\n" * (VALUE_BYTES_MAX // 16)),
)
"""Of a release that is approved and has no deployment yet."""


def deployment_before_approval(publisher: ReleasePublisher) -> None:
    publisher.publish("release.created", publisher.fields)
    _maybe_repeat(publisher, publisher.deploy("requested", "staging"))
    _approve(publisher)


def approval_of_a_draft(publisher: ReleasePublisher) -> None:
    publisher.publish("release.created", publisher.fields)
    _maybe_repeat(publisher, publisher.publish("release.approved"))
    _approve(publisher)


def deployment_before_creation(publisher: ReleasePublisher) -> None:
    """A deployment overtakes its release; an operator redrives its dead letter later."""
    rejected = publisher.deploy("requested", "staging")
    publisher.publish("release.created", publisher.fields)
    _approve(publisher)
    publisher.pause(1_800)
    publisher.repeat(rejected, REDRIVE)


def fault(publisher: ReleasePublisher, number: int) -> None:
    """One of `FAULTS`; a rejected record is sometimes delivered twice, too."""
    _maybe_repeat(publisher, FAULTS[number % len(FAULTS)](publisher))
    publisher.pause(120)


def taken_number(publisher: ReleasePublisher) -> None:
    """In the evening, other releases claim this release's number."""
    publisher.now = max(publisher.now, DAY.replace(hour=21))
    other = {"release_id": str(random_uuid(publisher.dice))}
    publisher.publish("release.created", {**publisher.fields, **other})
    block = {"environment_id": "staging", "release": publisher.fields}
    rejected = publisher.publish("deployment.requested", {**other, **block})
    publisher.repeat(rejected)


def _approve(publisher: ReleasePublisher) -> None:
    for step in ("submitted", "approved"):
        publisher.pause(300)
        publisher.publish(f"release.{step}")


def _maybe_repeat(publisher: ReleasePublisher, record: EventRecord) -> None:
    if publisher.dice.random() < 0.35:
        publisher.repeat(record)
