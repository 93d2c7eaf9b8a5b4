"""Why an event is rejected: the closed list that the `rudder-reason` header takes its values from."""

from schemas.described import Described


class Reason(Described):
    """The values of the `rudder-reason` header, of `release_event_rejections.reason` and of a metric's label."""

    MALFORMED_JSON = "malformed_json", "the value, or the event's data, is not JSON as RFC 7493 (I-JSON) has it"
    NOT_A_CLOUDEVENT = "not_a_cloudevent", "no CloudEvents 1.0 envelope, a broken attribute, or a batch"
    UNSUPPORTED_TYPE = "unsupported_type", "the event's type is none that the worker accepts"
    INVALID_DATA = "invalid_data", "the data breaks its type's schema; the detail names each JSON pointer"
    TOO_LARGE = "too_large", "the value has more bytes than RUDDER_EVENT_BYTES_MAX"
    SOURCE_NOT_ALLOWED = (
        "source_not_allowed",
        "RUDDER_SOURCES_FILE does not name the event's source for the event's organization",
    )
    RELEASE_NOT_FOUND = "release_not_found", "the release is unknown and the event brings no release block"
    RELEASE_CONFLICT = "release_conflict", "the release's id, or its date, number, component and track, is taken"
    ORGANIZATION_MISMATCH = "organization_mismatch", "the release belongs to another organization"
    RELEASE_NOT_DEPLOYABLE = "release_not_deployable", "the release is in DRAFT, IN_REVIEW or REJECTED"
    INVALID_TRANSITION = "invalid_transition", "the status machine does not allow the change"
    ATTEMPT_GAP = "attempt_gap", "the attempt is neither known nor the next one"
    PROCESSING_ERROR = "processing_error", "handling it failed for a reason of its own, every time it was tried"
