"""Ids are name-based UUIDs of one namespace. Databases hold them, so none of these values may change."""

from typing import Any
from uuid import UUID, uuid5

from hypothesis import assume, given
from hypothesis import strategies as st

from schemas.derived_ids import NAMESPACE
from worker.rules.identity import (
    ACTIVITIES_MAX,
    activity_id,
    activity_ids,
    deployment_id,
    position_id,
)

RELEASE = UUID("0B6F1A52-5A4E-4C7F-9A34-0A6B3A0F5C11")
FIXED = UUID("6f1d5f6e-2f0a-5c0b-9d43-7b0d3f2f5a11")


def test_namespace_is_fixed() -> None:
    """With another namespace, every known event would look new."""
    assert NAMESPACE == FIXED


def test_deployment_id_is_derived_from_its_key() -> None:
    """`{release}/{environment}/{config_revision}/{attempt}`, the release in lower case."""
    made = deployment_id(release_id=RELEASE, environment_id="prod/eu", config_revision=2, attempt=3)
    assert made == uuid5(FIXED, "0b6f1a52-5a4e-4c7f-9a34-0a6b3a0f5c11/prod/eu/2/3")
    assert made.version == 5


def test_first_activity_id_is_derived_from_the_identity() -> None:
    """`{source}\\n{id}`."""
    assert activity_id(source="ci", event_id="7") == uuid5(FIXED, "ci\n7")


def test_further_activity_ids_are_numbered() -> None:
    """`\\n{n}` is added, counting from 1."""
    assert activity_id(source="ci", event_id="7", position=1) == uuid5(FIXED, "ci\n7\n1")
    assert activity_ids(source="ci", event_id="7") == tuple(
        uuid5(FIXED, name) for name in ("ci\n7", "ci\n7\n1", "ci\n7\n2", "ci\n7\n3")
    )
    assert ACTIVITIES_MAX == 4


def test_record_without_identity_has_the_id_of_its_position() -> None:
    """`{topic}/{partition}/{offset}/{timestamp in ms}`; -1 is no timestamp."""
    named: dict[str, Any] = {"topic": "t", "partition": 1, "offset": 23}
    assert position_id(**named, timestamp_ms=1772357400123) == uuid5(FIXED, "t/1/23/1772357400123")
    assert position_id(**named, timestamp_ms=-1) == uuid5(FIXED, "t/1/23/-1")


@given(source=st.text(), event_id=st.text(), position=st.integers(0, 3))
def test_activity_id_is_a_uuid5_of_its_name(source: str, event_id: str, position: int) -> None:
    """As the standard library computes it. A changed id would make every known event new."""
    assume(all(character < "\ud800" or character > "\udfff" for character in source + event_id))
    name = f"{source}\n{event_id}" + (f"\n{position}" if position else "")
    assert activity_id(source=source, event_id=event_id, position=position) == uuid5(NAMESPACE, name)
