"""What the worker publishes is closed, complete and in one form."""

import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from pydantic import ValidationError

from schemas.outgoing import (
    SHORTER_STATUS_MODELS,
    STATUS_MODELS,
    Cause,
    DeploymentStatusChanged,
    ReleaseBlock,
    ReleaseStatusChanged,
)
from schemas.statuses import DeploymentStatus, ReleaseStatus
from schemas.types import StatusEventType
from tests.unit.schemas.records import RELEASE_ID
from tests.unit.schemas.schema_files import EXAMPLES, fits_schema

TIME = datetime(2026, 3, 1, 11, 30, tzinfo=timezone(timedelta(hours=2)))
CAUSE = Cause(source="https://ci.example.com", id="run-1", type="dev.rudder.deployment.succeeded.v1", time=TIME)
RELEASE = ReleaseBlock(
    name="20260301-7",
    project_id=UUID("5d1c5d9e-62ad-4d0b-8f7e-2f7b8a3f9e01"),
    component_id=UUID("c2a4b1de-9f10-4b3c-8a55-7d1f0e6b2c02"),
    deployment_track_id="main",
)
DEPLOYMENT = DeploymentStatusChanged(
    release_id=UUID(RELEASE_ID),
    release_version=4,
    deployment_id=UUID("e3f9c1b2-7a64-5d1e-8c43-1f0b9d8a6e20"),
    organization_id="acme",
    environment_id="production-eu",
    config_revision=1,
    attempt=2,
    previous_status=None,
    status=DeploymentStatus.SUCCESS,
    deployed_at=TIME,
    release=RELEASE,
    cause=CAUSE,
)


def test_every_status_event_type_has_its_model() -> None:
    """Nothing is published without a schema."""
    assert set(STATUS_MODELS) == set(StatusEventType)


def test_every_field_is_written_and_times_have_one_form() -> None:
    """Subscribers find null, not nothing; times are UTC with microseconds."""
    assert DEPLOYMENT.model_dump(mode="json") == {
        "release_id": RELEASE_ID,
        "release_version": 4,
        "deployment_id": "e3f9c1b2-7a64-5d1e-8c43-1f0b9d8a6e20",
        "organization_id": "acme",
        "environment_id": "production-eu",
        "config_revision": 1,
        "attempt": 2,
        "previous_status": None,
        "status": "SUCCESS",
        "deployed_at": "2026-03-01T09:30:00.000000Z",
        "deployed_by": None,
        "comment": None,
        "release": {
            "name": "20260301-7",
            "project_id": "5d1c5d9e-62ad-4d0b-8f7e-2f7b8a3f9e01",
            "component_id": "c2a4b1de-9f10-4b3c-8a55-7d1f0e6b2c02",
            "deployment_track_id": "main",
            "commit_hash": None,
            "image_tag": None,
        },
        "cause": {
            "source": "https://ci.example.com",
            "id": "run-1",
            "type": "dev.rudder.deployment.succeeded.v1",
            "time": "2026-03-01T09:30:00.000000Z",
        },
    }


def test_written_event_can_be_read_back() -> None:
    """A subscriber in Python may use the same model."""
    assert DeploymentStatusChanged.model_validate_json(DEPLOYMENT.model_dump_json()) == DEPLOYMENT


def test_unknown_fields_are_refused() -> None:
    """A field that no schema names is a leak."""
    text = json.dumps({**DEPLOYMENT.model_dump(mode="json"), "cluster": "eu-1"})
    with pytest.raises(ValidationError, match="cluster"):
        DeploymentStatusChanged.model_validate_json(text)


def test_time_without_a_zone_is_refused() -> None:
    """It would mean another instant to each reader."""
    with pytest.raises(ValidationError, match="timezone"):
        Cause(source="s", id="i", type="t", time=datetime(2026, 3, 1))  # noqa: DTZ001 - the point of it


def test_release_has_a_release_status() -> None:
    """The two machines' values are not interchangeable, and their texts are not their members."""
    given = ReleaseStatusChanged(
        release_id=UUID(RELEASE_ID),
        release_version=None,
        organization_id="acme",
        previous_status=ReleaseStatus.DEPLOYING,
        status=ReleaseStatus.FAILED,
        release=None,
        cause=CAUSE.model_copy(update={"time": datetime(2026, 3, 1, tzinfo=UTC)}),
    )
    assert given.model_dump(mode="json")["status"] == "FAILED"
    with pytest.raises(ValidationError, match="status"):
        ReleaseStatusChanged.model_validate({**dict(given), "status": DeploymentStatus.FAILED})


@pytest.mark.parametrize("event_type", StatusEventType)
def test_schema_allows_an_event_without_its_comment(event_type: StatusEventType) -> None:
    """Only with `comment_omitted` true, and then without a comment."""
    [path] = (EXAMPLES / event_type).glob("valid-new.json")
    event = json.loads(path.read_text(encoding="utf-8"))
    data = {**event["data"], "comment": None, "comment_omitted": True}
    SHORTER_STATUS_MODELS[event_type].model_validate_json(json.dumps(data))
    assert fits_schema(event_type, {**event, "data": data})
    for wrong in ({"comment": "there after all"}, {"comment_omitted": False}, {"comment_omitted": None}):
        assert not fits_schema(event_type, {**event, "data": {**data, **wrong}})
