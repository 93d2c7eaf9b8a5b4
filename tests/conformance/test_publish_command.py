"""`publish` with a broker: what it sends, what it does not, and what it says of both."""

import array
import asyncio
import fcntl
import json
import os
import shlex
import signal
import subprocess
import termios
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

import pytest

from schemas.decode import decode
from schemas.event import Event
from schemas.record import Record
from tests.conformance.producers import read_all, record_of
from tests.testkit.topics import MakeTopic
from tests.unit.cli.command_line import (
    TIMEOUT_SECONDS,
    Ended,
    command,
    process_environment,
    rudder_worker,
    running_command,
)
from tests.unit.schemas.records import DEPLOYMENT_DATA, ENVELOPE, RELEASE_DATA, RELEASE_ID

pytestmark = pytest.mark.parametrize("bootstrap_servers", ["embedded"], indirect=True)

INVALID = b'{"type":"dev.rudder.nope.v1"}'


def line(event_id: str, **changes: Any) -> bytes:
    """A sound event on one line."""
    return json.dumps({**ENVELOPE, "id": event_id, "data": dict(RELEASE_DATA), **changes}).encode() + b"\n"


class PublishStep:
    """The command against one topic of its own."""

    def __init__(self, *, bootstrap_servers: str, topic: str, folder: Path) -> None:
        self._bootstrap_servers = bootstrap_servers
        self.topic = topic
        self.folder = folder
        self.environment = {
            "RUDDER_KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
            "RUDDER_INPUT_TOPICS": f"{topic},another.{topic}",
        }

    async def publish(self, *arguments: str, stdin: bytes = b"") -> Ended:
        return await asyncio.to_thread(
            rudder_worker, "publish", *arguments, folder=self.folder, environment=self.environment, stdin=stdin
        )

    async def records(self) -> list[Record]:
        messages = await asyncio.to_thread(read_all, self._bootstrap_servers, self.topic)
        return [record_of(message) for message in messages]

    async def event_ids(self) -> list[str]:
        return [decoded(record).id for record in await self.records()]

    def waiting_for_input(self, *arguments: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
        """The command with its standard input open, as at a terminal."""
        return running_command(["publish", *arguments], folder=self.folder, environment=self.environment)


@pytest.fixture
async def publishing(bootstrap_servers: str, topics: MakeTopic, tmp_path: Path) -> PublishStep:
    return PublishStep(bootstrap_servers=bootstrap_servers, topic=await topics(name_hint="publish"), folder=tmp_path)


def decoded(record: Record) -> Event:
    """The event as the worker reads it."""
    event = decode(record)
    assert isinstance(event, Event), event
    return event


def unread_bytes(pipe: IO[bytes]) -> int:
    """How much of what was written to a pipe its reader has not yet taken."""
    count = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]


@pytest.mark.parametrize("event_type", ["deployment.started", "dev.rudder.deployment.started.v1"])
@pytest.mark.parametrize("mode", ["binary", "structured"])
async def test_event_from_flags_is_published_as_given(publishing: PublishStep, mode: str, event_type: str) -> None:
    """On the first input topic, keyed by its release, in the mode that was asked for."""
    flags = ["--type", event_type, "--data", json.dumps({**DEPLOYMENT_DATA, "comment": "für alle"})]
    flags += ["--id", "run-7", "--source", "/me", "--time", "2026-03-01T09:30:00+01:00", "--mode", mode]
    ended = await publishing.publish(*flags)
    assert (ended.code, ended.problem) == (0, f"1 event sent to {publishing.topic}")
    assert ended.out == f"run-7 {publishing.topic}/0@0\n"
    (record,) = await publishing.records()
    assert record.key == RELEASE_ID.encode()
    event = decoded(record)
    assert (event.id, event.source, event.type) == ("run-7", "/me", "dev.rudder.deployment.started.v1")
    assert event.time.isoformat() == "2026-03-01T08:30:00+00:00"
    assert event.data.comment == "für alle"
    content_type = dict(record.headers)["content-type"] or b""
    assert content_type.startswith(b"application/cloudevents" if mode == "structured" else b"application/json")
    assert ("ce_id" in dict(record.headers)) == (mode == "binary")


async def test_event_without_id_and_time_gets_new_ones(publishing: PublishStep) -> None:
    """Two calls are two events, not one and its duplicate; a line says so."""
    flags = ["--type", "release.submitted", "--data", json.dumps(dict(RELEASE_DATA)), "--json"]
    ended = [await publishing.publish(*flags) for _ in range(2)]
    assert all("1 event without an id got a random one" in each.problem for each in ended)
    content = [json.loads(each.out) for each in ended]
    first, second = [decoded(record) for record in await publishing.records()]
    assert first.id != second.id
    assert first.source == "/rudder-worker/publish"
    assert content == [
        {"id": event.id, "topic": publishing.topic, "partition": 0, "offset": offset}
        for offset, event in enumerate([first, second])
    ]


async def test_topic_can_be_named(publishing: PublishStep, topics: MakeTopic) -> None:
    other = await topics(name_hint="other")
    ended = await publishing.publish("--topic", other, stdin=line("a"))
    assert ended.out == f"a {other}/0@0\n"
    assert await publishing.records() == []


@pytest.mark.parametrize("as_json", [False, True])
async def test_file_of_lines_is_sent_in_order(publishing: PublishStep, as_json: bool) -> None:
    (publishing.folder / "events.jsonl").write_bytes(line("a") + b"\n" + line("b") + line("c"))
    ended = await publishing.publish("--file", "events.jsonl", *(["--json"] if as_json else []))
    assert (ended.code, ended.problem) == (0, f"3 events sent to {publishing.topic}")
    assert await publishing.event_ids() == ["a", "b", "c"]
    if as_json:
        assert [json.loads(content)["id"] for content in ended.out.splitlines()] == ["a", "b", "c"]
        assert [json.loads(content)["offset"] for content in ended.out.splitlines()] == [0, 1, 2]
    else:
        assert ended.out.splitlines() == [f"{name} {publishing.topic}/0@{at}" for at, name in enumerate("abc")]


async def test_pretty_printed_file_is_one_event(publishing: PublishStep) -> None:
    (publishing.folder / "event.json").write_text(json.dumps(json.loads(line("a")), indent=4))
    assert (await publishing.publish("--file", "event.json")).code == 0
    assert await publishing.event_ids() == ["a"]


async def test_file_with_an_invalid_third_line_sends_nothing(publishing: PublishStep) -> None:
    """It is mended and sent again as a whole, without duplicates to think about."""
    (publishing.folder / "events.jsonl").write_bytes(line("a") + line("b") + INVALID + b"\n" + line("d"))
    ended = await publishing.publish("--file", "events.jsonl")
    assert (ended.code, ended.out) == (1, "")
    assert ended.problem.startswith("events.jsonl:3: unsupported_type: ")
    assert await publishing.records() == []


@pytest.mark.parametrize("arguments", [[], ["--file", "-"]])
async def test_stdin_is_sent_up_to_the_first_invalid_line(publishing: PublishStep, arguments: list[str]) -> None:
    """And says which it was, and that nothing after it was sent."""
    ended = await publishing.publish(*arguments, stdin=line("a") + line("b") + INVALID + b"\n" + line("d"))
    assert ended.code == 1
    assert [content.split()[0] for content in ended.out.splitlines()] == ["a", "b"]
    assert ended.problem.startswith("-:3: unsupported_type: ")
    assert ended.problem.endswith("; 2 events sent, and nothing after it")
    assert await publishing.event_ids() == ["a", "b"]


async def test_empty_input_sends_nothing(publishing: PublishStep) -> None:
    ended = await publishing.publish(stdin=b"\n")
    assert (ended.code, ended.out) == (1, "")
    assert ended.problem.startswith("standard input has no event; nothing was sent")
    ended = await publishing.publish("--allow-empty", stdin=b"\n")
    assert (ended.code, ended.out, ended.problem) == (0, "", f"0 events sent to {publishing.topic}")
    assert await publishing.records() == []


async def test_stdin_is_sent_as_it_arrives(publishing: PublishStep) -> None:
    """The first event is acknowledged while the second is not written yet."""
    with publishing.waiting_for_input() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for at, name in enumerate("ab"):
            process.stdin.write(line(name))
            process.stdin.flush()
            async with asyncio.timeout(TIMEOUT_SECONDS):
                content = await asyncio.to_thread(process.stdout.readline)
            assert content.decode() == f"{name} {publishing.topic}/0@{at}\n"
        process.stdin.close()
        assert await asyncio.to_thread(process.wait, TIMEOUT_SECONDS) == 0


async def test_interruption_ends_the_wait_for_input(publishing: PublishStep) -> None:
    """Ctrl-C at a terminal: exit code 130, at once, and no traceback."""
    with publishing.waiting_for_input() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(line("a"))
        process.stdin.flush()
        assert await asyncio.to_thread(process.stdout.readline)
        process.stdin.write(b'{"type":')
        process.stdin.flush()
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while unread_bytes(process.stdin):  # it has taken the beginning of a line, and waits for the rest
                await asyncio.sleep(0)
        process.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(process.wait, 15.0) == 130
        assert b"Traceback" not in process.stderr.read()


async def test_event_larger_than_the_topic_allows_is_one_line(publishing: PublishStep, topics: MakeTopic) -> None:
    small = await topics(name_hint="small", configs={"max.message.bytes": "1000"})
    event = line("a", data={**RELEASE_DATA, "padding": os.urandom(5_000).hex()})  # which no compression makes small
    ended = await publishing.publish("--topic", small, stdin=event)
    assert (ended.code, ended.out) == (2, "")
    assert f"topic {small} refuses a record of" in ended.problem


@pytest.mark.parametrize("mode", ["binary", "structured"])
async def test_every_attribute_is_sent_unchanged(publishing: PublishStep, mode: str) -> None:
    """In binary mode `subject` was replaced and the extensions were dropped."""
    extensions = {"subject": "shop", "dataschema": "https://acme.example/s", "traceparent": "00-ab-cd-01", "tries": 3}
    given = line("a", partitionkey="k", datacontenttype="application/vnd.acme+json", dryrun=True, **extensions)
    assert (await publishing.publish("--mode", mode, stdin=given)).code == 0
    (record,) = await publishing.records()
    headers, value = dict(record.headers), json.loads(record.value or b"")
    if mode == "structured":
        assert value == json.loads(given)
    else:
        expected = {**extensions, "partitionkey": "k", "dryrun": "true", "time": json.loads(given)["time"]}
        assert {name: (headers[f"ce_{name}"] or b"").decode() for name in expected} == {
            n: str(v) for n, v in expected.items()
        }
        assert headers["content-type"] == b"application/vnd.acme+json"
    assert record.key == RELEASE_ID.encode()


CI_JOB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_REPOSITORY": "acme/shop",
    "GITHUB_RUN_ID": "77",
    "GITHUB_RUN_ATTEMPT": "1",
    "GITHUB_JOB": "deploy",
}


async def test_repeated_step_of_a_ci_job_sends_the_same_id(publishing: PublishStep) -> None:
    """A new id each time made a second deployment of one that was reported twice."""
    publishing.environment |= CI_JOB
    flags = ["--data", json.dumps(dict(DEPLOYMENT_DATA))]
    for short in ("deployment.started", "deployment.succeeded", "deployment.succeeded"):
        ended = await publishing.publish("--type", short, *flags)
        assert "derived from the GitHub Actions run 77/1/deploy" in ended.problem
    started, succeeded, again = [decoded(record) for record in await publishing.records()]
    assert {event.source for event in (started, succeeded, again)} == {"https://github.com/acme/shop"}
    assert started.id != succeeded.id == again.id


async def test_named_run_repeats_its_ids(publishing: PublishStep) -> None:
    events = json.dumps([{"type": f"release.{name}", "data": dict(RELEASE_DATA)} for name in ("submitted", "approved")])
    for run in ("x7k2p", "x7k2p", "b4d9q"):
        assert (await publishing.publish("--run", run, "--source", "/tekton/ci", stdin=events.encode())).code == 0
    ids = await publishing.event_ids()
    assert ids[:2] == ids[2:4]
    assert len(set(ids)) == 4


async def test_redriven_event_has_the_header(publishing: PublishStep) -> None:
    assert (await publishing.publish("--redrive", stdin=line("a"))).code == 0
    (record,) = await publishing.records()
    assert dict(record.headers)["rudder-redrive"] == b"1"


async def test_ascii_terminal_does_not_change_what_is_sent(publishing: PublishStep) -> None:
    """Python writes to it in ASCII, and the second event's id is none."""
    publishing.environment["PYTHONIOENCODING"] = "ascii"
    given = line("a") + line("grüße 🚀") + line("c")
    for arguments in ([], ["--json"]):
        ended = await publishing.publish(*arguments, stdin=given)
        assert (ended.code, ended.problem) == (0, f"3 events sent to {publishing.topic}")
    assert [json.loads(content)["id"] for content in ended.out.splitlines()] == ["a", "grüße 🚀", "c"]
    assert await publishing.event_ids() == ["a", "grüße 🚀", "c"] * 2


@pytest.mark.parametrize("redirected", ["| head -1", ">&-", "2>&1 | head -1"])
async def test_closed_stdout_does_not_change_what_is_sent(publishing: PublishStep, redirected: str) -> None:
    """`head` is gone after the first line; 2 of 3,000 events were sent, without a word."""
    count = 50
    (publishing.folder / "events.jsonl").write_bytes(b"".join(line(str(number)) for number in range(count)))
    script = f"set -o pipefail; {shlex.join(command(['publish', '--file', 'events.jsonl']))} {redirected}"
    shell = await asyncio.create_subprocess_exec(
        "bash", "-c", script, cwd=publishing.folder, env=process_environment(publishing.environment),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await shell.communicate()
    assert shell.returncode == 0
    if "2>&1" not in redirected:
        assert errors.decode() == f"rudder-worker: {count} events sent to {publishing.topic}\n"
    assert await publishing.event_ids() == [str(number) for number in range(count)]
