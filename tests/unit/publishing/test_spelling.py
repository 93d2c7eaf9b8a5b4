"""A name that is nearly a field's is pointed out; a publisher's own fields are not."""

from typing import Any

import pytest

from schemas.types import EventType
from tests.unit.schemas.records import DEPLOYMENT_DATA, ENVELOPE, RELEASE_FIELDS, STARTED
from worker.publishing.spelling import accepted_types, closest_type, misspelt_names


def doubts(data: dict[str, Any], **envelope: object) -> tuple[str, ...]:
    event = {**ENVELOPE, "type": STARTED, "data": {**DEPLOYMENT_DATA, **data}, **envelope}
    return misspelt_names(event, EventType.DEPLOYMENT_STARTED)


@pytest.mark.parametrize(
    ("data", "place", "likely"),
    [
        ({"coment": "x"}, "/data/coment", "comment"),
        ({"configRevision": 2}, "/data/configRevision", "config_revision"),
        ({"config-revision": 2}, "/data/config-revision", "config_revision"),
        ({"atempt": 2}, "/data/atempt", "attempt"),
        ({"Actor": "x"}, "/data/Actor", "actor"),
        ({"relase": {}}, "/data/relase", "release"),
        ({"release": {**RELEASE_FIELDS, "commit": "x"}}, "/data/release/commit", "commit_hash"),
        ({"release": {**RELEASE_FIELDS, "imageTag": "x"}}, "/data/release/imageTag", "image_tag"),
        (
            {"release": {**RELEASE_FIELDS, "apim_base_revision": []}},
            "/data/release/apim_base_revision",
            "apim_base_revisions",
        ),
    ],
)
def test_misspelt_field_names_the_likely_one(data: dict[str, Any], place: str, likely: str) -> None:
    (doubt,) = doubts(data)
    assert doubt.startswith(f"{place}: ")
    assert doubt.endswith(f"did you mean {likely}?")


def test_misplaced_field_of_the_release_block_is_named() -> None:
    (doubt,) = doubts({"commit_hash": "x"})
    assert doubt == "/data/commit_hash: is ignored here; move it to /data/release"


@pytest.mark.parametrize("name", ["pipeline", "branch", "release_notes", "url", "x" * 300, "ü"])
def test_publishers_own_field_is_no_warning(name: str) -> None:
    assert doubts({name: "x"}) == ()


def test_misplaced_field_beside_the_data_is_named() -> None:
    assert doubts({}, actor="ada") == ("actor: is ignored here; move it to /data",)
    assert doubts({"actor": "ada"}, actor="ada") == ()


def test_misspelt_envelope_attribute_is_named() -> None:
    event = {**ENVELOPE, "tiem": "2026-03-01T09:30:00Z", "subjekt": "x", "data": {}}
    del event["time"]
    found = misspelt_names(event, EventType.RELEASE_SUBMITTED)
    assert [doubt.rpartition(" ")[2] for doubt in found] == ["subject?", "time?"]


@pytest.mark.parametrize("name", ["traceparent", "tracestate", "partitionkey", "sequence", "team"])
def test_extension_attribute_is_no_warning(name: str) -> None:
    assert doubts({}, **{name: "x"}) == ()


def test_number_of_warnings_is_bounded() -> None:
    revisions = [{"endpoint_nam": "x"}] * 50
    assert len(doubts({"release": {**RELEASE_FIELDS, "apim_base_revisions": revisions}})) == 10


@pytest.mark.parametrize(
    ("given", "likely"),
    [
        ("deployment.suceeded", "dev.rudder.deployment.succeeded.v1"),
        ("dev.rudder.deployment.rolledback.v1", "dev.rudder.deployment.rolled_back.v1"),
        ("Deployment.Started", "dev.rudder.deployment.started.v1"),
        ("dev.rudder.release.submited.v1", "dev.rudder.release.submitted.v1"),
    ],
)
def test_unknown_type_lists_its_likely_one_first(given: str, likely: str) -> None:
    assert closest_type(given) == likely
    listed = accepted_types(given).split(", ")
    assert listed[0] == likely
    assert sorted(listed) == sorted(EventType)


def test_unlike_type_lists_all() -> None:
    assert closest_type("com.example.order") is None
    assert accepted_types("com.example.order").split(", ") == list(EventType)
