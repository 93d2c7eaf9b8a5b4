"""Every recorded payload on a real database: each has rows, an activity, a reason, or is of no interest."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from schemas.adapters.foreign import NoInterest
from schemas.event import Invalid
from schemas.mapping import Mapping
from schemas.mapping_rules import MappingFile
from schemas.record import Record
from tests.conformance.stores import migrate, opened, process_until_settled
from tests.conformance.table_contents import rows
from worker.pipeline.resolution import resolved
from worker.pipeline.transaction import read_mapped
from worker.publishing.payloads import header_file
from worker.rules.state import Applied, Duplicate, Rejected, Stale

PAYLOADS = Path(__file__).parents[1] / "payloads"
COMPONENT = "7b1e0f0c-52f3-4a7e-8a34-6f5b8f0f2c11"
FIELDS = ("repository", "application", "service", "project", "pipeline", "namespace", "format")
FORMATS = Path(__file__).parents[2] / "docs/examples/formats"
NO_SOURCES = {"SOURCES.tsv", "README.md"}
REASONS = {"unsupported_type", "invalid_data", "not_a_cloudevent", "malformed_json", "invalid_transition"}
"""That recorded payloads may be rejected for, each in the table of its source."""


def mapping() -> Mapping:
    """Every name is a component; every record without an environment is of `prod`."""
    import yaml

    formats: dict[str, object] = {}
    for path in sorted(FORMATS.glob("*.yaml")):
        formats |= yaml.safe_load(path.read_text())["formats"]
    rules = [{"match": {field: "**"}, "component": COMPONENT, "environment": "prod"} for field in FIELDS]
    return Mapping(
        MappingFile.model_validate({"organization": "acme", "project": COMPONENT, "rules": rules, "formats": formats})
    )


def payloads() -> Iterator[tuple[str, Record]]:
    offset = 0
    for path in sorted(PAYLOADS.rglob("*")):
        if not path.is_file() or path.name in NO_SOURCES or path.name.endswith(".headers.json"):
            continue
        beside = header_file(path)
        headers = json.loads(beside.read_bytes()) if beside.exists() else {}
        texts = path.read_bytes().splitlines() if path.suffix == ".jsonl" else [path.read_bytes()]
        for text in texts:
            offset += 1
            given = tuple((name, str(value).encode()) for name, value in headers.items())
            yield (
                f"{path.relative_to(PAYLOADS)}",
                Record(
                    topic="hooks",
                    partition=0,
                    offset=offset,
                    timestamp_ms=1_900_000_000_000,
                    key=None,
                    value=text,
                    headers=given,
                ),
            )


async def test_every_payload_has_an_outcome(database_url: str) -> None:
    await migrate(database_url)
    rules, outcomes = mapping(), Counter[str]()
    reasons: dict[str, str] = {}
    async with opened(database_url) as store:
        for name, record in payloads():
            message = read_mapped(record, rules, event_bytes_max=1_048_576)
            if isinstance(message, NoInterest):
                outcomes["no interest"] += 1
                continue
            [message] = await resolved([message], store)
            outcome = await process_until_settled(message, store)
            outcomes[type(outcome).__name__] += 1
            if isinstance(outcome, Rejected):
                assert isinstance(message.content, Invalid) or outcome.rejection.reason == "invalid_transition", name
                reasons[name] = outcome.rejection.reason
            else:
                assert isinstance(outcome, Applied | Stale | Duplicate)
    assert set(reasons.values()) <= REASONS, reasons
    assert outcomes["no interest"] > 80
    assert outcomes["Applied"] > 40
    logs = await rows(database_url, "release_activity_logs")
    assert {"GITHUB_RELEASE_PUBLISHED", "DEPLOYMENT_RUN"} <= {row["activity_type"] for row in logs}
