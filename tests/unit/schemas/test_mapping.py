"""The mapping: what the names of a foreign event become, and what is said where one is missing."""

from collections.abc import Mapping as AnyMapping
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any, get_args
from uuid import UUID

import pytest
from pydantic import ValidationError

from schemas.adapters.foreign import SCOPE_FIELDS, Artifact, ForeignEvent, Format, NoInterest, Original
from schemas.derived_ids import derived_release_id
from schemas.event import Event, Invalid
from schemas.incoming import DeploymentChange, ForeignActivity
from schemas.mapping import Mapping
from schemas.mapping_rules import WILDCARDS_MAX, MappingFile, MatchField
from schemas.reasons import Reason
from schemas.types import EventType

PROJECT, COMPONENT, OTHER = (UUID(int=number) for number in (1, 2, 3))
COMMIT = "0123456789abcdef0123456789abcdef01234567"
DIGEST = "sha256:" + "ab" * 32
AT = datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC)

GENERIC = {"source": "'x'", "id": "id", "status": "status", "statuses": {"ok": "succeeded"}}
SHOP: dict[str, Any] = {
    "organization": "acme",
    "project": str(PROJECT),
    "environments": {"Production": "prod", "pages": None},
    "rules": [{"match": {"repository": "acme/shop"}, "component": str(COMPONENT)}],
}


def deployment(**changes: Any) -> ForeignEvent:
    event = ForeignEvent(
        format=Format.GITHUB,
        type=EventType.DEPLOYMENT_SUCCEEDED,
        source="https://github.com/acme/shop",
        id="1",
        time=AT,
        original=Original(type="deployment_status.created", id="7", status="success"),
        run="deployment/7",
        scope={"repository": "acme/shop", "environment": "production"},
        artifact=Artifact(commit=COMMIT),
        actor="octocat",
    )
    return replace(event, **changes)


def mapped(file: AnyMapping[str, Any], foreign: ForeignEvent) -> Event | Invalid | NoInterest:
    return Mapping(MappingFile.model_validate(file)).event(foreign, recorded_at=None)


def event_of(file: AnyMapping[str, Any], foreign: ForeignEvent) -> Event:
    event = mapped(file, foreign)
    assert isinstance(event, Event), event
    return event


def change_of(file: AnyMapping[str, Any], foreign: ForeignEvent) -> DeploymentChange:
    data = event_of(file, foreign).data
    assert isinstance(data, DeploymentChange)
    return data


def detail_of(file: AnyMapping[str, Any], foreign: ForeignEvent) -> str:
    invalid = mapped(file, foreign)
    assert isinstance(invalid, Invalid)
    assert invalid.reason is Reason.UNMAPPED
    assert (invalid.source, invalid.id) == (foreign.source, foreign.id)
    return invalid.detail


def with_rule(**rule: Any) -> dict[str, Any]:
    return {**SHOP, "rules": [{"match": {"repository": "acme/shop"}, "component": str(COMPONENT), **rule}]}


def test_deployment_gets_the_ids_of_its_rule() -> None:
    event = event_of(SHOP, deployment())
    data = event.data
    assert isinstance(data, DeploymentChange)
    assert data.release is not None
    assert (data.organization_id, data.environment_id, data.actor) == ("acme", "prod", "octocat")
    assert (data.release.project_id, data.release.component_id) == (PROJECT, COMPONENT)
    assert (data.release.deployment_track_id, data.release.release_date) == ("main", date(2026, 3, 1))
    assert data.release.release_number is None
    assert event.foreign is not None
    assert event.foreign.run == "deployment/7"


def test_release_id_is_derived_from_the_artifact() -> None:
    event = event_of(SHOP, deployment())
    derived = derived_release_id(
        organization_id="acme", component_id=COMPONENT, deployment_track_id="main", artifact=COMMIT
    )
    assert event.data.release_id == derived
    assert event.foreign is not None
    assert event.foreign.reference is not None
    assert (event.foreign.reference.derived_id, event.foreign.reference.commit_hash) == (derived, COMMIT)


def test_environments_of_one_artifact_share_a_release() -> None:
    file = {**SHOP, "environments": {"production": "prod", "staging": "stage"}}
    staged = deployment(scope={"repository": "acme/shop", "environment": "staging"})
    assert change_of(file, staged).release_id == change_of(file, deployment()).release_id


@pytest.mark.parametrize(
    ("artifact", "rule", "identified"),
    [
        (Artifact(commit=COMMIT, tag="1.2", digest=DIGEST), {}, DIGEST),
        (Artifact(commit=COMMIT, tag="1.2"), {}, "1.2"),
        (Artifact(commit=COMMIT, tag="1.2"), {"artifact": "commit"}, COMMIT),
        (Artifact(tag="1.2"), {"artifact": ["commit", "tag"]}, "1.2"),
        (Artifact(name="20260301-4"), {}, "20260301-4"),
        (Artifact(images=("db:16", f"reg.io/acme/shop:2.0@{DIGEST}")), {"image": "*/shop"}, DIGEST),
        (Artifact(images=("db:16", "reg.io/acme/shop:2.0")), {"image": "*/shop"}, "2.0"),
        (Artifact(images=("db:16", "cache:7"), commit=COMMIT), {"image": "*/shop"}, COMMIT),
    ],
)
def test_artifact_identifies_the_release(artifact: Artifact, rule: dict[str, Any], identified: str) -> None:
    data = change_of(with_rule(**rule), deployment(artifact=artifact))
    assert data.release_id == derived_release_id(
        organization_id="acme", component_id=COMPONENT, deployment_track_id="main", artifact=identified
    )


def test_named_release_is_not_created() -> None:
    event = event_of(SHOP, deployment(artifact=Artifact(release_id=OTHER, commit=COMMIT)))
    assert isinstance(event.data, DeploymentChange)
    assert (event.data.release_id, event.data.release) == (OTHER, None)
    assert event.foreign is not None
    assert event.foreign.reference is None


def test_release_is_looked_up_by_its_name() -> None:
    event = event_of(SHOP, deployment(artifact=Artifact(name="20260301-4")))
    assert event.foreign is not None
    assert event.foreign.reference is not None
    assert event.foreign.reference.number == (date(2026, 3, 1), 4)


@pytest.mark.parametrize("name", ["20261301-4", "20260301-0", "v1.2", "20260301", "20260301-9999999999", "99990101-1"])
def test_other_names_are_no_release_number(name: str) -> None:
    event = event_of(SHOP, deployment(artifact=Artifact(name=name)))
    assert event.foreign is not None
    assert event.foreign.reference is not None
    assert event.foreign.reference.number is None


def test_record_without_artifact_is_invalid() -> None:
    invalid = mapped(SHOP, deployment(artifact=Artifact(image="acme/shop")))
    assert isinstance(invalid, Invalid)
    assert invalid.reason is Reason.INVALID_DATA
    assert "no artifact" in invalid.detail


def test_first_rule_that_matches_decides() -> None:
    rules = [
        {"match": {"repository": "acme/shop", "format": "gitlab"}, "component": str(OTHER)},
        {"match": {"repository": ["acme/cart", "acme/sh*"]}, "component": str(COMPONENT)},
        {"match": {"repository": "*/*"}, "ignore": True},
    ]
    file = {**SHOP, "rules": rules}
    release = change_of(file, deployment()).release
    assert release is not None
    assert release.component_id == COMPONENT
    other = deployment(scope={"repository": "acme/docs", "environment": "production"})
    assert mapped(file, other) == NoInterest(format=Format.GITHUB, kind="ignored by a rule")


def test_status_and_type_of_the_source_can_be_matched() -> None:
    rule = {"match": {"status": "cancelled", "type": "workflow_run.*"}, "component": str(COMPONENT), "environment": "p"}
    cancelled = Original(type="workflow_run.completed", status="cancelled")
    run = deployment(original=cancelled, optional=True, scope={"repository": "acme/shop"})
    assert change_of({**SHOP, "rules": [rule]}, run).environment_id == "p"
    other = replace(run, original=replace(cancelled, status=None))
    assert isinstance(mapped({**SHOP, "rules": [rule]}, other), NoInterest)


@pytest.mark.parametrize(
    ("pattern", "repository", "matches"),
    [
        ("acme/*", "acme/shop", True),
        ("acme/*", "acme/web/shop", False),
        ("acme/**", "acme/web/shop", True),
        ("**/shop", "acme/web/shop", True),
        ("acme/{name}", "acme/", False),
        ("acme/sh.p", "acme/shop", False),
        ("Acme/*", "acme/shop", False),
    ],
)
def test_pattern_matches(pattern: str, repository: str, matches: bool) -> None:
    file = {**SHOP, "rules": [{"match": {"repository": pattern}, "component": str(COMPONENT)}]}
    content = mapped(file, deployment(scope={"repository": repository, "environment": "production"}))
    assert isinstance(content, Event) is matches


def test_captures_fill_in_the_values() -> None:
    file = {
        **SHOP,
        "rules": [
            {
                "match": {"application": "argocd/{service}-{stage}"},
                "component": {"table": "components", "key": "{service}"},
                "track": "{branch}",
                "environment": "{stage}",
            }
        ],
        "tables": {"components": {"Web-Shop": str(COMPONENT)}},
    }
    data = change_of(file, deployment(scope={"application": "argocd/web-shop-PRODUCTION", "branch": "v2"}))
    assert data.release is not None
    assert (data.release.component_id, data.release.deployment_track_id) == (COMPONENT, "v2")
    assert data.environment_id == "prod"


def test_capture_of_the_environment_is_looked_up() -> None:
    file = {
        **SHOP,
        "rules": [{"match": {"application": "shop-{environment}"}, "component": str(COMPONENT)}],
    }
    assert change_of(file, deployment(scope={"application": "shop-production"})).environment_id == "prod"


def test_rules_can_match_every_name_of_a_scope() -> None:
    assert get_args(MatchField) == ("format", *SCOPE_FIELDS, "type", "status")


def test_constant_environment_is_its_id() -> None:
    data = change_of(with_rule(environment="eu-1"), deployment(scope={"repository": "acme/shop"}))
    assert data.environment_id == "eu-1"


def test_rule_environments_come_first() -> None:
    assert change_of(with_rule(environments={"production": "shop-prod"}), deployment()).environment_id == "shop-prod"


def test_ignored_environment_is_of_no_interest() -> None:
    pages = deployment(scope={"repository": "acme/shop", "environment": "Pages"})
    for event in (pages, replace(pages, type=EventType.ACTIVITY_RECORDED, activity_type="SEEN")):
        assert mapped(SHOP, event) == NoInterest(format=Format.GITHUB, kind="no environment")


def test_optional_record_needs_an_environment() -> None:
    run = deployment(optional=True, scope={"repository": "acme/shop", "pipeline": "ci.yml"})
    nothing = NoInterest(format=Format.GITHUB, kind="no environment")
    assert mapped(SHOP, run) == nothing
    assert mapped({**SHOP, "rules": []}, run) == nothing
    assert change_of(with_rule(environment="prod"), run).environment_id == "prod"


def test_optional_record_with_an_unknown_environment_is_of_no_interest() -> None:
    """A stage of a pipeline, for example, that is no environment."""
    stage = deployment(optional=True, scope={"repository": "acme/shop", "environment": "Build"})
    assert mapped(SHOP, stage) == NoInterest(format=Format.GITHUB, kind="no environment")


def test_optional_record_without_artifact_is_of_no_interest() -> None:
    run = deployment(optional=True, artifact=Artifact())
    assert mapped(with_rule(environment="prod"), run) == NoInterest(format=Format.GITHUB, kind="no artifact")


def test_activity_needs_no_environment() -> None:
    activity = deployment(type=EventType.ACTIVITY_RECORDED, activity_type="RELEASED", scope={"repository": "acme/shop"})
    data = event_of(SHOP, activity).data
    assert isinstance(data, ForeignActivity)
    assert (data.activity_type, data.environment_id, data.release is not None) == ("RELEASED", None, True)


@pytest.mark.parametrize(
    ("file", "changes", "line"),
    [
        ({}, {}, "- {match: {repository: 'acme/shop'}, component: <the component's id>}"),
        ({}, {"scope": {}}, "- {match: {format: github}, component: <the component's id>}"),
        (SHOP, {"scope": {"repository": "acme/shop", "environment": "qa's"}}, "environments: 'qa''s': <the env"),
        (SHOP, {"scope": {"repository": "acme/shop"}}, "names no environment"),
        ({**SHOP, "organization": None}, {}, "organization: <the organization's id>"),
        ({**SHOP, "project": None}, {}, "project: <the project's id>"),
        ({**SHOP, "project": "shop"}, {}, "the project 'shop' is not a UUID"),
        (with_rule(component="{service}"), {}, "the record has no service, which its rule needs for component"),
        (with_rule(component=None), {}, "component: <the component's id>"),
        (
            {**with_rule(component={"table": "t", "key": "{repository}"}), "tables": {"t": {}}},
            {},
            "add to tables: t: 'acme/shop': <the component's id>",
        ),
    ],
)
def test_unmapped_event_names_the_lines_to_add(file: dict[str, Any], changes: dict[str, Any], line: str) -> None:
    assert line in detail_of(file, deployment(**changes))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"rules": [{"match": {}}]}, "at least 1"),
        ({"rules": [{"match": {"repo": "x"}}]}, "match"),
        ({"rules": [{"match": {"repository": "{a}{a}"}}]}, "repeated"),
        ({"rules": [{"match": {"repository": "{A}"}}]}, "begins no capture"),
        ({"rules": [{"match": {"repository": "*x" * (WILDCARDS_MAX + 1)}}]}, "wildcards"),
        ({"rules": [{"match": {"repository": "x"}, "component": {"table": "t", "key": "x"}}]}, "there is no table t"),
        ({"track": {"table": "t", "key": "x"}}, "track: there is no table t"),
        ({"topics": {"in": "gihub"}}, "there is no format gihub"),
        ({"formats": {"github": GENERIC}}, "is the name of an adapter"),
        ({"environments": {"a": "b", "A": "c"}}, "differ only in case"),
        ({"environments": []}, "dictionary"),
        ({"component": "x"}, "component"),
    ],
)
def test_faulty_file_is_refused(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        MappingFile.model_validate({**SHOP, **change})


def test_long_names_match_no_pattern() -> None:
    file = {**SHOP, "rules": [{"match": {"repository": "*"}, "ignore": True}]}
    assert "no rule matches" in detail_of(file, deployment(scope={"repository": "x" * 1_001}))


def test_time_of_the_record_is_used_where_the_event_has_none() -> None:
    mapping = Mapping(MappingFile.model_validate(SHOP))
    event = mapping.event(deployment(time=None), recorded_at=AT)
    assert isinstance(event, Event)
    assert event.time == AT
    invalid = mapping.event(deployment(time=None), recorded_at=None)
    assert isinstance(invalid, Invalid)
    assert invalid.reason is Reason.INVALID_DATA


@pytest.mark.parametrize("artifact", [Artifact(tag="1\n2"), Artifact(tag="1\u2028")])
def test_control_characters_are_in_no_derived_id(artifact: Artifact) -> None:
    assert "has a control character" in detail_of(SHOP, deployment(artifact=artifact))


def test_values_that_do_not_fit_are_invalid() -> None:
    invalid = mapped(SHOP, deployment(artifact=Artifact(tag="x" * 256)))
    assert isinstance(invalid, Invalid)
    assert invalid.reason is Reason.INVALID_DATA
    data = change_of(SHOP, deployment(actor="x" * 256))
    assert data.actor is None
    assert data.release is not None
    assert data.release.created_by == "github"
