"""The stream that every contender gets."""

import json
import re
from collections import Counter
from itertools import islice

import pytest

from benchmarks.stream import SKEWS, Skew, Traffic, records
from tests.oracle.oracle import Oracle
from tests.oracle.records import Record

EVENTS = 3_000
SMALL = Traffic(releases_active=100)


def test_same_seed_and_fewer_events_give_a_prefix() -> None:
    """A slow contender gets the first events of the same stream, and a run can be repeated."""
    stream = list(islice(records(SMALL), EVENTS))
    assert list(islice(records(SMALL), EVENTS // 3)) == stream[: EVENTS // 3]
    assert list(islice(records(Traffic(releases_active=100, seed=1)), EVENTS)) != stream


@pytest.mark.parametrize("skew", SKEWS)
def test_every_event_is_applied(skew: Skew) -> None:
    """The oracle finds no rejected, stale or duplicate event, whatever the skew."""
    oracle = Oracle()
    for offset, record in enumerate(islice(records(Traffic(releases_active=100, skew=skew)), EVENTS)):
        oracle.handle(Record("events", 0, offset, record.timestamp_ms, record.value, record.headers, record.key))
    assert oracle.outcomes == {"Applied": EVENTS}


def test_event_times_are_strictly_increasing() -> None:
    """The check of a large backlog counts events by their times."""
    times = [json.loads(record.value or b"")["time"] for record in islice(records(SMALL), EVENTS)]
    assert times == sorted(set(times))


def test_record_key_is_the_release() -> None:
    """Keys decide the partitions, which must be the same for every contender."""
    for record in islice(records(SMALL), 200):
        assert record.key == json.loads(record.value or b"")["data"]["release_id"].encode()


def test_attempt_is_requested_started_and_ended() -> None:
    """The events that pipelines send; other tests cover more branches of the rules."""
    kinds: dict[tuple[str, str], list[str]] = {}
    for record in islice(records(SMALL), EVENTS):
        event = json.loads(record.value or b"")
        where = event["data"]["release_id"], event["data"]["environment_id"]
        kinds.setdefault(where, []).append(event["type"].split(".")[3])
    whole = re.compile(r"(requested started (succeeded|failed) (rolled_back )?)*(requested )?(started )?")
    assert all(whole.fullmatch("".join(f"{kind} " for kind in each)) for each in kinds.values())
    assert sum(each.count("requested") > 1 for each in kinds.values()) > 10


def test_hot_release_has_half_of_all_events() -> None:
    [(_, most), (_, second)] = _busiest("hot")
    assert 0.45 < most / EVENTS < 0.55
    assert second < 0.02 * EVENTS


def test_zipf_halves_the_traffic_of_the_second_release() -> None:
    [(_, most), (_, second)] = _busiest("zipf")
    assert 1.6 < most / second < 2.6


def test_uniform_traffic_has_no_favourite() -> None:
    [(_, most), _] = _busiest("uniform")
    assert most < 0.02 * EVENTS


def test_single_stream_has_one_release() -> None:
    stream = islice(records(Traffic(skew="single", releases_active=1)), EVENTS)
    assert len({record.key for record in stream}) == 1


def test_streams_of_other_days_share_no_identity_and_no_time() -> None:
    """They run in one database, one after the other."""
    days = [list(islice(records(Traffic(releases_active=100, seed=day, day=day)), EVENTS)) for day in (1, 2)]
    events = [[json.loads(record.value or b"") for record in stream] for stream in days]
    first, second = ({(event["source"], event["id"]) for event in stream} for stream in events)
    assert not first & second
    assert {event["time"][:10] for event in events[0]} == {"2026-03-03"}
    assert {event["time"][:10] for event in events[1]} == {"2026-03-04"}


def _busiest(skew: Skew) -> list[tuple[bytes | None, int]]:
    stream = islice(records(Traffic(releases_active=100, skew=skew)), EVENTS)
    return Counter(record.key for record in stream).most_common(2)
