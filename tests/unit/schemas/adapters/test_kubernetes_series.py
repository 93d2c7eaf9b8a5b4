"""Each series of events is one deployment: one run, one environment, one artifact, and times that do not go back."""

from collections.abc import Callable

import pytest

from schemas.adapters.foreign import ForeignEvent
from schemas.types import short_type
from tests.properties.kubernetes_series import SERIES, argocd_chart, argocd_sync, tekton_run


@pytest.mark.parametrize("series", SERIES)
def test_series_is_one_deployment(series: Callable[[], tuple[ForeignEvent, ...]]) -> None:
    events = series()
    assert len({(event.source, event.run, event.scope["environment"]) for event in events}) == 1
    artifacts = {(one.artifact.commit, one.artifact.tag, one.artifact.digest) for one in events}
    assert len(artifacts) == 1
    times = [event.time for event in events if event.time is not None]
    assert times == sorted(times)
    assert len(times) == len(events)


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        (argocd_sync, ["deployment.started", "deployment.succeeded"]),
        (argocd_chart, ["deployment.started", "deployment.started", "deployment.succeeded"]),
        (
            tekton_run,
            ["deployment.requested", "deployment.started", "deployment.started", "deployment.cancelled"],
        ),
    ],
)
def test_series_has_its_types(series: Callable[[], tuple[ForeignEvent, ...]], expected: list[str]) -> None:
    assert [short_type(event.type) for event in series()] == expected


def test_unhealthy_sync_repeats_the_id_of_its_start() -> None:
    running, progressing, healthy = argocd_chart()
    assert running.id == progressing.id != healthy.id
