"""A line that repeats with every message passes once in ten seconds, with the number of those left out."""

from worker.pipeline.log_throttle import LogThrottle


def test_one_line_of_a_kind_passes_in_ten_seconds() -> None:
    lines = LogThrottle()
    assert lines.left_out_before("a", now_seconds=0.0) == 0
    assert [lines.left_out_before("a", now_seconds=second) for second in (0.1, 9.9)] == [None, None]
    assert lines.left_out_before("b", now_seconds=9.9) == 0
    assert lines.left_out_before("a", now_seconds=10.0) == 2
    assert lines.left_out_before("a", now_seconds=20.0) == 0


def test_number_of_remembered_kinds_is_bounded() -> None:
    lines = LogThrottle()
    for kind in range(100):
        lines.left_out_before(str(kind), now_seconds=0.0)
    assert lines.left_out_before("0", now_seconds=1.0) is None
    assert lines.left_out_before("another", now_seconds=1.0) == 0
    assert lines.left_out_before("0", now_seconds=1.0) == 0
