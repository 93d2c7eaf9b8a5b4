"""The benchmark stream's records as decoded messages, each with the world of its release's records."""

import itertools
from collections import defaultdict
from collections.abc import Iterator

from benchmarks.stream import Traffic, records
from schemas.record import Record
from tests.properties.world import World
from worker.pipeline.transaction import read
from worker.rules.message import Message


def stream_messages(count: int) -> Iterator[tuple[Message, World]]:
    """The first `count` records. Records with one key share a world; the caller gives it each message in turn."""
    worlds: defaultdict[bytes | None, World] = defaultdict(lambda: World(environments=[]))
    for offset, raw in enumerate(itertools.islice(records(Traffic(releases_active=50)), count)):
        record = Record(
            topic="input",
            partition=0,
            offset=offset,
            timestamp_ms=raw.timestamp_ms,
            key=raw.key,
            value=raw.value,
            headers=raw.headers,
        )
        yield read(record, event_bytes_max=100_000), worlds[raw.key]
