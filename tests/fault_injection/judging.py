"""What there is in the end, judged twice: by `verify`, and by the model that knows the contract alone."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import Message

from tests.conformance.contents import WORKERS_TABLES, contents
from tests.conformance.producers import headers_of
from tests.end_to_end.stage import Stage
from tests.end_to_end.verifying import compared
from tests.oracle.records import Published, Record
from tests.oracle.second_opinion import SecondOpinion
from tests.properties.two_opinions import NAMESPACE, in_order, promised, rows_of_model

_POINTERS = "app_environments"
_FINDINGS_MAX = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """`complaints`: what either of them finds. `more_published`: how many records of the output topics an undisturbed
    worker would not have published, as they say again what was said: so much harm was felt.
    """

    complaints: tuple[str, ...]
    more_published: int


async def judged(stage: Stage, environments: list[dict[str, Any]]) -> Judgement:
    """`environments` are the rows of `app_environments` before the first event."""
    found = await _of_verify(stage)
    topics = stage.topics
    opinion = SecondOpinion(namespace=NAMESPACE, environments=environments)
    # All events of a release are in one partition, so their order is told by their places.
    for message in await stage.read(topics.events):
        opinion.handle(_record(message))
    statuses = {topic: await stage.read(topic) for topic in (topics.deployment_status, topics.release_status)}
    letters = await stage.read(topics.dead_letters)
    found += [f"model: {line}" for line in _rows_that_differ(opinion, await contents(stage.database_url))]
    found += [f"model: {line}" for line in _statuses_that_differ(opinion, statuses, topics.deployment_status)]
    found += [f"model: {line}" for line in _letters_that_differ(opinion, letters)]
    published = sum(map(len, statuses.values())) + len(letters)
    return Judgement(complaints=tuple(found), more_published=published - len(opinion.published))


async def _of_verify(stage: Stage) -> list[str]:
    report = await compared(stage, findings_max=_FINDINGS_MAX)
    left = {name: report["counts"][name] for name in ("uncommitted", "unverifiable", "foreign")}
    found = [f"verify: {finding}" for finding in report["findings"]]
    return [*found, *(f"verify: {count} {name}" for name, count in left.items() if count)]


def _rows_that_differ(opinion: SecondOpinion, rows: Mapping[str, list[dict[str, Any]]]) -> Iterator[str]:
    expected = rows_of_model(opinion)
    found = promised({table: [dict(row) for row in rows[table]] for table in WORKERS_TABLES})
    found[_POINTERS] = in_order(rows[_POINTERS])
    for table in (*WORKERS_TABLES, _POINTERS):
        for row in found[table]:
            if row not in expected[table]:
                yield f"{table}: found {row}"
        for row in expected[table]:
            if row not in found[table]:
                yield f"{table}: missed {row}"
        if len(found[table]) != len(expected[table]):
            yield f"{table}: {len(found[table])} rows, expected {len(expected[table])}"


def _statuses_that_differ(
    opinion: SecondOpinion, statuses: Mapping[str, list[Message]], of_deployments: str
) -> Iterator[str]:
    """Per release in order, the first of each id, and what it says; a repeat says the same."""
    expected: dict[tuple[str, str | None], list[str]] = defaultdict(list)
    said: dict[str, Published] = {}
    for one in opinion.published:
        about = "deployment" if ".deployment." in one.kind else "release"
        if one.kind != "dead-letter" and one.id not in said:
            said[one.id] = one
            expected[about, one.key].append(one.id)
    found: dict[tuple[str, str | None], list[str]] = defaultdict(list)
    first: dict[str, Message] = {}
    for topic, messages in statuses.items():
        about = "deployment" if topic == of_deployments else "release"
        for message in messages:
            key = (message.key() or b"").decode()  # type: ignore[union-attr]
            id_ = (dict(headers_of(message))["ce_id"] or b"").decode()
            if id_ not in first:
                first[id_] = message
                found[about, key].append(id_)
                if id_ in said and json.loads(message.value() or b"") != said[id_].data:
                    yield f"status event {id_} says {message.value()!r}, expected {said[id_].data}"
            elif (first[id_].value(), headers_of(first[id_])) != (message.value(), headers_of(message)):
                yield f"status event {id_} says two things"
    for about in expected.keys() | found.keys():
        if found[about] != expected[about]:
            yield f"status events of {about}: found {found[about]}, expected {expected[about]}"


def _letters_that_differ(opinion: SecondOpinion, letters: list[Message]) -> Iterator[str]:
    """Each rejection's letter is there, for each of its records; further ones repeat one of them."""
    expected = {
        (one.id, one.data["rudder-partition"], one.data["rudder-offset"]): one
        for one in opinion.published
        if one.kind == "dead-letter"
    }
    reasons = {(one.id, one.data["rudder-reason"]) for one in expected.values()}
    found = set()
    for message in letters:
        headers = {name: (text or b"").decode("utf-8", "replace") for name, text in headers_of(message)}
        place = headers["rudder-id"], int(headers["rudder-partition"]), int(headers["rudder-offset"])
        found.add(place)
        one = expected.get(place)
        if one is None:
            yield f"dead letter {place}, {headers['rudder-reason']}: not expected"
        elif (message.key(), message.value() or b"") != (one.data["key"], one.data["value"] or b""):
            yield f"dead letter {place}: not the original"
        elif (place[0], headers["rudder-reason"]) not in reasons:
            yield f"dead letter {place}: not for {headers['rudder-reason']}"
    for place in expected.keys() - found:
        yield f"dead letter {place}: missed"


def _record(message: Message) -> Record:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    key, value = message.key(), message.value()
    return Record(
        topic=topic,
        partition=partition,
        offset=offset,
        timestamp_ms=message.timestamp()[1],
        value=None if value is None else bytes(value),  # type: ignore[arg-type]
        headers=headers_of(message),
        key=None if key is None else bytes(key),  # type: ignore[arg-type]
    )
