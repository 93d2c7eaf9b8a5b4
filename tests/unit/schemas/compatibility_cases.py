"""Changes of the published schemas, breaking and compatible.

The witness of a breaking change is an event that fits the narrow schema and not the wide one, so the change does break
something. A change of meaning has none.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.compatibility import Direction, Rule
from tests.unit.schemas.json_edits import REMOVED, Edit

REQUESTED = "dev.rudder.deployment.requested.v1"
CREATED = "dev.rudder.release.created.v1"
RECORDED = "dev.rudder.activity.recorded.v1"
DEPLOYMENT_STATUS = "dev.rudder.deployment.status_changed.v1"
RELEASE_STATUS = "dev.rudder.release.status_changed.v1"
EXAMPLES = {DEPLOYMENT_STATUS: "valid-succeeded", RELEASE_STATUS: "valid-deployed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """`edits`: of the published schema, which is the old one after `before`. `witness`: edits of a valid example."""

    name: str
    schema: str
    edits: Sequence[Edit]
    before: Sequence[Edit] = ()
    rule: Rule | None = None
    pointer: str = ""
    witness: Sequence[Edit] | None = None

    @property
    def direction(self) -> Direction:
        return Direction.OUTPUT if self.schema in EXAMPLES else Direction.INPUT


def _breaks(
    name: str,
    schema: str,
    rule: Rule,
    pointer: str,
    edits: Sequence[Edit],
    witness: Sequence[Edit] | None,
    before: Sequence[Edit] = (),
) -> Case:
    return Case(name=name, schema=schema, rule=rule, pointer=pointer, edits=edits, witness=witness, before=before)


def _fits(name: str, schema: str, *edits: Edit, before: Sequence[Edit] = ()) -> Case:
    return Case(name=name, schema=schema, edits=edits, before=before)


_CHANGE, _RELEASE, _RECORDED = "/$defs/DeploymentChange", "/$defs/ReleaseCreated", "/$defs/ActivityRecorded"
_ENVIRONMENT = f"{_CHANGE}/properties/environment_id"
_ACTOR = f"{_CHANGE}/properties/actor"
_REVISION = f"{_CHANGE}/properties/config_revision"
_ATTEMPT = f"{_CHANGE}/properties/attempt/anyOf/0"
_APIM = f"{_RELEASE}/properties/apim_base_revisions"
_MODE = "/$defs/ApimBaseRevision/properties/access_mode"
_COMMIT = f"{_RELEASE}/properties/commit_hash/anyOf/0"
_TEXT = {"type": "string"}
_NULLABLE_TEXT = {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}
_REVISIONS = [{"endpoint_name": "a", "api_id": "b", "revision_id": "c", "access_mode": "external"}] * 11
_BOUND, _PATTERN, _VALUES, _REQUIRED, _TYPE = Rule.BOUND, Rule.PATTERN, Rule.VALUES, Rule.REQUIRED, Rule.TYPE

BREAKING_INPUT = (
    _breaks(
        "new-required-field",
        REQUESTED,
        _REQUIRED,
        f"{_CHANGE}/required",
        [(f"{_CHANGE}/properties/region", _TEXT), (f"{_CHANGE}/required/-", "region")],
        [],
    ),
    _breaks(
        "field-becomes-required",
        REQUESTED,
        _REQUIRED,
        f"{_CHANGE}/required",
        [(f"{_CHANGE}/required/-", "actor")],
        [("/data/actor", REMOVED)],
    ),
    _breaks(
        "attribute-becomes-required", REQUESTED, _REQUIRED, "/required", [("/required/-", "time")], [("/time", REMOVED)]
    ),
    _breaks(
        "maximum-length-is-lowered",
        REQUESTED,
        _BOUND,
        f"{_ENVIRONMENT}/maxLength",
        [(f"{_ENVIRONMENT}/maxLength", 100)],
        [("/data/environment_id", "e" * 101)],
    ),
    _breaks(
        "minimum-length-is-raised",
        REQUESTED,
        _BOUND,
        f"{_ENVIRONMENT}/minLength",
        [(f"{_ENVIRONMENT}/minLength", 2)],
        [("/data/environment_id", "e")],
    ),
    _breaks(
        "maximum-is-lowered",
        REQUESTED,
        _BOUND,
        f"{_REVISION}/maximum",
        [(f"{_REVISION}/maximum", 100)],
        [("/data/config_revision", 101)],
    ),
    _breaks(
        "minimum-is-raised",
        REQUESTED,
        _BOUND,
        f"{_REVISION}/minimum",
        [(f"{_REVISION}/minimum", 2)],
        [("/data/config_revision", 1)],
    ),
    _breaks(
        "exclusive-maximum-is-added",
        REQUESTED,
        _BOUND,
        f"{_REVISION}/exclusiveMaximum",
        [(f"{_REVISION}/exclusiveMaximum", 2**31 - 1)],
        [("/data/config_revision", 2**31 - 1)],
    ),
    _breaks(
        "minimum-of-a-nullable-field-is-raised",
        REQUESTED,
        _BOUND,
        f"{_ATTEMPT}/minimum",
        [(f"{_ATTEMPT}/minimum", 2)],
        [("/data/attempt", 1)],
    ),
    _breaks(
        "bound-is-added-by-all-of",
        REQUESTED,
        _BOUND,
        f"{_ENVIRONMENT}/allOf/0/maxLength",
        [(f"{_ENVIRONMENT}/allOf", [{"maxLength": 3}])],
        [("/data/environment_id", "eeee")],
    ),
    _breaks(
        "pattern-is-narrowed",
        REQUESTED,
        _PATTERN,
        f"{_ENVIRONMENT}/pattern",
        [(f"{_ENVIRONMENT}/pattern", "^[a-z-]+$")],
        [("/data/environment_id", "PROD")],
    ),
    _breaks(
        "pattern-is-added",
        CREATED,
        _PATTERN,
        f"{_COMMIT}/allOf/0/pattern",
        [(f"{_COMMIT}/allOf", [{"pattern": "^[0-9a-f]+$"}])],
        [("/data/commit_hash", "HEAD")],
    ),
    _breaks(
        "pattern-of-an-attribute-is-narrowed",
        REQUESTED,
        _PATTERN,
        "/properties/source/pattern",
        [("/properties/source/pattern", "^https:")],
        [("/source", "/ci")],
    ),
    _breaks(
        "pattern-does-not-match-a-value",
        REQUESTED,
        _PATTERN,
        "/properties/specversion/pattern",
        [("/properties/specversion", {"type": "string", "pattern": "^2"})],
        [],
    ),
    _breaks(
        "format-is-added",
        REQUESTED,
        Rule.FORMAT,
        f"{_ENVIRONMENT}/format",
        [(f"{_ENVIRONMENT}/format", "uuid")],
        [("/data/environment_id", "prod")],
    ),
    _breaks("null-is-refused", REQUESTED, _TYPE, f"{_ACTOR}/type", [(_ACTOR, _TEXT)], [("/data/actor", None)]),
    _breaks(
        "null-is-refused-by-every-alternative",
        REQUESTED,
        Rule.ALTERNATIVES,
        f"{_ACTOR}/anyOf",
        [(f"{_ACTOR}/anyOf/1", {"type": "integer"})],
        [("/data/actor", None)],
    ),
    _breaks(
        "null-leaves-a-list-of-types",
        REQUESTED,
        _TYPE,
        "/properties/time/type",
        [("/properties/time/type", "string")],
        [("/time", None)],
    ),
    _breaks("type-changes", REQUESTED, _TYPE, f"{_ENVIRONMENT}/type", [(_ENVIRONMENT, {"type": "integer"})], []),
    _breaks(
        "number-becomes-integer",
        REQUESTED,
        _TYPE,
        f"{_REVISION}/type",
        [(f"{_REVISION}/type", "integer")],
        [("/data/config_revision", 1.5)],
        before=[(f"{_REVISION}/type", "number")],
    ),
    _breaks(
        "values-are-listed",
        REQUESTED,
        _VALUES,
        f"{_ENVIRONMENT}/enum",
        [(f"{_ENVIRONMENT}/enum", ["dev", "prod"])],
        [("/data/environment_id", "test")],
    ),
    _breaks(
        "value-is-removed",
        CREATED,
        _VALUES,
        f"{_MODE}/enum",
        [(f"{_MODE}/enum", ["internal"])],
        [("/data/apim_base_revisions", _REVISIONS[:1])],
        before=[(f"{_MODE}/enum", ["internal", "external"])],
    ),
    _breaks(
        "constant-changes",
        REQUESTED,
        _VALUES,
        "/properties/specversion/const",
        [("/properties/specversion/const", "1.1")],
        [],
    ),
    _breaks(
        "length-of-a-value-is-out-of-bounds",
        CREATED,
        _BOUND,
        f"{_MODE}/maxLength",
        [(f"{_MODE}/maxLength", 7)],
        [("/data/apim_base_revisions", _REVISIONS[:1])],
        before=[(f"{_MODE}/enum", ["local", "external"])],
    ),
    _breaks(
        "number-is-out-of-bounds",
        REQUESTED,
        _BOUND,
        f"{_REVISION}/maximum",
        [(_REVISION, {"type": "integer", "maximum": 1})],
        [("/data/config_revision", 2)],
        before=[(_REVISION, {"enum": [1, 2]})],
    ),
    _breaks(
        "unknown-fields-are-refused",
        REQUESTED,
        Rule.CLOSED,
        f"{_CHANGE}/additionalProperties",
        [(f"{_CHANGE}/additionalProperties", False)],
        [("/data/x", 1)],
    ),
    _breaks(
        "free-object-becomes-a-map-of-texts",
        REQUESTED,
        Rule.CLOSED,
        f"{_CHANGE}/properties/api_settings/anyOf/0/additionalProperties",
        [(f"{_CHANGE}/properties/api_settings/anyOf/0/additionalProperties", _TEXT)],
        [("/data/api_settings", {"replicas": 3})],
    ),
    _breaks(
        "free-object-gets-a-field",
        REQUESTED,
        _TYPE,
        f"{_CHANGE}/properties/api_settings/anyOf/0/properties/replicas/type",
        [(f"{_CHANGE}/properties/api_settings/anyOf/0/properties", {"replicas": {"type": "integer"}})],
        [("/data/api_settings", {"replicas": "3"})],
    ),
    _breaks(
        "more-items-are-refused",
        CREATED,
        _BOUND,
        f"{_APIM}/maxItems",
        [(f"{_APIM}/maxItems", 10)],
        [("/data/apim_base_revisions", _REVISIONS)],
    ),
    _breaks(
        "fewer-items-are-refused",
        CREATED,
        _BOUND,
        f"{_APIM}/minItems",
        [(f"{_APIM}/minItems", 1)],
        [("/data/apim_base_revisions", [])],
    ),
    _breaks(
        "field-of-items-is-narrowed",
        CREATED,
        _BOUND,
        f"{_MODE}/maxLength",
        [(f"{_MODE}/maxLength", 7)],
        [("/data/apim_base_revisions", _REVISIONS[:1])],
    ),
    _breaks(
        "items-get-a-type",
        CREATED,
        _TYPE,
        f"{_APIM}/items/type",
        [(f"{_APIM}/items", {"type": "object"})],
        [("/data/apim_base_revisions", [1])],
        before=[(f"{_APIM}/items", REMOVED)],
    ),
    _breaks(
        "condition-is-added",
        REQUESTED,
        Rule.CONDITION,
        f"{_CHANGE}/if",
        [(f"{_CHANGE}/if", {"required": ["attempt"]}), (f"{_CHANGE}/then", {"required": ["actor"]})],
        [("/data/attempt", 1), ("/data/actor", REMOVED)],
    ),
    _breaks(
        "condition-demands-more",
        RECORDED,
        Rule.CONDITION,
        f"{_RECORDED}/if",
        [(f"{_RECORDED}/then/required/-", "actor")],
        [("/data/attempt", 1), ("/data/environment_id", "prod"), ("/data/actor", REMOVED)],
    ),
    _breaks(
        "value-is-excluded",
        REQUESTED,
        Rule.CONDITION,
        f"{_ENVIRONMENT}/not",
        [(f"{_ENVIRONMENT}/not", {"const": "prod"})],
        [("/data/environment_id", "prod")],
    ),
    _breaks(
        "field-is-refused",
        REQUESTED,
        Rule.CONDITION,
        _ACTOR,
        [(_ACTOR, False)],
        [("/data/actor", "ada")],
    ),
    _breaks(
        "field-is-removed",
        REQUESTED,
        Rule.FIELD,
        f"{_CHANGE}/properties/comment",
        [(f"{_CHANGE}/properties/comment", REMOVED)],
        None,
    ),
    _breaks("default-changes", REQUESTED, Rule.DEFAULT, f"{_REVISION}/default", [(f"{_REVISION}/default", 2)], None),
    _breaks("default-is-removed", REQUESTED, Rule.DEFAULT, _REVISION, [(f"{_REVISION}/default", REMOVED)], None),
    _breaks(
        "default-is-added",
        REQUESTED,
        Rule.DEFAULT,
        f"{_ENVIRONMENT}/default",
        [(f"{_ENVIRONMENT}/default", "production")],
        None,
    ),
    _breaks(
        "definition-gets-an-address",
        REQUESTED,
        Rule.KEYWORD,
        f"{_CHANGE}/$id",
        [(f"{_CHANGE}/$id", "urn:other")],
        None,
    ),
    _breaks(
        "keyword-is-not-supported",
        REQUESTED,
        Rule.KEYWORD,
        f"{_CHANGE}/maxProperties",
        [(f"{_CHANGE}/maxProperties", 3)],
        [],
    ),
)

COMPATIBLE_INPUT = (
    _fits("nothing-changes", REQUESTED),
    _fits("nothing-changes-with-a-condition", RECORDED),
    _fits("optional-field-is-added", REQUESTED, (f"{_CHANGE}/properties/region", _NULLABLE_TEXT)),
    _fits("optional-attribute-is-added", REQUESTED, ("/properties/partitionkey", _TEXT)),
    _fits("optional-field-is-added-to-items", CREATED, ("/$defs/ApimBaseRevision/properties/gateway", _TEXT)),
    _fits("field-becomes-optional", CREATED, (f"{_RELEASE}/required/5", REMOVED)),
    _fits("maximum-length-is-raised", REQUESTED, (f"{_ENVIRONMENT}/maxLength", 256)),
    _fits("maximum-length-is-removed", REQUESTED, (f"{_ENVIRONMENT}/maxLength", REMOVED)),
    _fits("minimum-length-is-lowered", REQUESTED, (f"{_ENVIRONMENT}/minLength", 0)),
    _fits("maximum-is-raised", REQUESTED, (f"{_REVISION}/maximum", 2**63 - 1)),
    _fits("minimum-is-lowered", REQUESTED, (f"{_REVISION}/minimum", 0)),
    _fits(
        "minimum-becomes-exclusive-and-lower",
        REQUESTED,
        (f"{_REVISION}/minimum", REMOVED),
        (f"{_REVISION}/exclusiveMinimum", 0),
    ),
    _fits("more-items-are-accepted", CREATED, (f"{_APIM}/maxItems", 2000)),
    _fits("items-lose-their-type", CREATED, (f"{_APIM}/items", True), before=[(f"{_APIM}/items", _TEXT)]),
    _fits("items-of-a-text-do-not-matter", REQUESTED, (f"{_ENVIRONMENT}/items", _TEXT)),
    _fits("value-is-an-integer", REQUESTED, (_REVISION, {"type": "integer"}), before=[(_REVISION, {"const": 1.0})]),
    _fits(
        "description-in-a-condition-changes",
        RECORDED,
        ("/$defs/Named/description", "new"),
        before=[
            ("/$defs/Named", {"description": "old", "not": {"anyOf": [{"required": ["x"]}]}}),
            (f"{_RECORDED}/then", {"$ref": "#/$defs/Named"}),
        ],
    ),
    _fits("impossible-value-does-not-matter", REQUESTED, before=[(_REVISION, {"enum": [1, 2], "maximum": 1})]),
    _fits("null-is-accepted", REQUESTED, (_ENVIRONMENT, {"anyOf": [_TEXT, {"type": "null"}]})),
    _fits("integer-becomes-number", REQUESTED, (f"{_REVISION}/type", "number")),
    _fits("type-is-removed", REQUESTED, (f"{_ENVIRONMENT}/type", REMOVED)),
    _fits("pattern-is-removed", REQUESTED, (f"{_ENVIRONMENT}/pattern", REMOVED)),
    _fits(
        "pattern-gets-an-alternative",
        REQUESTED,
        ("/properties/source/pattern", REMOVED),
        ("/properties/source/anyOf", [{"pattern": "^urn:"}, {"pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$"}]),
    ),
    _fits("format-is-removed", CREATED, (f"{_RELEASE}/properties/release_date/format", REMOVED)),
    _fits("exclusion-is-removed", CREATED, (f"{_RELEASE}/properties/release_date/not", REMOVED)),
    _fits("condition-is-removed", RECORDED, (f"{_RECORDED}/if", REMOVED), (f"{_RECORDED}/then", REMOVED)),
    _fits("constant-becomes-one-of-two", REQUESTED, ("/properties/specversion", {"enum": ["1.0", "1.1"]})),
    _fits("constant-becomes-text", REQUESTED, ("/properties/specversion", {"type": "string", "pattern": r"^1\."})),
    _fits("value-is-added", CREATED, (f"{_MODE}/enum", ["a", "b"]), before=[(f"{_MODE}/enum", ["a"])]),
    _fits("descriptions-change", REQUESTED, ("/description", "new"), (f"{_ENVIRONMENT}/description", "new")),
    _fits("field-is-deprecated", REQUESTED, (f"{_ACTOR}/deprecated", True)),
    _fits("definition-is-wrapped", REQUESTED, ("/properties/data", {"allOf": [{"$ref": "#/$defs/DeploymentChange"}]})),
    _fits(
        "definition-is-inlined",
        CREATED,
        (
            f"{_APIM}/items",
            {
                "type": "object",
                "properties": {"endpoint_name": True, "api_id": True, "revision_id": True, "access_mode": True},
            },
        ),
    ),
    _fits(
        "map-names-a-field-of-its-type",
        REQUESTED,
        (f"{_CHANGE}/properties/labels/properties", {"team": _TEXT}),
        before=[(f"{_CHANGE}/properties/labels", {"type": "object", "additionalProperties": _TEXT})],
    ),
)

_STATUS, _SHORTER = "/$defs/DeploymentStatusChanged", "/$defs/DeploymentStatusChangedWithoutComment"
_BOTH = (_STATUS, _SHORTER)


def _in_both(pointer: str, value: object) -> list[Edit]:
    return [(f"{model}{pointer}", value) for model in _BOTH]


BREAKING_OUTPUT = (
    _breaks(
        "field-is-removed",
        DEPLOYMENT_STATUS,
        Rule.FIELD,
        f"{_STATUS}/properties/deployed_by",
        [*_in_both("/properties/deployed_by", REMOVED), *_in_both("/required/10", REMOVED)],
        [("/data/deployed_by", REMOVED)],
    ),
    _breaks(
        "field-of-a-part-is-removed",
        RELEASE_STATUS,
        Rule.FIELD,
        "/$defs/ReleaseBlock/properties/image_tag",
        [("/$defs/ReleaseBlock/properties/image_tag", REMOVED), ("/$defs/ReleaseBlock/required/5", REMOVED)],
        [("/data/release/image_tag", REMOVED)],
    ),
    _breaks(
        "attribute-is-removed",
        RELEASE_STATUS,
        Rule.FIELD,
        "/properties/traceparent",
        [("/properties/traceparent", REMOVED)],
        [("/traceparent", 1)],
    ),
    _breaks(
        "field-can-be-absent",
        DEPLOYMENT_STATUS,
        _REQUIRED,
        f"{_STATUS}/required",
        _in_both("/required/11", REMOVED),
        [("/data/comment", REMOVED)],
    ),
    _breaks(
        "attribute-can-be-absent",
        RELEASE_STATUS,
        _REQUIRED,
        "/required",
        [("/required/5", REMOVED)],
        [("/subject", REMOVED)],
    ),
    _breaks(
        "field-becomes-nullable",
        DEPLOYMENT_STATUS,
        _TYPE,
        f"{_STATUS}/properties/environment_id/anyOf/1/type",
        _in_both(
            "/properties/environment_id",
            {"anyOf": [_TEXT | {"minLength": 1, "maxLength": 255, "pattern": r"^[^\u0000]*$"}, {"type": "null"}]},
        ),
        [("/data/environment_id", None)],
    ),
    _breaks(
        "field-becomes-nullable-by-a-list-of-types",
        RELEASE_STATUS,
        _TYPE,
        "/properties/subject/type/1",
        [("/properties/subject/type", ["string", "null"])],
        [("/subject", None)],
    ),
    _breaks(
        "deployment-gets-a-new-status",
        DEPLOYMENT_STATUS,
        _VALUES,
        "/$defs/DeploymentStatus/enum/6",
        [("/$defs/DeploymentStatus/enum/-", "PAUSED")],
        [("/data/status", "PAUSED")],
    ),
    _breaks(
        "release-gets-a-new-status",
        RELEASE_STATUS,
        _VALUES,
        "/$defs/ReleaseStatus/enum/8",
        [("/$defs/ReleaseStatus/enum/-", "ARCHIVED")],
        [("/data/status", "ARCHIVED")],
    ),
    _breaks(
        "statuses-become-any-text",
        RELEASE_STATUS,
        _VALUES,
        "/$defs/ReleaseStatus",
        [("/$defs/ReleaseStatus", _TEXT)],
        [("/data/status", "ARCHIVED")],
    ),
    _breaks(
        "constant-changes",
        RELEASE_STATUS,
        _VALUES,
        "/properties/datacontenttype/const",
        [("/properties/datacontenttype/const", "application/cbor")],
        [("/datacontenttype", "application/cbor")],
    ),
    _breaks(
        "type-changes",
        DEPLOYMENT_STATUS,
        _TYPE,
        f"{_STATUS}/properties/attempt/type",
        _in_both("/properties/attempt", _TEXT),
        [("/data/attempt", "2")],
    ),
    _breaks(
        "integer-becomes-number",
        DEPLOYMENT_STATUS,
        _TYPE,
        f"{_STATUS}/properties/attempt/type",
        _in_both("/properties/attempt/type", "number"),
        [("/data/attempt", 1.5)],
    ),
    _breaks(
        "maximum-is-raised",
        DEPLOYMENT_STATUS,
        _BOUND,
        f"{_STATUS}/properties/config_revision/maximum",
        _in_both("/properties/config_revision/maximum", 2**40),
        [("/data/config_revision", 2**40)],
    ),
    _breaks(
        "maximum-is-removed",
        DEPLOYMENT_STATUS,
        _BOUND,
        f"{_STATUS}/properties/config_revision",
        _in_both("/properties/config_revision/maximum", REMOVED),
        [("/data/config_revision", 2**40)],
    ),
    _breaks(
        "minimum-is-lowered",
        DEPLOYMENT_STATUS,
        _BOUND,
        f"{_STATUS}/properties/attempt/minimum",
        _in_both("/properties/attempt/minimum", 0),
        [("/data/attempt", 0)],
    ),
    _breaks(
        "text-can-be-longer",
        RELEASE_STATUS,
        _BOUND,
        "/$defs/ReleaseBlock/properties/name/maxLength",
        [("/$defs/ReleaseBlock/properties/name/maxLength", 500)],
        [("/data/release/name", "n" * 256)],
    ),
    _breaks(
        "text-can-be-empty",
        RELEASE_STATUS,
        _BOUND,
        "/$defs/ReleaseBlock/properties/name",
        [("/$defs/ReleaseBlock/properties/name/minLength", REMOVED)],
        [("/data/release/name", "")],
    ),
    _breaks(
        "pattern-changes",
        DEPLOYMENT_STATUS,
        _PATTERN,
        "/$defs/Cause/properties/time/pattern",
        [("/$defs/Cause/properties/time/pattern", "Z$")],
        [("/data/cause/time", "2026-03-01T09:30:00Z")],
    ),
    _breaks(
        "pattern-is-removed",
        RELEASE_STATUS,
        _PATTERN,
        "/$defs/ReleaseBlock/properties/project_id",
        [
            ("/$defs/ReleaseBlock/properties/project_id/pattern", REMOVED),
            ("/$defs/ReleaseBlock/properties/project_id/format", REMOVED),
        ],
        [("/data/release/project_id", "{5d1c5d9e-62ad-4d0b-8f7e-2f7b8a3f9e01}")],
    ),
    _breaks(
        "format-is-removed",
        RELEASE_STATUS,
        Rule.FORMAT,
        "/properties/subject",
        [("/properties/subject/format", REMOVED)],
        [("/subject", "shop")],
    ),
    _breaks(
        "data-gets-an-alternative",
        DEPLOYMENT_STATUS,
        Rule.ALTERNATIVES,
        "/properties/data/anyOf/2",
        [("/properties/data/anyOf/-", {"type": "null"})],
        [("/data", None)],
    ),
    _breaks(
        "bound-of-one-alternative-is-raised",
        DEPLOYMENT_STATUS,
        _BOUND,
        f"{_SHORTER}/properties/config_revision/maximum",
        [(f"{_SHORTER}/properties/config_revision/maximum", 2**40)],
        [("/data/config_revision", 2**40), ("/data/comment", None), ("/data/comment_omitted", True)],
    ),
    _breaks(
        "alternative-with-a-field-is-removed",
        DEPLOYMENT_STATUS,
        Rule.FIELD,
        f"{_SHORTER}/properties/comment_omitted",
        [("/properties/data", {"$ref": "#/$defs/DeploymentStatusChanged"})],
        None,
    ),
    _breaks(
        "map-can-have-other-values",
        RELEASE_STATUS,
        Rule.CLOSED,
        "/$defs/Cause/additionalProperties",
        [("/$defs/Cause/additionalProperties", True)],
        [("/data/cause/x", 1)],
        before=[("/$defs/Cause/additionalProperties", _TEXT)],
    ),
    _breaks(
        "map-gets-a-field-of-another-type",
        RELEASE_STATUS,
        _TYPE,
        "/$defs/Cause/properties/attempts/type",
        [("/$defs/Cause/properties/attempts", {"type": "integer"})],
        [("/data/cause/attempts", 1)],
        before=[("/$defs/Cause/additionalProperties", _TEXT)],
    ),
    _breaks(
        "items-get-another-type",
        RELEASE_STATUS,
        _TYPE,
        "/$defs/Cause/properties/links/items/type",
        [("/$defs/Cause/properties/links/items/type", "integer")],
        [("/data/cause/links", [1])],
        before=[("/$defs/Cause/properties/links", {"type": "array", "items": _TEXT})],
    ),
    _breaks(
        "keyword-is-not-supported",
        RELEASE_STATUS,
        Rule.KEYWORD,
        "/$defs/Cause/propertyNames",
        [("/$defs/Cause/propertyNames", {"maxLength": 3})],
        None,
    ),
)

COMPATIBLE_OUTPUT = (
    _fits("nothing-changes", DEPLOYMENT_STATUS),
    _fits("field-is-added", DEPLOYMENT_STATUS, *_in_both("/properties/url", _TEXT), *_in_both("/required/-", "url")),
    _fits("optional-field-is-added", DEPLOYMENT_STATUS, *_in_both("/properties/url", _TEXT)),
    _fits("field-of-a-part-is-added", RELEASE_STATUS, ("/$defs/ReleaseBlock/properties/number", {"type": "integer"})),
    _fits("optional-attribute-is-added", RELEASE_STATUS, ("/properties/dataschema", _TEXT)),
    _fits("attribute-becomes-present", RELEASE_STATUS, ("/required/-", "traceparent")),
    _fits("status-is-removed", DEPLOYMENT_STATUS, ("/$defs/DeploymentStatus/enum/5", REMOVED)),
    _fits(
        "null-is-removed",
        RELEASE_STATUS,
        ("/$defs/ReleaseStatusChanged/properties/release", {"$ref": "#/$defs/ReleaseBlock"}),
    ),
    _fits("text-becomes-shorter", RELEASE_STATUS, ("/$defs/ReleaseBlock/properties/name/maxLength", 20)),
    _fits("maximum-is-lowered", DEPLOYMENT_STATUS, *_in_both("/properties/attempt/maximum", 1000)),
    _fits(
        "maximum-becomes-exclusive",
        DEPLOYMENT_STATUS,
        *_in_both("/properties/attempt/maximum", REMOVED),
        *_in_both("/properties/attempt/exclusiveMaximum", 2**63 - 1),
    ),
    _fits(
        "pattern-is-added",
        RELEASE_STATUS,
        ("/$defs/ReleaseBlock/properties/commit_hash/anyOf/0/pattern", "^[0-9a-f]+$"),
    ),
    _fits("format-is-added", RELEASE_STATUS, ("/$defs/Cause/properties/source/format", "uri-reference")),
    _fits("schema-is-opened", RELEASE_STATUS, ("/$defs/Cause/additionalProperties", REMOVED)),
    _fits("text-becomes-constant", RELEASE_STATUS, ("/properties/source", {"const": "/rudder-worker"})),
    _fits(
        "integer-replaces-number",
        RELEASE_STATUS,
        ("/$defs/ReleaseBlock/properties/number/type", "integer"),
        before=[("/$defs/ReleaseBlock/properties/number", {"type": "number"})],
    ),
    _fits("default-changes", RELEASE_STATUS, ("/$defs/ReleaseStatusChanged/properties/comment/default", "none")),
    _fits("field-has-only-one-value", DEPLOYMENT_STATUS, (f"{_STATUS}/properties/status", {"const": "SUCCESS"})),
    _fits("empty-alternative-is-added", DEPLOYMENT_STATUS, ("/properties/data/anyOf/-", False)),
    _fits(
        "contradiction-is-added",
        DEPLOYMENT_STATUS,
        ("/properties/data/anyOf/-", {"allOf": [{"const": 1}, {"const": 2}]}),
    ),
)
