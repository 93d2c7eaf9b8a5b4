"""The series that the properties deliver in other orders: one run, one environment, and an id for each event."""

from collections.abc import Callable

import pytest

from schemas.adapters.foreign import ForeignEvent
from tests.properties.repository_series import SERIES


@pytest.mark.parametrize("series", SERIES)
def test_series_is_one_deployment(series: Callable[[], tuple[ForeignEvent, ...]]) -> None:
    events = series()
    runs = {(event.source, event.run if event.part_of is None else event.part_of) for event in events}
    assert len(runs) == 1
    assert events[0].run is not None
    assert len({event.artifact for event in events}) == 1
    assert {event.scope.get("environment") for event in events if not event.optional} == {
        events[0].scope["environment"]
    }
    assert len({event.id for event in events}) == len(events)
