"""Latency is from an event's first sending to its first status event, whatever is repeated."""

from worker.demo.latency import LatencyMeter, Quantiles


def test_only_the_first_sending_and_status_event_count() -> None:
    """Repeats are part of the day, and say nothing about speed."""
    ticks = iter([1.0, 2.0, 3.0])
    meter = LatencyMeter(clock=lambda: next(ticks))
    meter.sent(("ci", "1"), phase="steady")
    meter.sent(("ci", "1"), phase="other")
    meter.seen(("ci", "1"))
    meter.seen(("ci", "1"))
    meter.seen(("ci", "unknown"))
    found = meter.quantiles("steady")
    assert found is not None
    assert found.count == 1
    assert meter.quantiles("other") is None


def test_quantiles_use_the_nearest_rank() -> None:
    """Of one to a hundred seconds, the 50th and the 99th."""
    now = 0.0
    meter = LatencyMeter(clock=lambda: now)
    for number in range(1, 101):
        meter.sent(("ci", str(number)), phase="steady")
    for number in range(1, 101):
        now = float(number)
        meter.seen(("ci", str(number)))
    assert meter.quantiles("steady") == Quantiles(count=100, p50_ms=50_000.0, p99_ms=99_000.0)
    assert meter.last_seen_at_seconds == 100.0
