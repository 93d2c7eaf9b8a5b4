"""The allow-list of sources at a real worker: who is not listed gets a dead letter, redriven or not, until listed."""

from dataclasses import replace

from tests.conformance.producers import ToSend, headers_of
from tests.end_to_end.release_records import ORGANIZATION, SOURCE, ReleaseRecords
from tests.end_to_end.system import System

REDRIVE = ("rudder-redrive", b"1")


def spoken_by(source: str, record: ToSend) -> ToSend:
    return replace(
        record, headers=tuple((name, source.encode() if name == "ce_source" else raw) for name, raw in record.headers)
    )


async def test_only_a_listed_source_has_an_effect(system: System) -> None:
    """A stranger's event is rejected, and so is its redrive; after a restart with a longer list its redrive applies."""
    sources = system.folder / "sources.toml"
    sources.write_text(f"[organizations]\n{ORGANIZATION} = ['{SOURCE}']\n", encoding="utf-8")
    settings = {"RUDDER_SOURCES_FILE": str(sources)}
    builder = ReleaseRecords()
    known = builder.deploy("succeeded", release={**builder.fields})
    stranger = spoken_by("/stranger", builder.deploy("rolled_back"))
    redriven = replace(stranger, headers=(*stranger.headers, REDRIVE))
    with system.worker("first", **settings) as worker:
        await system.send([known, stranger, stranger, redriven])
        await system.caught_up(worker)
        assert await worker.stop() == 0
    rows = await system.rows()
    assert [row["status"] for row in rows["release_deployments"]] == ["SUCCESS"]
    (rejection,) = rows["release_event_rejections"]
    assert (rejection["reason"], rejection["resolved_at"]) == ("source_not_allowed", None)
    letters = [dict(headers_of(letter)) for letter in await system.read(system.topics.dead_letters)]
    assert {letter["rudder-reason"] for letter in letters} == {b"source_not_allowed"}
    assert {letter["rudder-id"] for letter in letters} == {str(rejection["id"]).encode()}
    assert len(letters) == 3
    sources.write_text(f"[organizations]\n{ORGANIZATION} = ['{SOURCE}', '/stranger*']\n", encoding="utf-8")
    with system.worker("second", **settings) as worker:
        await system.send([redriven])
        await system.caught_up(worker)
        assert await worker.stop() == 0
    rows = await system.rows()
    assert [row["status"] for row in rows["release_deployments"]] == ["ROLLED_BACK"]
    (rejection,) = rows["release_event_rejections"]
    assert rejection["resolved_at"] is not None
