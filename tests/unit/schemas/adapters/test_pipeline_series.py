"""Each series of events is one deployment: one run, one environment, one artifact, and times that do not go back."""

from collections.abc import Callable

import pytest

from schemas.adapters.foreign import ForeignEvent
from schemas.types import short_type
from tests.properties.pipeline_series import SERIES, azure_release, azure_stage, cdevents_deployment, jenkins_build


@pytest.mark.parametrize("series", SERIES)
def test_series_is_one_deployment(series: Callable[[], tuple[ForeignEvent, ...]]) -> None:
    events = series()
    assert len({(event.source, event.run, event.scope["environment"], event.artifact) for event in events}) == 1
    times = [event.time for event in events if event.time is not None]
    assert times == sorted(times)
    assert len(times) == len(events)


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        (cdevents_deployment, ["deployment.requested", "deployment.started", "deployment.failed"]),
        (
            jenkins_build,
            ["deployment.requested", "deployment.started", "deployment.succeeded", "deployment.succeeded"],
        ),
        (azure_stage, ["deployment.requested", "deployment.started", "deployment.failed"]),
        (azure_release, ["deployment.started", "deployment.succeeded"]),
    ],
)
def test_series_has_its_types(series: Callable[[], tuple[ForeignEvent, ...]], expected: list[str]) -> None:
    assert [short_type(event.type) for event in series()] == expected


def test_ends_of_a_jenkins_build_have_one_id() -> None:
    *_, completed, finalized = jenkins_build()
    assert completed.id == finalized.id
