"""The reasons of rejections: the closed list of values of the `rudder-reason` header."""

from schemas.described import Described


class Reason(Described):
    """The values of the `rudder-reason` header, of `release_event_rejections.reason` and of a metric's label."""

    MALFORMED_JSON = "malformed_json", "the value, or the event's data, is not JSON as defined by RFC 7493 (I-JSON)"
    NOT_A_CLOUDEVENT = (
        "not_a_cloudevent",
        "the record has no CloudEvents 1.0 envelope, has an invalid attribute, or is a batch",
    )
    UNSUPPORTED_TYPE = "unsupported_type", "the worker does not accept the event's type"
    INVALID_DATA = (
        "invalid_data",
        "the data does not conform to the schema of its type; the detail lists the JSON pointers",
    )
    UNMAPPED = (
        "unmapped",
        "RUDDER_MAPPING_FILE has no component or environment for a foreign event; the detail has the lines to add",
    )
    TOO_LARGE = "too_large", "the value is larger than RUDDER_EVENT_BYTES_MAX"
    SOURCE_NOT_ALLOWED = (
        "source_not_allowed",
        "RUDDER_SOURCES_FILE does not allow the event's source for the event's organization",
    )
    RELEASE_NOT_FOUND = "release_not_found", "the release does not exist, and the event has no `release` block"
    RELEASE_CONFLICT = (
        "release_conflict",
        "the release's id, or its date, number, component and track, is already in use",
    )
    ORGANIZATION_MISMATCH = "organization_mismatch", "the release belongs to another organization"
    RELEASE_NOT_DEPLOYABLE = "release_not_deployable", "the release is in DRAFT, IN_REVIEW or REJECTED"
    INVALID_TRANSITION = "invalid_transition", "the status machine does not allow the transition"
    ATTEMPT_GAP = "attempt_gap", "the attempt does not exist, and is not the next one"
    PROCESSING_ERROR = (
        "processing_error",
        "every attempt to process the event failed, although the database and the broker were available",
    )
