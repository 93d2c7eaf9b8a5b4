"""Ids, types, names, keys and headers of records add no line to the log and no control sequence to a terminal."""

import json
import re
from dataclasses import replace
from typing import Literal

import pytest

from tests.conformance.producers import ToSend, headers_of
from tests.end_to_end.release_records import ReleaseRecords
from tests.end_to_end.system import System
from tests.end_to_end.worker_process import WorkerProcess

COLOURS = re.compile(r"\x1b\[(?!8m)[0-9;]*m")
CONTROLS = "\r\n\x1b[2J\x1b[8m\x1b]0;t\x07\x00\x7f\x85\x9b2J"
TURNING = "\u202e\u2066\u200b\u2028\u2029\ufeff\U000e0041"
FORGED = '\n{"event": "forged"}\n2026-01-01T00:00:00Z [info     ] forged'
HOSTILE = CONTROLS + TURNING + FORGED


def spoiled(record: ToSend, **attributes: str) -> ToSend:
    """The record with these attributes, a hostile key, and further headers with hostile names and values."""
    headers = tuple(
        (name, attributes.get(name.removeprefix("ce_"), "").encode() or raw) for name, raw in record.headers
    )
    more = ((HOSTILE, HOSTILE.encode()), (f"ce_{TURNING}", b"\xff"), ("rudder-reason", HOSTILE.encode()))
    return replace(record, key=HOSTILE.encode(), headers=(*headers, *more))


def records() -> list[ToSend]:
    """One applied event, and one rejected in each part: envelope, type, data and rules."""
    builder = ReleaseRecords()
    applied = builder.deploy(
        "succeeded", release={**builder.fields}, comment="\n".join([HOSTILE.replace("\0", "")] * 2)
    )
    plain = replace(applied, key=HOSTILE.encode(), headers=(*applied.headers, (HOSTILE, HOSTILE.encode())))
    started = builder.deploy("started")
    return [
        plain,
        spoiled(started, id=HOSTILE),
        spoiled(started, id="1" + TURNING, source="/" + TURNING, type="dev.rudder." + TURNING),
        replace(spoiled(started), headers=(*started.headers, ("ce_extra", b"\xff"), (HOSTILE, None))),
        replace(started, headers=(("content-type", f"application/cloudevents+{HOSTILE}".encode()),)),
        replace(builder.deploy("started", environment_id=""), value=json.dumps({HOSTILE: HOSTILE}).encode()),
        ReleaseRecords().record("release.submitted", {"organization_id": TURNING}),
    ]


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_record_contents_add_no_line_to_the_log(system: System, log_format: Literal["json", "console"]) -> None:
    """The log level is debug. The headers that the worker adds to dead letters are printable too, and come last."""
    settings = system.settings | {"RUDDER_LOG_LEVEL": "debug"}
    with WorkerProcess("--log-format", log_format, "run", settings=settings, folder=system.folder) as worker:
        await system.send(sent := records())
        await system.caught_up(worker)
        assert await worker.stop() == 0
    lines = worker.stderr.removesuffix("\n").split("\n")
    assert sum("message.completed" in line for line in lines) == len(sent)
    for line in lines:
        assert COLOURS.sub("", line).isprintable(), repr(line)
        if log_format == "json":
            assert json.loads(line)["event"] != "forged"
        else:
            assert not COLOURS.sub("", line).startswith(("{", "2026-01-01T00:00:00Z"))
    letters = await system.read(system.topics.dead_letters)
    assert len(letters) == len(sent) - 1
    for letter in letters:
        for name, value in headers_of(letter)[-9:]:
            assert name.startswith("rudder-")
            assert (value or b"").decode().isprintable(), name
