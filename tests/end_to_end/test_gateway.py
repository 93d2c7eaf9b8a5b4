"""The gateway on a real broker, with real HTTP clients: what is answered with 202 is in Kafka, unchanged, and nothing
else is.
"""

import asyncio
import gzip
import json
import os
import re
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from confluent_kafka import Message

from schemas.decode import decode
from schemas.event import Event
from schemas.record import Record
from tests.conformance.deadlines import until
from tests.conformance.producers import read_all
from tests.end_to_end.gateway_requests import (
    AZURE_SECRET,
    GITHUB_BODY,
    GITHUB_SECRET,
    GITLAB_BODY,
    GITLAB_SECRET,
    KEYS,
    PAYLOADS,
    PLATFORM_TOKEN,
    SECRETS,
    TOKEN,
    Gateway,
    basic,
    client_of,
    event,
    github_headers,
    signed_headers,
)
from tests.end_to_end.system import QUICK
from tests.end_to_end.worker_process import WorkerProcess
from tests.testkit.apache_kafka import ApacheKafka
from tests.testkit.topics import MakeTopic
from worker.demo.broker import free_port
from worker.gateway.http_binding import STRUCTURED

ON_EMBEDDED = pytest.mark.parametrize("bootstrap_servers", ["embedded"], indirect=True)
ON_APACHE = pytest.mark.parametrize("bootstrap_servers", ["apache"], indirect=True)
PROBLEM = "urn:rudder:problem:"


@pytest.fixture
async def topic(topics: MakeTopic) -> str:
    return await topics(partitions=4, name_hint="events")


def started(bootstrap_servers: str, topic: str, folder: Path, **settings: str) -> tuple[WorkerProcess, int]:
    """A gateway that was just started, and its public port."""
    keys, port = folder / "keys.toml", free_port()
    keys.write_text(KEYS, encoding="utf-8")
    process = WorkerProcess(
        "gateway",
        settings={
            **QUICK,
            "RUDDER_KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
            "RUDDER_INPUT_TOPICS": topic,
            "RUDDER_GATEWAY_KEYS_FILE": str(keys),
            "RUDDER_GATEWAY_PORT": str(port),
            "RUDDER_HTTP_PORT": str(free_port()),
            **settings,
        },
        folder=folder,
        name="gateway",
    )
    return process, port


@asynccontextmanager
async def running(bootstrap_servers: str, topic: str, folder: Path, **settings: str) -> AsyncIterator[Gateway]:
    """A gateway that is ready. No secret is in its output, and no error of its own."""
    process, port = started(bootstrap_servers, topic, folder, **settings)
    with process:
        await process.ready()
        async with client_of(port) as client:
            yield Gateway(process=process, client=client, port=port)
        assert "Traceback" not in process.stderr
        for secret in SECRETS:
            assert secret not in process.output()


@pytest.fixture
async def gateway(bootstrap_servers: str, topic: str, tmp_path: Path) -> AsyncIterator[Gateway]:
    async with running(bootstrap_servers, topic, tmp_path) as found:
        yield found
        assert await found.process.stop() == 0


async def records(bootstrap_servers: str, topic: str) -> list[Message]:
    return await asyncio.to_thread(read_all, bootstrap_servers, topic)


def headers_of(message: Message) -> list[tuple[str, bytes]]:
    found = message.headers() or []
    assert isinstance(found, list)
    return [(name, value) for name, value in found if isinstance(value, bytes)]


def decoded(message: Message) -> Event:
    """As the worker reads the record."""
    found = decode(
        Record(
            topic="",
            partition=0,
            offset=0,
            timestamp_ms=message.timestamp()[1],
            key=message.key(),
            value=message.value(),
            headers=tuple(headers_of(message)),
        )
    )
    assert isinstance(found, Event), found
    return found


def assert_problem(answer: httpx.Response, status: int, kind: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert (document["status"], document["type"]) == (status, PROBLEM + kind)
    assert not any(secret in answer.text for secret in SECRETS)


async def test_event_in_each_mode_is_one_record(gateway: Gateway, bootstrap_servers: str, topic: str) -> None:
    """202 has the identity; the record decodes to the event, with the release id as its key."""
    structured, binary, bare = event(), event(), event()
    answers = [
        await gateway.event(structured),
        await gateway.client.post(
            "/events",
            content=json.dumps(binary["data"]),
            headers={f"ce-{name}": value for name, value in binary.items() if name != "data"}
            | {"content-type": "application/json", "authorization": f"Bearer {TOKEN}", "ce-subject": "%C3%BC"},
        ),
        await gateway.event(bare, **{"content-type": "application/json"}),
    ]
    sent = [structured, binary, bare]
    for answer, one in zip(answers, sent, strict=True):
        assert answer.status_code == 202, answer.text
        assert answer.json() == {name: one[name] for name in ("source", "id", "type")}
    found = {decoded(message).id: message for message in await records(bootstrap_servers, topic)}
    assert set(found) == {one["id"] for one in sent}
    for one in sent:
        message = found[one["id"]]
        assert message.key() == one["data"]["release_id"].encode()
        assert decoded(message).data.release_id == UUID(one["data"]["release_id"])
    assert dict(headers_of(found[binary["id"]]))["ce_subject"] == "ü".encode()
    assert found[structured["id"]].value() == json.dumps(structured).encode()


async def test_batch_is_accepted_as_a_whole(gateway: Gateway, bootstrap_servers: str, topic: str) -> None:
    headers = {"content-type": "application/cloudevents-batch+json", "authorization": f"Bearer {PLATFORM_TOKEN}"}
    batch = [event(), event(organization_id="other"), event()]
    wrong = [batch[0], {**batch[1], "data": {**batch[1]["data"], "release_id": "7"}}, {**batch[2], "type": "x"}]
    refused = await gateway.client.post("/events", content=json.dumps(wrong), headers=headers)
    assert_problem(refused, 400, "invalid_data")
    assert [error["pointer"] for error in refused.json()["errors"]] == ["/1/data/release_id", "/2/type"]
    assert await records(bootstrap_servers, topic) == []
    answer = await gateway.client.post("/events", content=json.dumps(batch), headers=headers)
    assert answer.status_code == 202, answer.text
    assert [one["id"] for one in answer.json()] == [one["id"] for one in batch]
    found = await records(bootstrap_servers, topic)
    assert {decoded(message).id for message in found} == {one["id"] for one in batch}
    empty = await gateway.client.post("/events", content="[]", headers=headers)
    assert (empty.status_code, empty.json()) == (202, [])


async def test_webhook_is_one_record_unchanged(gateway: Gateway, bootstrap_servers: str, topic: str) -> None:
    """The body is what GitHub signed; the headers are GitHub's own, without the signature."""
    headers = github_headers(GITHUB_BODY)
    answer = await gateway.client.post(
        "/webhooks/github", content=GITHUB_BODY, headers=headers | {"cookie": "a=secret", "x-github-token": "secret"}
    )
    assert answer.status_code == 202, answer.text
    document = answer.json()
    assert (document["format"], document["delivery"]) == ("github", headers["x-github-delivery"])
    [message] = await records(bootstrap_servers, topic)
    assert message.value() == GITHUB_BODY
    assert message.key() == b"github:Codertocat/Hello-World"
    assert sorted(headers_of(message)) == [
        ("content-type", b"application/json"),
        ("rudder-format", b"github"),
        ("x-github-delivery", headers["x-github-delivery"].encode()),
        ("x-github-event", b"deployment_status"),
    ]


@ON_EMBEDDED
async def test_each_way_to_authenticate_works(gateway: Gateway, bootstrap_servers: str, topic: str) -> None:
    argocd = (PAYLOADS / "argocd/captured/001.json").read_bytes()
    azure = (PAYLOADS / "azure-devops/run-state-changed.json").read_bytes()
    requests: list[tuple[str, bytes, dict[str, str]]] = [
        ("gitlab", GITLAB_BODY, {"x-gitlab-token": GITLAB_SECRET, "x-gitlab-event": "Deployment Hook"}),
        ("gitlab", GITLAB_BODY, signed_headers(GITLAB_BODY, id="7", seconds=int(time.time()))),
        ("argocd", argocd, {"authorization": f"Bearer {PLATFORM_TOKEN}"}),
        ("home-made", b'{"a": 1}', {"authorization": f"Bearer {PLATFORM_TOKEN}"}),
        ("azure-devops", azure, {"authorization": basic(AZURE_SECRET)}),
    ]
    for source, body, headers in requests:
        given = {"content-type": "application/json"} | headers
        answer = await gateway.client.post(f"/webhooks/{source}", content=body, headers=given)
        assert answer.status_code == 202, (source, answer.text)
    found = await records(bootstrap_servers, topic)
    formats = sorted(dict(headers_of(message))["rudder-format"] for message in found)
    assert formats == sorted(source.encode() for source, _, _ in requests)
    keys = [message.key() for message in found if dict(headers_of(message))["rudder-format"] == b"gitlab"]
    assert keys == [b"gitlab:example-group/demo"] * 2
    names = {name for message in found for name, _ in headers_of(message)}
    assert names == {
        "content-type", "rudder-format", "x-gitlab-event", "idempotency-key", "webhook-id", "webhook-timestamp",
    }  # fmt: skip


@ON_EMBEDDED
async def test_wrong_credentials_are_refused(gateway: Gateway, bootstrap_servers: str, topic: str) -> None:
    """Missing, wrong, replayed and another source's: 401 with a challenge; nothing is forwarded."""
    long_ago = signed_headers(GITLAB_BODY, id="7", seconds=int(time.time()) - 301)
    signed = signed_headers(GITLAB_BODY, id="7", seconds=int(time.time()))
    signature = github_headers(GITHUB_BODY)["x-hub-signature-256"]
    requests: list[tuple[str, bytes, dict[str, str]]] = [
        ("github", GITHUB_BODY, {}),
        ("github", GITHUB_BODY, {"x-hub-signature-256": "sha256=" + "0" * 64}),
        ("github", GITHUB_BODY + b" ", {"x-hub-signature-256": signature}),
        ("github", GITHUB_BODY, {"x-hub-signature": signature}),
        ("github", GITHUB_BODY, github_headers(GITHUB_BODY, secret=GITLAB_SECRET)),
        ("github", GITHUB_BODY, {"authorization": f"Bearer {PLATFORM_TOKEN}"}),
        ("gitlab", GITLAB_BODY, long_ago),
        ("gitlab", GITLAB_BODY, signed | {"idempotency-key": "8"}),
        ("gitlab", GITLAB_BODY, signed | {"webhook-timestamp": str(int(time.time()) + 1)}),
        ("gitlab", GITLAB_BODY, {"x-gitlab-token": GITLAB_SECRET + "x"}),
        ("argocd", b"{}", {"authorization": "Bearer"}),
        ("azure-devops", b"{}", {"authorization": basic("wrong")}),
    ]
    webhooks = [
        gateway.client.post(f"/webhooks/{source}", content=body, headers=headers) for source, body, headers in requests
    ]
    events = [
        gateway.client.post("/events", json=event(), headers=headers)
        for headers in ({}, {"authorization": "Bearer x"}, {"authorization": f"Bearer {TOKEN}x"})
    ]
    # All at once: the gateway keeps the connection of a refused request open for a moment.
    for answer in await asyncio.gather(*webhooks, *events):
        assert_problem(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert await records(bootstrap_servers, topic) == []


@ON_EMBEDDED
async def test_key_covers_only_its_own(gateway: Gateway, bootstrap_servers: str, topic: str) -> None:
    other = await gateway.event(event(organization_id="other"))
    assert_problem(other, 403, "forbidden")
    assert other.json()["errors"][0]["pointer"] == "/data/organization_id"
    body = json.dumps({"repository": {"full_name": "somewhere/else"}}).encode()
    assert_problem(await gateway.github(body), 403, "forbidden")
    assert_problem(await gateway.github(b"{}"), 403, "forbidden")
    assert await records(bootstrap_servers, topic) == []


@ON_EMBEDDED
async def test_answer_names_the_event_of_the_adapter(gateway: Gateway, bootstrap_servers: str, topic: str) -> None:
    """The identity is that which the worker derives; a ping has no effect, and is a record as well."""
    given = github_headers(GITHUB_BODY)
    answer = await gateway.client.post("/webhooks/github", content=GITHUB_BODY, headers=given)
    assert answer.json()["event"] == {
        "source": "https://github.com/Codertocat/Hello-World",
        "id": given["x-github-delivery"],
        "type": "dev.rudder.deployment.succeeded.v1",
    }
    ping = json.dumps({"zen": "x", "repository": {"full_name": "Codertocat/Hello-World"}}).encode()
    answer = await gateway.github(ping, **{"x-github-event": "ping"})
    assert (answer.status_code, answer.json()["no_interest"]) == (202, "ping"), answer.text
    assert len(await records(bootstrap_servers, topic)) == 2


@ON_EMBEDDED
async def test_foreign_cloudevent_is_accepted_as_an_event(gateway: Gateway, bootstrap_servers: str, topic: str) -> None:
    """As Knative sends GitHub's webhooks. The key must have the format among its webhooks, and cover the project."""
    foreign = event() | {
        "source": "https://github.com/Codertocat/Hello-World",
        "type": "dev.knative.source.github.deployment_status",
        "data": json.loads(GITHUB_BODY),
    }
    answer = await gateway.event(foreign, token=GITHUB_SECRET)
    assert answer.status_code == 202, answer.text
    assert answer.json() == {name: foreign[name] for name in ("source", "id", "type")}
    for data, token, status, kind, pointer in [
        (foreign["data"], TOKEN, 403, "forbidden", "/type"),
        ({**foreign["data"], "repository": {"full_name": "other/x"}}, GITHUB_SECRET, 403, "forbidden", ""),
        ({**foreign["data"], "deployment_status": 1}, GITHUB_SECRET, 400, "invalid_data", "/data/deployment_status"),
    ]:
        answer = await gateway.event({**foreign, "data": data}, token=token)
        assert_problem(answer, status, kind)
        assert answer.json()["errors"][0]["pointer"].startswith(pointer), answer.text
    [message] = await records(bootstrap_servers, topic)
    assert message.key() == b"github:Codertocat/Hello-World"
    assert dict(headers_of(message))["rudder-format"] == b"github"


@ON_EMBEDDED
async def test_payload_of_another_vendor_is_refused(gateway: Gateway, bootstrap_servers: str, topic: str) -> None:
    headers = {"x-gitlab-token": GITLAB_SECRET, "content-type": "application/json", "x-gitlab-event": "Deployment Hook"}
    answer = await gateway.client.post("/webhooks/gitlab", content=GITHUB_BODY, headers=headers)
    assert_problem(answer, 400, "invalid_data")
    assert answer.json()["errors"]
    assert await records(bootstrap_servers, topic) == []


@ON_EMBEDDED
async def test_bad_input_gets_a_clear_answer(gateway: Gateway, bootstrap_servers: str, topic: str) -> None:
    whole = json.dumps(event())
    for wrong, kind, pointer in [
        (whole[:-20], "malformed_json", ""),
        ('{"a": 1, "a": 1}', "malformed_json", ""),
        ("", "malformed_json", ""),
        ("[]", "not_a_cloudevent", ""),
        ("[" * 100_000, "malformed_json", ""),
        (GITHUB_BODY.decode(), "not_a_cloudevent", "/specversion"),
        (json.dumps({**event(), "type": "dev.rudder.deployment.suceeded.v1"}), "unsupported_type", "/type"),
        (json.dumps({**event(), "data": {}}), "invalid_data", "/data/release_id"),
        (json.dumps({**event(), "time": "2099-12-31T23:59:59Z"}), "invalid_data", "/time"),
        (json.dumps({**event(), "time": "9999-12-31T23:59:59Z"}), "not_a_cloudevent", "/time"),
        (json.dumps({**event(), "Extension": "x"}), "not_a_cloudevent", ""),
    ]:
        answer = await gateway.client.post(
            "/events",
            content=wrong,
            headers={"content-type": "application/cloudevents+json", "authorization": f"Bearer {TOKEN}"},
        )
        assert_problem(answer, 400, kind)
        assert answer.json()["errors"][0]["pointer"] == pointer, answer.text
    assert_problem(await gateway.github(b'{"repository": {"full_name": "Codertocat/x"}'), 400, "malformed_json")
    assert_problem(await gateway.github(b"[1]"), 400, "invalid_data")
    assert_problem(await gateway.github(GITHUB_BODY, **{"content-type": "text/plain"}), 415, "unsupported_media_type")
    assert await records(bootstrap_servers, topic) == []


@ON_EMBEDDED
async def test_paths_and_methods_are_closed(gateway: Gateway) -> None:
    client = gateway.client
    assert_problem(await client.get("/nothing"), 404, "not_found")
    assert_problem(await client.post("/events/", content=b"{}"), 404, "not_found")
    assert_problem(await client.post("/webhooks/unknown", content=b"{}"), 404, "not_found")
    assert_problem(await client.post("/webhooks/..%2Fevents", content=b"{}"), 404, "not_found")
    assert_problem(await client.get("/metrics"), 404, "not_found")
    answer = await client.get("/events")
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"
    assert (await client.get("/openapi.json")).json()["openapi"].startswith("3.1")


async def raw(port: int, request: bytes) -> bytes:
    """The answer to these bytes, to the end of the connection or of the first answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        await writer.drain()
        async with asyncio.timeout(60):
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            return head + (await reader.readexactly(int(length[1])) if length else b"")
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@ON_EMBEDDED
async def test_repeated_deciding_header_is_refused(gateway: Gateway, bootstrap_servers: str, topic: str) -> None:
    """Two programs could take different ones of them."""
    body = GITHUB_BODY
    headers = "".join(f"{name}: {value}\r\n" for name, value in github_headers(body).items())
    for repeated in ("x-hub-signature-256: sha256=0", "content-type: application/json", "x-github-event: push"):
        request = (
            f"POST /webhooks/github HTTP/1.1\r\nhost: x\r\n{headers}{repeated}\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        answer = await raw(gateway.port, request.encode() + body)
        assert answer.startswith(b"HTTP/1.1 400 "), repeated
        assert repeated.partition(":")[0].encode() in answer
    lengths = f"POST /events HTTP/1.1\r\nhost: x\r\n{headers}content-length: 2\r\ncontent-length: 3\r\n\r\n{{}}"
    assert (await raw(gateway.port, lengths.encode())).startswith(b"HTTP/1.1 400 ")
    both = (
        f"POST /events HTTP/1.1\r\nhost: x\r\n{headers}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    )
    assert (await raw(gateway.port, both.encode())).startswith(b"HTTP/1.1 400 ")
    assert await records(bootstrap_servers, topic) == []


@ON_EMBEDDED
async def test_large_body_is_refused_before_it_is_read(gateway: Gateway) -> None:
    """A declared length, an endless chunked body, and a body that is small only while it is compressed."""
    large = b"x" * 1_048_577
    assert_problem(await gateway.github(large), 413, "too_large")

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 65_536

    request = f"POST /events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: {STRUCTURED}\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(request.encode() + b"transfer-encoding: chunked\r\n\r\n")

    async def send() -> None:
        async for part in endless():
            writer.write(b"%x\r\n%s\r\n" % (len(part), part))
            await writer.drain()

    sending = asyncio.ensure_future(send())
    try:
        async with asyncio.timeout(60):
            assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
            # What follows is dropped, and not for ever.
            with suppress(ConnectionError):
                await sending
    finally:
        sending.cancel()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
    bomb = gzip.compress(b" " * 100_000_000)
    assert_problem(await gateway.github(bomb, **{"content-encoding": "gzip"}), 415, "unsupported_media_type")
    assert (await gateway.event(event())).status_code == 202


@ON_EMBEDDED
async def test_slow_clients_do_not_keep_others_out(bootstrap_servers: str, topic: str, tmp_path: Path) -> None:
    """With as many connections as the gateway takes, the one that has waited longest for its client is closed."""
    connections_max = 8 + 64
    async with running(
        bootstrap_servers, topic, tmp_path, RUDDER_IN_FLIGHT_RECORDS_MAX="8", RUDDER_CONCURRENCY="8"
    ) as gateway:
        slow: list[socket.socket] = []
        try:
            for number in range(2 * connections_max):
                connection = socket.create_connection(("127.0.0.1", gateway.port))
                slow.append(connection)
                if number % 2:  # half of them stop within the head, the others within the body
                    connection.sendall(b"POST /events HTTP/1.1\r\nhost: x\r\n")
                else:
                    connection.sendall(
                        b"POST /webhooks/github HTTP/1.1\r\nhost: x\r\nx-hub-signature-256: x\r\n"
                        b"content-length: 9\r\n\r\n{"
                    )
            for _ in range(connections_max):
                async with client_of(gateway.port) as client:
                    answer = await Gateway(process=gateway.process, client=client, port=gateway.port).event(event())
                    assert answer.status_code == 202, answer.text
            assert (await gateway.process.get("/livez")).status_code == 200
            text = (await gateway.process.get("/metrics")).text
            assert 'rudder_gateway_connections_closed_total{cause="too_many"}' in text
        finally:
            for connection in slow:
                connection.close()


@ON_EMBEDDED
async def test_curl_sends_what_the_page_shows(
    gateway: Gateway, bootstrap_servers: str, topic: str, tmp_path: Path
) -> None:
    """curl as a process, with Expect: 100-continue for the larger body."""
    body = tmp_path / "body.json"
    body.write_bytes(GITHUB_BODY)
    headers = [part for name, value in github_headers(GITHUB_BODY).items() for part in ("-H", f"{name}: {value}")]
    done = await asyncio.create_subprocess_exec(
        "curl", "-sS", "-w", "\n%{http_code}", *headers, "-H", "Expect: 100-continue", "--data-binary", f"@{body}",
        f"http://127.0.0.1:{gateway.port}/webhooks/github", stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await done.communicate()
    assert output.splitlines()[-1] == b"202"
    [message] = await records(bootstrap_servers, topic)
    assert message.value() == GITHUB_BODY


@ON_APACHE
async def test_killed_broker_loses_nothing_acknowledged(
    gateway: Gateway, bootstrap_servers: str, topic: str, apache_kafka: ApacheKafka
) -> None:
    """503 with Retry-After while Kafka cannot acknowledge; afterwards every event with 202 is there."""
    acknowledged: list[str] = []
    refused: list[httpx.Response] = []
    stop = asyncio.Event()

    async def send() -> None:
        async with client_of(gateway.port) as client:
            sender = Gateway(process=gateway.process, client=client, port=gateway.port)
            while not stop.is_set():
                one = event()
                answer = await sender.event(one)
                if answer.status_code == 202:
                    acknowledged.append(one["id"])
                else:
                    refused.append(answer)

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(send())
        await until(lambda: len(acknowledged) > 100, what="events are acknowledged")
        await asyncio.to_thread(apache_kafka.kill)
        await until(lambda: len(refused) > 8, what="events are refused")
        assert await gateway.process.status("/livez") == 200
        await until(lambda: _is(gateway, "/readyz", 503), what="it is not ready")
        before = len(acknowledged)
        await asyncio.to_thread(apache_kafka.start)
        await until(lambda: len(acknowledged) > before + 100, what=gateway.process.output)
        stop.set()
    for answer in refused:
        assert_problem(answer, 503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0
    found = {decoded(message).id for message in await records(bootstrap_servers, topic)}
    assert set(acknowledged) <= found
    await until(lambda: _is(gateway, "/readyz", 200), what="it is ready again")


@contextmanager
def suspended(kafka: ApacheKafka) -> Iterator[None]:
    """The broker's process is stopped: its connections stay open, and nothing answers."""
    assert kafka._child._process is not None
    os.kill(kafka._child._process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(kafka._child._process.pid, signal.SIGCONT)


@ON_APACHE
async def test_unresponsive_broker_is_answered_with_503(
    gateway: Gateway, bootstrap_servers: str, topic: str, apache_kafka: ApacheKafka
) -> None:
    """The client is answered while the record waits. It is written later, and a repeated event is the same event."""
    one = event()
    assert (await gateway.event(event())).status_code == 202
    with suspended(apache_kafka):
        assert_problem(await gateway.event(one), 503, "unavailable")
        await until(lambda: _is(gateway, "/readyz", 503), what="it is not ready")
        assert_problem(await gateway.event(event()), 503, "unavailable")  # at once
        assert await gateway.process.status("/livez") == 200
    await until(lambda: _is(gateway, "/readyz", 200), what="it is ready again")
    assert (await gateway.event(one)).status_code == 202
    await until(lambda: _in_flight(gateway, 0), what="nothing is in flight")
    found = [decoded(message).id for message in await records(bootstrap_servers, topic)]
    assert found.count(one["id"]) == 2


async def _is(gateway: Gateway, path: str, status: int) -> bool:
    return await gateway.process.status(path) == status


@ON_EMBEDDED
async def test_flood_of_one_key_leaves_the_rest_to_others(bootstrap_servers: str, topic: str, tmp_path: Path) -> None:
    """While acknowledgements take long, one key has half of the budget; beyond it there is 429."""
    settings = {"RUDDER_IN_FLIGHT_RECORDS_MAX": "8", "RUDDER_CONCURRENCY": "8", "RUDDER_KAFKA_LINGER_SECONDS": "3"}
    async with running(bootstrap_servers, topic, tmp_path, **settings) as gateway:
        flood = [asyncio.ensure_future(gateway.event(event())) for _ in range(5)]
        done, _ = await asyncio.wait(flood, return_when=asyncio.FIRST_COMPLETED)
        [first] = done
        assert_problem(await first, 429, "too_many_requests")
        assert int((await first).headers["retry-after"]) > 0
        other = asyncio.ensure_future(gateway.event(event(), token=PLATFORM_TOKEN))
        await until(lambda: _in_flight(gateway, 5), what="the other key's request is in flight")
        answers = [await one for one in flood]
        assert sorted(answer.status_code for answer in answers) == [202, 202, 202, 202, 429]
        assert (await other).status_code == 202


async def _in_flight(gateway: Gateway, count: int) -> bool:
    return f"rudder_in_flight_records {count}.0" in (await gateway.process.get("/metrics")).text


@ON_EMBEDDED
async def test_stop_finishes_what_is_in_progress(bootstrap_servers: str, topic: str, tmp_path: Path) -> None:
    """After SIGTERM no connection is accepted, and each answer of 202 is in Kafka."""
    acknowledged: list[str] = []
    async with running(bootstrap_servers, topic, tmp_path) as gateway:

        async def send() -> None:
            with suppress(httpx.TransportError):
                while True:
                    one = event()
                    answer = await gateway.event(one)
                    assert answer.status_code in {202, 503}
                    if answer.status_code == 202:
                        acknowledged.append(one["id"])

        sending = [asyncio.ensure_future(send()) for _ in range(8)]
        await until(lambda: len(acknowledged) > 50, what="events are acknowledged")
        gateway.process.send_signal(signal.SIGTERM)
        assert await gateway.process.ended() == 0
        await asyncio.gather(*sending)
    found = {decoded(message).id for message in await records(bootstrap_servers, topic)}
    assert set(acknowledged) <= found


@ON_EMBEDDED
async def test_metrics_count_requests_and_records(gateway: Gateway) -> None:
    assert (await gateway.event(event())).status_code == 202
    assert (await gateway.event(event(), token="wrong")).status_code == 401
    assert (await gateway.github()).status_code == 202
    text = (await gateway.process.get("/metrics")).text
    for line in (
        'rudder_gateway_requests_total{route="postEvents",status="202"} 1.0',
        'rudder_gateway_requests_total{route="postEvents",status="401"} 1.0',
        'rudder_gateway_requests_total{route="postWebhook",status="202"} 1.0',
        "rudder_gateway_request_seconds_count 2.0",
        "rudder_in_flight_records 0.0",
        "rudder_in_flight_bytes 0.0",
        'rudder_dependency_up{dependency="broker"} 1.0',
    ):
        assert line in text, line


@ON_EMBEDDED
async def test_keys_are_read_again_at_hang_up(gateway: Gateway, tmp_path: Path) -> None:
    """A wrong file changes nothing; a new secret is accepted without a restart, and the old one is not."""
    keys, new = tmp_path / "keys.toml", "another-token-of-the-pipelines"
    keys.write_text(KEYS.replace(TOKEN, "short"), encoding="utf-8")
    gateway.process.send_signal(signal.SIGHUP)
    await gateway.process.until(lambda: "gateway.keys_refused" in gateway.process.stderr, what="the file is refused")
    assert (await gateway.event(event())).status_code == 202
    keys.write_text(KEYS.replace(TOKEN, new), encoding="utf-8")
    gateway.process.send_signal(signal.SIGHUP)

    async def accepted() -> bool:
        return (await gateway.event(event(), token=new)).status_code == 202

    await until(accepted, what="the new token is accepted")
    assert_problem(await gateway.event(event()), 401, "unauthenticated")
    assert new not in gateway.process.output()


@ON_EMBEDDED
async def test_missing_topic_is_reported(bootstrap_servers: str, topic: str, tmp_path: Path) -> None:
    """/readyz names the topic; nothing is accepted, and nothing creates the topic."""
    missing = f"missing.{uuid4().hex}"
    process, port = started(bootstrap_servers, topic, tmp_path, RUDDER_GATEWAY_TOPIC=missing)
    with process:
        await until(lambda: _has_problem(process, "topics"), what=process.output)
        assert missing in (await process.get("/readyz")).json()["topics"]
        async with client_of(port) as client:
            answer = await Gateway(process=process, client=client, port=port).event(event())
            assert_problem(answer, 503, "unavailable")
        assert await process.stop() == 0
    assert "topic.unusable" in process.stderr


async def _has_problem(process: WorkerProcess, name: str) -> bool:
    try:
        return name in (await process.get("/readyz")).json()
    except httpx.HTTPError:
        return False


async def test_gateway_without_keys_does_not_start(tmp_path: Path) -> None:
    with WorkerProcess("gateway", settings={}, folder=tmp_path) as process:
        assert await process.ended() == 2
        assert process.stderr.count("\n") == 1
        assert "RUDDER_GATEWAY_KEYS_FILE is not set" in process.stderr
