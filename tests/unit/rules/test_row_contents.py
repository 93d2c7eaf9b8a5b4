"""Rows are a function of the topic: their exact content, byte for byte where it is text."""

from dataclasses import replace
from typing import Any
from uuid import uuid5

import pytest

from schemas.derived_ids import NAMESPACE
from schemas.event import Invalid
from schemas.reasons import Reason
from schemas.types import EventType as E
from tests.unit.rules.release_scenario import (
    COMPONENT,
    SOURCE,
    Scenario,
    applied,
    fields,
    message,
    minute,
    rejected,
    release_id,
)
from worker.rules.message import Message
from worker.rules.rows import Activity, BaseRevision, Deployment, OptionalFields, Rejection

EVENT = '"event":{"source":"https://ci.example.com","id":"x","type":"dev.rudder.%s.v1","time":"2026-03-01T%s.000000Z"}'
RECORD = '"record":{"topic":"rudder.deployment-events","partition":0,"offset":%d}'
ORGANIZATION = '"organization_id":"acme"'
RELEASE = (
    '"release_version":%d,"release":{"name":"20260301-%d","project_id":"00000000-0000-0000-0000-00000000000d",'
    '"component_id":"00000000-0000-0000-0000-00000000000c","deployment_track_id":"main","commit_hash":null,'
    '"image_tag":null}'
)


@pytest.fixture
def scenario() -> Scenario:
    return Scenario.of_approved_release()


def test_new_release_row_has_the_events_values() -> None:
    """Times are the event's; JSON is compact, in the order received, with unescaped non-ASCII characters."""
    scenario = Scenario()
    changes = applied(
        scenario.add(
            E.RELEASE_CREATED,
            at=5,
            description="Zürich 🚀",
            commit_hash="abc",
            image_tag="v1",
            metadata={"z": 1, "a": {"ü": [1.5, None, True]}},
            apim_base_revisions=[
                {"endpoint_name": "b", "api_id": "2", "revision_id": "r2", "access_mode": "public"},
                {"endpoint_name": "a", "api_id": "1", "revision_id": "r1", "access_mode": "private"},
            ],
        )
    )
    new = changes.new_release
    assert new is not None
    assert (new.created_at, new.created_by, str(new.release.project_id)) == (
        minute(5),
        "maria",
        str(fields()["project_id"]),
    )
    assert (new.description, new.release.commit_hash, new.release.image_tag) == ("Zürich 🚀", "abc", "v1")
    assert new.metadata == '{"z":1,"a":{"ü":[1.5,null,true]}}'
    assert new.base_revisions == (
        BaseRevision(endpoint_name="b", api_id="2", revision_id="r2", access_mode="public"),
        BaseRevision(endpoint_name="a", api_id="1", revision_id="r1", access_mode="private"),
    )
    assert (new.release.component_id, new.release.deployment_track_id) == (COMPONENT, "main")
    assert scenario.release().updated_at == minute(5)


def test_missing_release_options_are_null() -> None:
    """Missing options are neither empty texts nor empty objects."""
    new = applied(Scenario().add(E.RELEASE_CREATED)).new_release
    assert new is not None
    assert (new.description, new.release.commit_hash, new.release.image_tag, new.metadata) == (None, None, None, None)
    assert new.base_revisions == ()


def test_release_of_a_block_has_the_final_status() -> None:
    """A deployment event creates the release; its INSERT has the status DEPLOYING."""
    new = applied(Scenario().add(E.DEPLOYMENT_STARTED, at=7, block=fields(metadata={}))).new_release
    assert new is not None
    assert (new.created_at, new.release.status, new.metadata) == (minute(7), "DEPLOYING", "{}")


def test_new_deployment_row_has_the_events_values(scenario: Scenario) -> None:
    """The id is derived from the deployment's key; all times are the event's."""
    changes = applied(
        scenario.add(
            E.DEPLOYMENT_REQUESTED,
            at=5,
            config_revision=2,
            comment="los 🚀",
            config_mapping_revision=3,
            schema_based_config_revision=4,
            api_settings={"z": "ü", "a": []},
        )
    )
    new = changes.new_deployment
    assert new is not None
    assert new.release_id == release_id()
    assert new.deployment == Deployment(
        id=uuid5(NAMESPACE, f"{release_id()}/prod/2/1"),
        environment_id="prod",
        config_revision=2,
        attempt=1,
        status=new.deployment.status,
        created_at=minute(5),
        updated_at=minute(5),
    )
    assert new.optional_fields == OptionalFields(
        comment="los 🚀",
        config_mapping_revision=3,
        schema_based_config_revision=4,
        api_settings='{"z":"ü","a":[]}',
    )


def test_missing_optional_fields_keep_their_values(scenario: Scenario) -> None:
    """A pipeline sends optional fields once, mostly with the request."""
    optional_fields: dict[str, Any] = {
        "config_mapping_revision": 3,
        "schema_based_config_revision": 4,
        "api_settings": {"a": 1},
    }
    scenario.add(E.DEPLOYMENT_REQUESTED, comment="los", **optional_fields)
    changes = applied(scenario.add(E.DEPLOYMENT_STARTED))
    assert changes.deployment_moves[0].optional_fields == OptionalFields()
    scenario.add(E.DEPLOYMENT_SUCCEEDED, config_mapping_revision=0)
    row = scenario.world.deployments[scenario.attempt(1).id]
    assert row.optional_fields == OptionalFields(
        comment="los", config_mapping_revision=0, schema_based_config_revision=4, api_settings='{"a":1}'
    )
    assert row.created_at == minute(3)


def test_superseded_attempt_keeps_its_optional_fields(scenario: Scenario) -> None:
    """The comment is the new attempt's."""
    scenario.add(E.DEPLOYMENT_REQUESTED, comment="first")
    scenario.add(E.DEPLOYMENT_REQUESTED, comment="second")
    comments = [scenario.world.deployments[scenario.attempt(number).id].optional_fields.comment for number in (1, 2)]
    assert comments == ["first", "second"]


def test_activity_rows_have_this_exact_content(scenario: Scenario) -> None:
    """Compact JSON in a fixed order. The first entry's id is the identity's, the further ones are numbered."""
    scenario.add(E.DEPLOYMENT_STARTED, at=1)
    changes = applied(scenario.add(E.DEPLOYMENT_SUCCEEDED, id="x", at=30, actor="Zoë", comment='"ja" 🚀'))
    event, record = EVENT % ("deployment.succeeded", "10:00:00"), RECORD % 4
    first = (
        f'{{{event},{record},{ORGANIZATION},"change":{{"from":"IN_PROGRESS","to":"SUCCESS"}},{RELEASE % (4, 1)},'
        '"config_revision":1,"attempt":1,"deployed_at":"2026-03-01T10:00:00.000000Z","deployed_by":"Zoë","actor":"Zoë",'
        '"comment":"\\"ja\\" 🚀"}'
    )
    second = (
        f'{{{event},{record},{ORGANIZATION},"change":{{"from":"DEPLOYING","to":"DEPLOYED"}},{RELEASE % (4, 1)},'
        '"actor":"Zoë"}'
    )
    assert changes.activities == (
        Activity(
            id=uuid5(NAMESPACE, f"{SOURCE}\nx"),
            created_at=minute(30),
            release_id=release_id(),
            deployment_id=scenario.attempt(1).id,
            environment_id="prod",
            activity_type="DEPLOYMENT_STATUS_CHANGED",
            activity_data=first,
            status="SUCCESS",
        ),
        Activity(
            id=uuid5(NAMESPACE, f"{SOURCE}\nx\n1"),
            created_at=minute(30),
            release_id=release_id(),
            deployment_id=None,
            environment_id=None,
            activity_type="RELEASE_STATUS_CHANGED",
            activity_data=second,
            status="DEPLOYED",
        ),
    )


def test_activity_of_a_publisher_has_this_exact_content(scenario: Scenario) -> None:
    """The custom data is the last member, in the order received."""
    changes = applied(
        scenario.add(
            E.ACTIVITY_RECORDED, id="x", at=30, environment_id="qa", activity_data={"z": "ß", "a": {"y": 1}}, actor="jo"
        )
    )
    assert [activity.activity_data for activity in changes.activities] == [
        (
            f"{{{EVENT % ('activity.recorded', '10:00:00')},{RECORD % 3},{ORGANIZATION},"
            '"config_revision":1,"attempt":null,"actor":"jo","data":{"z":"ß","a":{"y":1}}}'
        )
    ]


def test_activity_of_a_new_release_has_no_previous_status(scenario: Scenario) -> None:
    """`from` is null, and the comment is the event's."""
    changes = applied(scenario.add(E.RELEASE_CREATED, id="x", at=30, release=2, comment="neu"))
    assert [activity.activity_data for activity in changes.activities] == [
        (
            f"{{{EVENT % ('release.created', '10:00:00')},{RECORD % 3},{ORGANIZATION},"
            f'"change":{{"from":null,"to":"DRAFT"}},{RELEASE % (0, 2)},"comment":"neu"}}'
        )
    ]


def test_event_has_at_most_three_activities(scenario: Scenario) -> None:
    """The entries are in the order superseded attempt, new attempt, release."""
    scenario.add(E.DEPLOYMENT_STARTED)
    changes = applied(scenario.add(E.DEPLOYMENT_FAILED, id="x", attempt=2))
    names = [f"{SOURCE}\nx", f"{SOURCE}\nx\n1", f"{SOURCE}\nx\n2"]
    assert [activity.id for activity in changes.activities] == [uuid5(NAMESPACE, name) for name in names]
    assert [activity.status for activity in changes.activities] == ["CANCELLED", "FAILED", "FAILED"]


def test_rejection_row_has_this_exact_content() -> None:
    """The row has the id and time of the event and the position of the record."""
    rejection = rejected(Scenario().add(E.DEPLOYMENT_STARTED, id="x", at=5, recorded_at=9), Reason.RELEASE_NOT_FOUND)
    assert rejection == Rejection(
        id=uuid5(NAMESPACE, f"{SOURCE}\nx"),
        created_at=minute(5),
        reason="release_not_found",
        detail=f"release {release_id()} does not exist",
        event_source=SOURCE,
        event_id="x",
        event_type="dev.rudder.deployment.started.v1",
        release_id=release_id(),
        topic="rudder.deployment-events",
        partition=0,
        offset=0,
    )


def test_rejection_of_an_unreadable_record_has_its_position() -> None:
    """Id from the position, time from the record."""
    record = replace(message(E.RELEASE_APPROVED, recorded_at=9).record, topic="t", partition=2, offset=40)
    sent = Message(record=record, content=Invalid(reason=Reason.MALFORMED_JSON, detail="not JSON"))
    assert rejected(Scenario().handle(sent), Reason.MALFORMED_JSON) == Rejection(
        id=uuid5(NAMESPACE, f"t/2/40/{record.timestamp_ms}"),
        created_at=minute(9),
        reason="malformed_json",
        detail="not JSON",
        event_source=None,
        event_id=None,
        event_type=None,
        release_id=None,
        topic="t",
        partition=2,
        offset=40,
    )
