"""What `publish` and `validate` are given becomes drafts, is completed, and is judged as the worker would."""

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest

from schemas.decode import decode
from schemas.event import Event
from schemas.record import Record
from schemas.types import EventType
from tests.unit.schemas.records import DEPLOYMENT_DATA, ENVELOPE, RELEASE_DATA, RELEASE_ID, STARTED
from tests.unit.schemas.schema_files import EXAMPLES
from worker.handling.drafts import Draft, Problem, complete, drafts, judge, publication
from worker.ports import Publication

NOW = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
BYTES_MAX = 1_048_576
VALID = sorted(path for type_ in EventType for path in (EXAMPLES / type_).glob("valid-*.json"))
MODES: tuple[Literal["binary", "structured"], ...] = ("binary", "structured")


def a_draft(data: object = RELEASE_DATA, **changes: object) -> Draft:
    event = {**ENVELOPE, "data": data, **changes}
    return Draft(place="x:1", value=json.dumps({k: v for k, v in event.items() if v is not ...}).encode())


def completed(draft: Draft) -> Any:
    return json.loads(complete(draft, id="new", source="/new", time=NOW).value)


def accepted(draft: Draft) -> Event:
    verdict = judge(draft, bytes_max=BYTES_MAX)
    assert isinstance(verdict, Event), verdict
    return verdict


def decoded(written: Publication) -> Event:
    record = Record(
        topic=written.topic,
        partition=0,
        offset=0,
        timestamp_ms=0,
        key=written.key,
        value=written.value,
        headers=written.headers,
    )
    event = decode(record)
    assert isinstance(event, Event), event
    return event


def test_every_line_is_a_draft_and_blank_lines_count_as_lines() -> None:
    found = list(drafts("a.jsonl", [b"\n", b'{"a":1}\n', b"  \n", b'\t{"b":2} \r\n', b"broken"]))
    assert found == [
        Draft(place="a.jsonl:2", value=b'{"a":1}'),
        Draft(place="a.jsonl:4", value=b'{"b":2}'),
        Draft(place="a.jsonl:5", value=b"broken"),
    ]


@pytest.mark.parametrize("lines", [[], [b""], [b"\n", b" \r\n"]])
def test_nothing_is_no_draft(lines: list[bytes]) -> None:
    assert list(drafts("x", lines)) == []


def test_a_text_over_many_lines_is_one_draft_where_it_began() -> None:
    text = json.dumps({**ENVELOPE, "data": dict(RELEASE_DATA)}, indent=2).encode()
    (draft,) = drafts("x", [b"\n", *text.splitlines(keepends=True)])
    assert draft.place == "x:2"
    assert json.loads(draft.value) == json.loads(text)


def test_lines_are_handed_on_as_they_come() -> None:
    """Standard input may stay open for ever: the first event must not wait for the second."""

    def lines() -> Iterator[bytes]:
        yield b"{}\n"
        raise AssertionError("nobody asked for the second line")

    assert next(drafts("-", lines())) == Draft(place="-:1", value=b"{}")


def test_an_event_gets_what_its_envelope_lacks() -> None:
    draft = Draft(place="x:1", value=b'{"type":"t","data":{}}')
    assert completed(draft) == {
        "specversion": "1.0",
        "id": "new",
        "source": "/new",
        "type": "t",
        "data": {},
        "time": "2026-03-01T09:30:00.000000Z",
    }
    assert complete(draft, id="new", source="/new", time=NOW).place == "x:1"


def test_what_an_event_says_of_itself_stays() -> None:
    """What is wrong, too: it is judged, not mended."""
    assert completed(a_draft(extension="x")) == {**ENVELOPE, "data": dict(RELEASE_DATA), "extension": "x"}
    assert completed(a_draft(id="", specversion="0.3", time=None))["id"] == ""
    assert completed(a_draft(id="", specversion="0.3", time=None))["specversion"] == "0.3"
    assert completed(a_draft(time=None))["time"] is None


@pytest.mark.parametrize("value", [b"broken", b"[]", b'"text"', b"1", b"null", b"\xff", b'{"a":1,"a":2}'])
def test_what_is_no_object_stays_as_it_is(value: bytes) -> None:
    draft = Draft(place="x:1", value=value)
    assert complete(draft, id="new", source="/new", time=NOW) == draft


def test_the_judge_is_the_worker_s_own() -> None:
    assert accepted(a_draft()).data.release_id.hex == RELEASE_ID.replace("-", "")


@pytest.mark.parametrize(
    ("draft", "reason", "detail"),
    [
        (Draft(place="x:1", value=b"broken"), "malformed_json", "not JSON"),
        (Draft(place="x:1", value=b"[]"), "not_a_cloudevent", "no object"),
        (Draft(place="x:1", value=b""), "malformed_json", ""),
        (a_draft(id=...), "not_a_cloudevent", "id: "),
        (a_draft(type="nope"), "unsupported_type", "nope"),
        (a_draft(data={**RELEASE_DATA, "organization_id": 1}), "invalid_data", "/data/organization_id: "),
        (a_draft(padding="x" * BYTES_MAX), "too_large", str(BYTES_MAX)),
    ],
)
def test_a_problem_has_its_place_its_reason_and_its_detail(draft: Draft, reason: str, detail: str) -> None:
    problem = judge(draft, bytes_max=BYTES_MAX)
    assert isinstance(problem, Problem)
    assert (problem.place, problem.reason) == ("x:1", reason)
    assert detail in problem.detail


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("path", VALID, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_what_is_published_is_what_was_judged(path: Path, mode: Literal["binary", "structured"]) -> None:
    """In both modes the worker will read the same event, on the release's own key."""
    draft = complete(Draft(place="x:1", value=path.read_bytes()), id="new", source="/new", time=NOW)
    event = accepted(draft)
    written = publication(draft, event, topic="in", content_mode=mode)
    assert decoded(written) == event
    assert written.topic == "in"
    assert written.key == str(event.data.release_id).encode()


@pytest.mark.parametrize("mode", MODES)
def test_the_key_is_lower_case_however_the_event_writes_it(mode: Literal["binary", "structured"]) -> None:
    """Two spellings of one release on two partitions would lose its order."""
    draft = a_draft({**RELEASE_DATA, "release_id": RELEASE_ID.upper()})
    assert publication(draft, accepted(draft), topic="in", content_mode=mode).key == RELEASE_ID.encode()


@pytest.mark.parametrize("mode", MODES)
def test_data_that_the_worker_does_not_know_is_passed_on(mode: Literal["binary", "structured"]) -> None:
    """There are other readers; and absent fields are not filled with defaults."""
    data = {**DEPLOYMENT_DATA, "pipeline": {"ü": [1, None]}}
    draft = a_draft(data, type=STARTED)
    written = publication(draft, accepted(draft), topic="in", content_mode=mode)
    value = json.loads(written.value or b"")
    assert (value if mode == "binary" else value["data"]) == data


@pytest.mark.parametrize("mode", MODES)
def test_data_as_base64_can_be_published_too(mode: Literal["binary", "structured"]) -> None:
    encoded = base64.b64encode(json.dumps(dict(RELEASE_DATA)).encode()).decode()
    draft = a_draft(..., data_base64=encoded)
    event = accepted(draft)
    assert decoded(publication(draft, event, topic="in", content_mode=mode)) == event


def test_structured_mode_is_the_publisher_s_own_text() -> None:
    draft = a_draft(extension="x")
    written = publication(draft, accepted(draft), topic="in", content_mode="structured")
    assert written.value == draft.value
    assert dict(written.headers)["content-type"] == b"application/cloudevents+json; charset=utf-8"


def test_binary_mode_has_the_attributes_as_headers() -> None:
    draft = a_draft()
    written = publication(draft, accepted(draft), topic="in", content_mode="binary")
    headers = dict(written.headers)
    assert headers["ce_id"] == b"run-1"
    assert headers["ce_source"] == b"https://ci.example.com"
    assert headers["ce_specversion"] == b"1.0"
    assert headers["content-type"] == b"application/json"
