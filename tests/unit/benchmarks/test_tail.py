"""What the report says of the slowest events, from invented spans."""

import pytest

from benchmarks.latency import LatencyRun
from benchmarks.tail import Journey, Span, checkpoints, journeys, report
from worker.rules.identity import activity_id

SOURCE = "/ci"
EVENTS = 200


def _activity(event_id: str) -> str:
    return str(activity_id(source=SOURCE, event_id=event_id, position=0))


def _spans(event_id: str, due: float, *, publish_seconds: float = 0.001) -> list[Span]:
    about = [_activity(event_id)]
    return [
        Span(name="poll", began=due, ended=due + 0.001, about=about),
        Span(name="load", began=due + 0.002, ended=due + 0.003, about=about),
        Span(name="write", began=due + 0.004, ended=due + 0.006, about=about),
        Span(name="publish", began=due + 0.007, ended=due + 0.007 + publish_seconds, about=about),
    ]


def _run(*, slow: int | None = None) -> tuple[LatencyRun, list[Span]]:
    """Events each 10 ms; the one numbered `slow` is published for half a second, during a commit."""
    due = {f"run-{number}": number / 100 for number in range(EVENTS)}
    seconds = {event_id: 0.501 if event_id == f"run-{slow}" else 0.001 for event_id in due}
    spans = [span for event_id, at in due.items() for span in _spans(event_id, at, publish_seconds=seconds[event_id])]
    seen = {event_id: at + 0.008 + seconds[event_id] for event_id, at in due.items()}
    return LatencyRun(due=due, seen=seen, differences=()), spans


def _journeys(run: LatencyRun, spans: list[Span]) -> list[Journey]:
    return journeys(run, spans, dict.fromkeys(run.due, SOURCE))


def test_phases_of_an_event_add_up_to_its_time() -> None:
    run, spans = _run()
    found = _journeys(run, spans)
    assert len(found) == EVENTS * 9 // 10, "the first tenth does not count"
    for journey in found:
        assert sum(journey.phases_ms) == pytest.approx(journey.total_ms)
    assert found[0].phases_ms == pytest.approx((1, 1, 1, 1, 2, 1, 1, 1))


def test_slowest_event_is_first_and_its_phase_is_named() -> None:
    run, spans = _run(slow=100)
    commit = Span(name="commit", began=1.2, ended=1.21)
    found = _journeys(run, spans)
    lines = list(report(found, [*spans, commit], share=1 / len(found)))
    assert found[0].event_id == "run-100"
    [publish] = [line for line in lines if line.startswith("| publish |")]
    assert publish.split("|")[-2].strip() == "1"
    [slowest] = [line for line in lines if line.startswith("| run-100 |")]
    assert slowest.endswith("| commit |")


def test_event_without_a_trace_is_left_out() -> None:
    """Its poll was before the trace began, or another process has handled it."""
    run, spans = _run()
    gone = _activity("run-150")
    found = _journeys(run, [span for span in spans if gone not in span.about])
    assert len(found) == EVENTS * 9 // 10 - 1


def test_checkpoints_are_read_from_the_servers_log() -> None:
    log = (
        "1970-01-01 00:01:40.500 UTC [7] LOG:  checkpoint starting: time\n"
        "1970-01-01 00:01:41.000 UTC [9] LOG:  something else\n"
        "1970-01-01 00:01:42.500 UTC [7] LOG:  checkpoint complete: wrote 3 buffers\n"
    )
    assert list(checkpoints(log, monotonic_offset=90.0)) == [Span(name="checkpoint", began=10.5, ended=12.5)]
