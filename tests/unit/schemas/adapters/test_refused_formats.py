"""Formats that are recognised and refused: the detail names what to do instead."""

import pytest
from hypothesis import given, settings

from schemas.adapters import eiffel, keptn
from schemas.adapters.foreign import ForeignRecord, Unreadable
from tests.hypothesis_profile import examples
from tests.unit.schemas.adapters.vendor_payloads import body_of, files, json_objects

# As in the Eiffel protocol's own examples.
EIFFEL = {
    "meta": {
        "type": "EiffelArtifactCreatedEvent",
        "version": "3.0.0",
        "time": 1234567890,
        "id": "aaaaaaaa-bbbb-5ccc-8ddd-eeeeeeeeeee0",
    },
    "data": {"identity": "pkg:maven/com.mycompany.myproduct/artifact-name@2.1.7"},
    "links": [{"type": "CAUSE", "target": "aaaaaaaa-bbbb-5ccc-8ddd-eeeeeeeeeee1"}],
}


@pytest.mark.parametrize("name", files("keptn"))
def test_keptn_event_is_refused(name: str) -> None:
    event = body_of("keptn", name)
    assert keptn.has_type(event["type"])
    assert keptn.has_shape(event)
    with pytest.raises(Unreadable, match="publish CDEvents instead") as caught:
        keptn.adapt(ForeignRecord(headers={}, body=event["data"], type=event["type"], id=event["id"]))
    assert caught.value.unsupported


def test_eiffel_event_is_refused() -> None:
    assert eiffel.has_shape(EIFFEL)
    assert eiffel.has_type("EiffelArtifactCreatedEvent")
    with pytest.raises(Unreadable, match="translate them to CDEvents") as caught:
        eiffel.adapt(ForeignRecord(headers={}, body=EIFFEL))
    assert caught.value.unsupported


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"type": "com.example.deployed"},
        {"type": 7, "meta": {"type": 7, "id": "1"}},
        {"meta": {"type": "EiffelEvents", "id": "1"}},
        {"meta": {"type": "EiffelArtifactCreatedEvent", "id": 1}},
        {"meta": "EiffelArtifactCreatedEvent"},
    ],
)
def test_other_body_is_not_recognised(body: dict[str, object]) -> None:
    assert not keptn.has_shape(body)
    assert not eiffel.has_shape(body)


def test_headers_recognise_neither() -> None:
    assert not keptn.has_headers({"content-type": "application/cloudevents+json"})
    assert not eiffel.has_headers({"content-type": "application/json"})


@given(json_objects())
@settings(max_examples=examples(50))
def test_any_object_is_refused(body: dict[str, object]) -> None:
    for adapter in (keptn, eiffel):
        with pytest.raises(Unreadable):
            adapter.adapt(ForeignRecord(headers={}, body=body))
