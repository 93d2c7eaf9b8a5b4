"""Webhooks overtake each other and are repeated: every order of one deployment's events gives the same rows."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import permutations
from typing import Any, Final
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.adapters.foreign import ForeignEvent
from schemas.event import Event
from schemas.mapping import Mapping
from schemas.mapping_rules import MappingFile
from schemas.record import Record
from tests.properties.kubernetes_series import SERIES as OF_KUBERNETES
from tests.properties.pipeline_series import SERIES as OF_PIPELINES
from tests.properties.repository_series import SERIES as OF_REPOSITORIES
from worker.release_simulation import ReleaseSimulation
from worker.rules.decide import decide
from worker.rules.message import Message
from worker.rules.state import Applied, Duplicate, Stale

COMPONENT: Final = "7b1e0f0c-52f3-4a7e-8a34-6f5b8f0f2c11"
MAPPING: Final = Mapping(
    MappingFile.model_validate(
        {
            "organization": "acme",
            "project": COMPONENT,
            "rules": [
                {"match": {field: "**"}, "component": COMPONENT, "environment": "prod"}
                for field in ("repository", "application", "service", "namespace", "pipeline", "project")
            ],
        }
    )
)
SERIES: Final = (*OF_REPOSITORIES, *OF_KUBERNETES, *OF_PIPELINES)
OF_THE_FIRST_EVENT: Final = {"created_at"}
"""Columns that have the time of the event that came first."""


def rows_after(events: Sequence[ForeignEvent]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The attempts and the release, without the columns of the event that came first."""
    releases: dict[UUID, ReleaseSimulation] = {}
    for offset, foreign in enumerate(events):
        event = MAPPING.event(foreign, recorded_at=None)
        assert isinstance(event, Event)
        record = Record(topic="hooks", partition=0, offset=offset, timestamp_ms=0, key=None, value=b"")
        message = Message(record=record, content=event, with_foreign=True)
        simulation = releases.setdefault(event.data.release_id, ReleaseSimulation())
        outcome = decide(simulation.state(message, number_taken=False), message)
        assert isinstance(outcome, Applied | Stale | Duplicate)
        simulation.write(outcome, message.id)
    [simulation] = releases.values()
    assert simulation.release is not None
    attempts = sorted(simulation.deployments.values(), key=lambda row: row["attempt"])
    kept = [{name: value for name, value in row.items() if name not in OF_THE_FIRST_EVENT} for row in attempts]
    return kept, {name: simulation.release[name] for name in ("id", "status", "commit_hash", "updated_at")}


@pytest.mark.parametrize("series", SERIES)
def test_every_order_gives_the_same_rows(series: Callable[[], tuple[ForeignEvent, ...]]) -> None:
    events = series()
    expected = rows_after(events)
    assert len(expected[0]) == 1
    for order in permutations(events):
        assert rows_after(order) == expected


@pytest.mark.parametrize("series", SERIES)
@given(drawn=st.data())
@settings(max_examples=60, deadline=None)
def test_repeats_change_nothing(series: Callable[[], tuple[ForeignEvent, ...]], drawn: st.DataObject) -> None:
    """Redelivered with the same id, or notified again with another one, at any later point."""
    events = list(series())
    order = drawn.draw(st.permutations(events))
    repeated = drawn.draw(st.lists(st.sampled_from(events), max_size=4))
    for number, event in enumerate(repeated):
        new_id = drawn.draw(st.booleans())
        at = drawn.draw(st.integers(order.index(event) + 1, len(order)))
        order.insert(at, replace(event, id=f"{event.id}/again/{number}") if new_id else event)
    assert rows_after(order) == rows_after(events)
