"""Every record that is no event becomes an unchanged dead letter with its reason, and blocks no other record."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from schemas.record import Headers
from tests.conformance.producers import ToSend, headers_of
from tests.end_to_end.release_records import SOURCE, ReleaseRecords
from tests.end_to_end.system import System

DEPTH = 100_000
ADDED = ("id", "reason", "detail", "topic", "partition", "offset", "timestamp", "attempts", "worker")

TOMBSTONE = ""
"""The reason of a record that is skipped: it has neither a dead letter nor a row."""

Bad = tuple[str, str, ToSend]
"""Name, reason, record."""


def binary(
    value: bytes | None, attributes: Mapping[str, str] | None = None, *, without: str = "", more: Headers = ()
) -> ToSend:
    """An invalid event in binary mode, with a null header and a foreign header."""
    given = {
        "specversion": "1.0",
        "id": f"bad/{next(_numbers)}",
        "source": SOURCE,
        "type": "dev.rudder.deployment.requested.v1",
        **(attributes or {}),
    }
    headers = tuple((f"ce_{name}", text.encode()) for name, text in given.items() if name != without)
    return ToSend(
        value=value, key=b"\xff\x00key", headers=(*headers, *more, ("trace", None), ("trace", b"\xfe")), partition=0
    )


_numbers = iter(range(1_000_000))


def deployment(**spoiled: Any) -> bytes:
    data = {"release_id": str(ReleaseRecords().release_id), "organization_id": "o", "environment_id": "e", **spoiled}
    return json.dumps(data).encode()


def nothing_to_read() -> Iterator[Bad]:
    yield "tombstone", TOMBSTONE, ToSend(value=None, partition=0)
    yield "keyed tombstone", TOMBSTONE, ToSend(value=None, key=b"key", partition=0)
    yield "empty value", "not_a_cloudevent", ToSend(value=b"", key=b"key", partition=0)
    yield "tombstone with an event's headers", TOMBSTONE, binary(None)
    yield "empty value of an event", "invalid_data", binary(b"")
    yield "foreign JSON", "not_a_cloudevent", ToSend(value=b'{"action":"published"}', partition=0)
    batch = (("content-type", b"application/cloudevents-batch+json"),)
    yield "batch", "not_a_cloudevent", ToSend(value=b"[]", headers=batch, partition=0)


def no_json() -> Iterator[Bad]:
    whole = deployment()
    yield "truncated", "malformed_json", binary(whole[:-1])
    yield "truncated, structured", "malformed_json", ToSend(value=b'{"specversion":"1.0","id":"1"', partition=0)
    yield "not UTF-8", "malformed_json", binary(b'{"release_id":"\xff"}')
    yield "UTF-16", "malformed_json", binary(whole.decode().encode("utf-16"))
    yield "NaN", "malformed_json", binary(deployment(api_settings={"x": float("nan")}))
    yield "Infinity", "malformed_json", binary(deployment(api_settings={"x": float("inf")}))
    yield "nested arrays", "malformed_json", binary(b"[" * DEPTH + b"]" * DEPTH)
    yield "nested objects", "malformed_json", binary(b'{"a":' * DEPTH + b"1" + b"}" * DEPTH)
    yield "duplicate names", "malformed_json", binary(whole[:-1] + b',"environment_id":"f"}')
    yield "lone surrogate", "malformed_json", binary(deployment(comment="\ud800"))
    yield "two values", "malformed_json", binary(whole + whole)
    yield "ten megabytes", "too_large", binary(deployment(comment="x" * 10_000_000))


def no_data() -> Iterator[Bad]:
    spoiled: dict[str, dict[str, Any]] = {
        "number for a text": {"environment_id": 7},
        "text for a number": {"attempt": "1"},
        "true for a number": {"attempt": True},
        "array for an object": {"api_settings": []},
        "no UUID": {"release_id": "release-7"},
        "UUID in braces": {"release_id": "{0f8fad5b-d9cb-469f-a165-70867728950e}"},
        "null for what is required": {"organization_id": None},
        "attempt 0": {"attempt": 0},
        "attempt 2^63": {"attempt": 2**63},
        "revision 2^31": {"config_revision": 2**31},
        "text wider than its column": {"environment_id": "x" * 256},
        "astral text wider than its column": {"environment_id": "𝄞" * 128},
        "U+0000": {"comment": "a\0b"},
        "U+0000 in a name": {"api_settings": {"a\0": 1}},
    }
    for name, data in spoiled.items():
        yield name, "invalid_data", binary(deployment(**data))
    yield "no object", "invalid_data", binary(b"[1]")
    yield "null", "invalid_data", binary(b"null")
    yield "XML", "invalid_data", binary(b"<release/>", more=(("content-type", b"application/xml"),))


def no_event() -> Iterator[Bad]:
    data = deployment()
    for attribute in ("specversion", "id", "source", "type"):
        yield f"no {attribute}", "not_a_cloudevent", binary(data, without=attribute)
        yield f"empty {attribute}", "not_a_cloudevent", binary(data, {attribute: ""})
        repeated = ((f"ce_{attribute}", b"again"),)
        yield f"repeated {attribute}", "not_a_cloudevent", binary(data, more=repeated)
    yield "other specversion", "not_a_cloudevent", binary(data, {"specversion": "0.3"})
    yield "id wider than its column", "not_a_cloudevent", binary(data, {"id": "x" * 256})
    for name, time in (
        ("time without a zone", "2026-03-17T09:30:00"),
        ("year 0", "0000-03-17T09:30:00Z"),
        ("year 9999", "9999-12-31T23:59:59Z"),
        ("no time", "yesterday"),
        ("no day", "2026-02-30T00:00:00Z"),
    ):
        yield name, "not_a_cloudevent", binary(data, {"time": time})
    yield "unknown type", "unsupported_type", binary(data, {"type": "dev.rudder.deployment.paused.v1"})
    yield "unknown version", "unsupported_type", binary(data, {"type": "dev.rudder.deployment.requested.v2"})


async def test_bad_record_becomes_a_dead_letter_and_blocks_nothing(system: System) -> None:
    """One record of each kind, and a good one behind each group of them."""
    groups = [list(group) for group in (nothing_to_read(), no_json(), no_data(), no_event())]
    builders = [ReleaseRecords() for _ in groups]
    sent: dict[int, Bad] = {}  # by offset: all the bad ones go to one partition
    with system.worker() as worker:
        for group, builder in zip(groups, builders, strict=True):
            sent |= {len(sent) + index: bad for index, bad in enumerate(group)}
            await system.send([record for _, _, record in group])
            good = [builder.deploy("succeeded", release={**builder.fields}), builder.deploy("rolled_back")]
            await system.send([ToSend(value=r.value, key=r.key, headers=r.headers, partition=1) for r in good])
        await system.caught_up(worker)
        assert await worker.stop() == 0
    letters = {}
    for message in await system.read(system.topics.dead_letters):
        headers = headers_of(message)
        added = dict(headers[-len(ADDED) :])
        assert [name for name, _ in headers[-len(ADDED) :]] == [f"rudder-{name}" for name in ADDED]
        name, _, record = sent[int(added["rudder-offset"] or b"")]
        assert (message.key(), message.value(), headers[: -len(ADDED)]) == (record.key, record.value, record.headers), (
            name
        )
        place = (added["rudder-topic"], added["rudder-partition"], added["rudder-attempts"])
        assert place == (system.topics.events.encode(), b"0", b"1"), name
        assert added["rudder-detail"], name
        assert name not in letters, f"{name} has two dead letters"
        letters[name] = (added["rudder-reason"] or b"").decode()
    assert letters == {name: reason for name, reason, _ in sent.values() if reason != TOMBSTONE}
    rows = await system.rows()
    assert {release["status"] for release in rows["releases"]} == {"ROLLED_BACK"}
    assert len(rows["releases"]) == len(builders)
    rejections = {row["topic_offset"]: row["reason"] for row in rows["release_event_rejections"]}
    assert rejections == {offset: reason for offset, (_, reason, _) in sent.items() if reason != TOMBSTONE}


async def test_repeated_bad_record_has_the_same_dead_letter_id(system: System) -> None:
    """A dead letter is published at least once; its reader recognises repeats by their `rudder-id`."""
    stranger, nameless = ReleaseRecords().deploy("started"), ToSend(value=b"\xff")
    with system.worker() as worker:
        await system.send([stranger, nameless, stranger, nameless])
        await system.caught_up(worker)
    letters = await system.read(system.topics.dead_letters)
    ids = [dict(headers_of(letter))["rudder-id"] for letter in letters]
    assert len(letters) == 4
    assert len(set(ids)) == 3  # a record without identity is known by its position, so its repeat has another id
    assert len((await system.rows())["release_event_rejections"]) == 3
