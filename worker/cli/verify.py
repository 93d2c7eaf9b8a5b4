"""`rudder-worker verify`: compare topics, tables and dead letters."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.detail import printable
from worker.cli.exits import EXIT_PROBLEM, clear_errors, warn, warn_of_unknown_names
from worker.rules.errors import ConfigurationError
from worker.service import log_setup
from worker.settings import Settings, load

if TYPE_CHECKING:
    from worker.verify.databases import Comparison
    from worker.verify.verification import Report


def verify(
    context: typer.Context,
    against: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Compare this database with RUDDER_DATABASE_URL instead, cell by cell."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    findings_max: Annotated[int, typer.Option(min=0, help="List at most this many findings; all are counted.")] = 100,
    scratch: Annotated[
        Path | None,
        typer.Option(help="Folder for a temporary file of about 3 KB per event. Default: the system's."),
    ] = None,
) -> None:
    """Compare the input topics, the tables, the status topics and the dead letters; or two databases.

    Workers may run meanwhile. Findings are lost, doubled, invented, out of order or contradictory; with any, the exit
    code is 1. Needs read access only and joins no group. Rows from before a topic was deleted and created again are
    counted and not compared.
    """
    with clear_errors():
        log_setup.configure(level="warning", log_format=context.obj or "console")
        settings = load()
        warn_of_unknown_names()
        if scratch is not None and not scratch.is_dir():
            raise ConfigurationError(f"--scratch: {scratch} is not a folder; create it or name another")
        if against is not None:
            _compare(settings, against, findings_max, as_json=as_json)
            return
        report = asyncio.run(_verified(settings, findings_max, scratch))
        if as_json:
            print(json.dumps(report.as_json(), ensure_ascii=False, indent=2))
        else:
            _print(report)
        if report.findings.total:
            raise typer.Exit(EXIT_PROBLEM)
        if not report.counts["records"]:
            warn(
                "the input topics hold no records, so no row was explained; check RUDDER_INPUT_TOPICS and the retention"
            )
        elif report.counts["uncommitted"] == report.counts["records"]:
            group = settings.group_id
            warn(f"group {group} has committed no offsets, so no record had to be handled; check RUDDER_GROUP_ID")


async def _verified(settings: Settings, findings_max: int, scratch: Path | None) -> "Report":
    from worker.assembly.databases import table_reader
    from worker.assembly.kafka_clients import topic_reader
    from worker.assembly.operator_commands import verification_plan
    from worker.verify.verification import verify

    plan = verification_plan(settings, findings_max=findings_max, scratch_folder=scratch)
    tables, topics = table_reader(settings), topic_reader(settings)
    async with AsyncExitStack() as closing:
        closing.push_async_callback(tables.close)
        await tables.check()
        closing.push_async_callback(topics.stop)
        await topics.start()
        return await verify(plan, topics, tables)


def _print(report: "Report") -> None:
    from worker.verify.findings import Kind
    from worker.verify.verification import COUNTS

    findings = report.findings
    for finding in findings.kept:
        print(finding.line())
    if (unlisted := findings.total - len(findings.kept)) > 0:
        print(f"… and {unlisted} more; list them with --findings-max {findings.total}")
    for gap in report.expired:
        print(printable(gap.line()))
    for name, meaning in COUNTS.items():
        print(f"{report.counts[name]:>12,} {meaning}")
    print(f"{findings.total:>12,} findings")
    for kind in Kind:
        if findings.by_kind[kind]:
            print(f"{findings.by_kind[kind]:>12,} {kind}: {kind.meaning}")


def _compare(settings: Settings, against: str, differences_max: int, *, as_json: bool) -> None:
    from worker.verify.databases import COUNTS, EXPLANATIONS

    comparison = asyncio.run(_compared(settings, against, differences_max))
    if as_json:
        print(json.dumps(comparison.as_json(), ensure_ascii=False, indent=2))
    else:
        for difference in comparison.kept:
            print(difference.line())
        if (unlisted := comparison.total - len(comparison.kept)) > 0:
            print(f"… and {unlisted} more; list them with --findings-max {comparison.total}")
        for name, meaning in COUNTS.items():
            print(f"{comparison.counts[name]:>12,} {meaning}")
        print(f"{comparison.total:>12,} differences")
        for (table, side), count in sorted(comparison.by_table.items()):
            print(f"{count:>12,} {table}: {side}")
        if comparison.total:
            print("What differs without a fault:")
            for line in EXPLANATIONS:
                print(f"- {line}")
    if comparison.total:
        raise typer.Exit(EXIT_PROBLEM)


async def _compared(settings: Settings, against: str, differences_max: int) -> "Comparison":
    from pydantic import SecretStr

    from worker.assembly.databases import table_reader
    from worker.verify.databases import compare

    here = table_reader(settings)
    try:
        there = table_reader(settings.model_copy(update={"database_url": SecretStr(against)}))
    except ConfigurationError as error:
        raise ConfigurationError(str(error).replace("RUDDER_DATABASE_URL", "--against")) from error
    async with AsyncExitStack() as closing:
        closing.push_async_callback(here.close)
        closing.push_async_callback(there.close)
        await here.check()
        await there.check()
        return await compare(here, there, differences_max=differences_max)
