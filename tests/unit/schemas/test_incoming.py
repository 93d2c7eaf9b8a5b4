"""The data models are strict about what they know and ignore what they do not."""

from datetime import date
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, ValidationError

from schemas.incoming import (
    APIM_BASE_REVISIONS_MAX,
    DATA_MODELS,
    WORKER_ACTIVITY_TYPES,
    ActivityRecorded,
    DeploymentChange,
    EventData,
    ReleaseCreated,
    ReleaseFields,
)
from schemas.text import BIGINT_MAX, INT_MAX
from schemas.types import EventType
from tests.unit.schemas.records import DEPLOYMENT_DATA, RELEASE_DATA, RELEASE_FIELDS, RELEASE_ID

ACTIVITY = {**RELEASE_DATA, "activity_type": "SMOKE_TEST", "activity_data": {}}
REVISION = {"endpoint_name": "orders", "api_id": "a1", "revision_id": "r1", "access_mode": "EXTERNAL"}


def problems(model: type[BaseModel], data: object) -> list[tuple[int | str, ...]]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(data)
    return [problem["loc"] for problem in caught.value.errors()]


def test_every_event_type_has_its_model() -> None:
    """A type without a model would be accepted and then fail."""
    assert set(DATA_MODELS) == set(EventType)


def test_event_has_python_values() -> None:
    """UUIDs, dates and tuples inside; what is not said is None or its default."""
    data = DeploymentChange.model_validate(
        {
            **DEPLOYMENT_DATA,
            "release_id": RELEASE_ID.upper(),
            "release": {**RELEASE_FIELDS, "apim_base_revisions": [REVISION]},
        }
    )
    assert data.release_id == UUID(RELEASE_ID)
    assert (data.config_revision, data.attempt) == (1, None)
    assert (data.config_mapping_revision, data.schema_based_config_revision) == (None, None)
    assert data.release is not None
    assert data.release.release_date == date(2026, 3, 1)
    assert data.release.apim_base_revisions[0].access_mode == "EXTERNAL"
    assert (data.release.metadata, data.release.description) == (None, None)


def test_models_accept_python_values() -> None:
    """Code that makes events need not spell UUIDs and dates as text."""
    fields: dict[str, Any] = {
        **RELEASE_FIELDS,
        "release_date": date(2026, 3, 1),
        "project_id": UUID(RELEASE_FIELDS["project_id"]),
        "apim_base_revisions": (REVISION,),
    }
    given = ReleaseCreated(release_id=UUID(RELEASE_ID), organization_id="acme", **fields)
    assert given == ReleaseCreated.model_validate({**RELEASE_DATA, **RELEASE_FIELDS, "apim_base_revisions": [REVISION]})


def test_unknown_fields_are_ignored_at_every_level() -> None:
    """Publishers may add fields before the worker knows them."""
    data = {**DEPLOYMENT_DATA, "colour": 1, "release": {**RELEASE_FIELDS, "colour": 2}}
    assert "colour" not in DeploymentChange.model_validate(data).model_dump_json()


def test_free_form_objects_are_kept_as_received() -> None:
    """Key order and nulls included: they are stored as they came."""
    data = ActivityRecorded.model_validate({**ACTIVITY, "activity_data": {"b": None, "a": [1, {"z": 1, "y": 2}]}})
    assert repr(data.activity_data) == "{'b': None, 'a': [1, {'z': 1, 'y': 2}]}"


def test_data_is_frozen() -> None:
    """A message in flight is shared; nothing may change it."""
    data = EventData.model_validate(RELEASE_DATA)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(data, "organization_id", "other")  # noqa: B010 - a type checker would not let it pass


@pytest.mark.parametrize(
    "text",
    [
        "",
        "release-7",
        RELEASE_ID.replace("-", ""),
        "{" + RELEASE_ID + "}",
        "urn:uuid:" + RELEASE_ID,
        RELEASE_ID + "\n",
        " " + RELEASE_ID,
        RELEASE_ID[:-1],
        RELEASE_ID[:-1] + "g",
        RELEASE_ID[:-1] + "\uff11",
        7,
        None,
        b"0" * 16,
        [RELEASE_ID],
    ],
)
def test_only_canonical_uuid_text_is_a_uuid(text: object) -> None:
    """One spelling but for its case: a release must not have two keys."""
    assert problems(EventData, {**RELEASE_DATA, "release_id": text}) == [("release_id",)]


@pytest.mark.parametrize(
    "value",
    [
        "2026-3-1",
        "20260301",
        "2026-W09-7",
        "2026-02-30",
        "2026-03-01T00:00:00",
        "0000-01-01",
        "9999-01-01",
        20260301,
        1.5,
        None,
    ],
)
def test_only_a_calendar_date_in_range_is_a_date(value: object) -> None:
    """`YYYY-MM-DD` in the years 1 to 9998."""
    assert problems(ReleaseFields, {**RELEASE_FIELDS, "release_date": value}) == [("release_date",)]


@pytest.mark.parametrize(
    ("field", "least", "most"),
    [
        ("attempt", 1, BIGINT_MAX),
        ("config_revision", 1, INT_MAX),
        ("config_mapping_revision", 0, INT_MAX),
        ("schema_based_config_revision", 0, INT_MAX),
    ],
)
def test_numbers_are_integers_within_their_column(field: str, least: int, most: int) -> None:
    """The bounds pass, their neighbours do not, and neither does what only looks like an integer."""
    for value in (least, most):
        assert getattr(DeploymentChange.model_validate({**DEPLOYMENT_DATA, field: value}), field) == value
    for broken in (least - 1, most + 1, 10**400, True, float(least), "1", [1]):
        assert problems(DeploymentChange, {**DEPLOYMENT_DATA, field: broken}) == [(field,)]


@pytest.mark.parametrize(
    ("text", "fits"), [("x" * 255, True), ("x" * 256, False), ("ü" * 255, True), ("ü" * 256, False)]
)
@pytest.mark.parametrize("field", ["organization_id", "environment_id", "actor"])
def test_names_are_as_wide_as_their_column(field: str, text: str, fits: bool) -> None:
    """255 characters pass, the 256th makes the event invalid: text is never cut."""
    data = {**DEPLOYMENT_DATA, field: text}
    if fits:
        assert getattr(DeploymentChange.model_validate(data), field) == text
    else:
        assert problems(DeploymentChange, data) == [(field,)]


def test_widths_count_utf16_units() -> None:
    """A character beyond the basic plane takes two of nvarchar's places, on every database."""
    assert EventData.model_validate({**RELEASE_DATA, "actor": "🚢" * 127 + "x"}).actor == "🚢" * 127 + "x"
    assert problems(EventData, {**RELEASE_DATA, "actor": "🚢" * 128}) == [("actor",)]


def test_comments_and_descriptions_are_unlimited() -> None:
    """Comments and descriptions go to nvarchar(max); an empty one is a comment too."""
    assert EventData.model_validate({**RELEASE_DATA, "comment": "ü" * 100_000}).comment == "ü" * 100_000
    assert EventData.model_validate({**RELEASE_DATA, "comment": ""}).comment == ""


def test_too_many_base_revisions_are_one_problem() -> None:
    """A thousand pass; beyond that the entries are not looked at, so that errors stay few."""
    fields = {**RELEASE_FIELDS, "apim_base_revisions": [REVISION] * APIM_BASE_REVISIONS_MAX}
    assert len(ReleaseFields.model_validate(fields).apim_base_revisions) == APIM_BASE_REVISIONS_MAX
    assert problems(ReleaseFields, {**fields, "apim_base_revisions": [0] * (APIM_BASE_REVISIONS_MAX + 1)}) == [
        ("apim_base_revisions",)
    ]


@pytest.mark.parametrize("value", [{}, "", None, {"0": REVISION}])
def test_base_revisions_must_be_an_array(value: object) -> None:
    """Strictness is lifted for the array only, since JSON has no tuples."""
    assert problems(ReleaseFields, {**RELEASE_FIELDS, "apim_base_revisions": value}) == [("apim_base_revisions",)]


@pytest.mark.parametrize("name", sorted(WORKER_ACTIVITY_TYPES))
@pytest.mark.parametrize(
    "disguise",
    [
        str,
        str.lower,
        str.title,
        " {} ".format,
        "{}\t".format,
        "\u00a0{}".format,
        "\u00ad{}".format,
        "{}\u200b".format,
        "{}\u0301".format,
        "{}\U0001f680".format,
    ],
)
def test_workers_own_activity_types_are_refused(name: str, disguise: Any) -> None:
    """Case, blanks around and characters without weight make no other type: databases compare without them."""
    assert problems(ActivityRecorded, {**ACTIVITY, "activity_type": disguise(name)}) == [("activity_type",)]


def test_full_width_activity_types_are_refused() -> None:
    """SQL Server's default collations ignore width too."""
    wide = "".join(chr(ord(char) + 0xFEE0) for char in "EVENT_STALE")
    assert problems(ActivityRecorded, {**ACTIVITY, "activity_type": wide}) == [("activity_type",)]
    assert ActivityRecorded.model_validate({**ACTIVITY, "activity_type": "EVENT_STALENESS"})


@pytest.mark.parametrize("field", ["attempt", "config_revision"])
def test_activity_of_an_attempt_needs_its_environment(field: str) -> None:
    """An attempt is counted within an environment; null is the same as not given."""
    assert problems(ActivityRecorded, {**ACTIVITY, field: 1}) == [(field,)]
    assert problems(ActivityRecorded, {**ACTIVITY, field: 1, "environment_id": None}) == [(field,)]
    assert ActivityRecorded.model_validate({**ACTIVITY, field: None})
    assert ActivityRecorded.model_validate({**ACTIVITY, field: 1, "environment_id": "production-eu"})


def test_invalid_environment_is_reported_once() -> None:
    """The attempt beside it is not to blame."""
    assert problems(ActivityRecorded, {**ACTIVITY, "attempt": 1, "environment_id": 5}) == [("environment_id",)]
