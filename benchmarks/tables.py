"""The results as Markdown, as they stand in a terminal and in the README."""

import math
from collections.abc import Iterable, Iterator, Sequence

from benchmarks.goals import TIMES, Goal
from benchmarks.growth import Growth
from benchmarks.results import Results
from benchmarks.throughput import Standing


def markdown(results: Results, goals: Sequence[Goal]) -> str:
    """Return the whole report; what was not measured has no section."""
    return "\n".join(_lines(results, goals))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table; first columns are texts, the others numbers."""
    yield "| " + " | ".join(head) + " |"
    yield "|" + "|".join(["---", *["---:"] * (len(head) - 1)]) + "|"
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"


def figure(value: float) -> str:
    """Three digits that count, thousands apart."""
    if not math.isfinite(value):
        return "never"
    digits = 0 if abs(value) >= 100 or value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


def _lines(results: Results, goals: Sequence[Goal]) -> Iterator[str]:
    yield from _setting(results)
    if results.standings:
        yield from _throughput("Throughput", results.standings)
    if results.hot:
        yield from _throughput("Throughput of one release", results.hot)
    if results.latencies:
        yield from _latency(results)
    if results.memory:
        yield from _memory(results)
    if results.scalings:
        yield from _scaling(results)
    if results.growth:
        yield from _growth(results.growth)
    yield from _goals(goals)
    if results.differences:
        yield from ("", "**Wrong results:**", "", *(f"- {line}" for line in results.differences))


def _setting(results: Results) -> Iterator[str]:
    machine = results.machine
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    rounds = "one round" if results.sizes.rounds == 1 else f"medians of {results.sizes.rounds} rounds"
    yield f"`{results.command}`, {results.seconds / 60:.0f} minutes, {rounds}."
    yield ""
    yield (
        f"{machine.processor}, {machine.cores} cores, {machine.memory_gb:.0f} GB, {machine.system}, {machine.python}; "
        f"{packages}. 8 KiB written and flushed: {machine.flush_us:,.0f} µs; load before the run: {machine.load}."
    )
    yield f"{results.broker}. {results.database}. All on this one machine."


def _throughput(title: str, standings: Sequence[Standing]) -> Iterator[str]:
    head = ("contender", "events/s", "min", "max", "events", "own CPU µs/event", "broker's", "database's", "peak MB")
    plain = next((each.speed for each in standings if each.kind == "plain"), None)
    rows = []
    for standing in standings:
        if standing.speed is None or standing.costs is None:
            continue
        costs = standing.costs
        row = [
            standing.name + (" **(wrong)**" if standing.differences else ""),
            figure(standing.speed.median),
            figure(standing.speed.minimum),
            figure(standing.speed.maximum),
            f"{standing.events:,}" if standing.events else "",
            *(figure(cost) if cost else "" for cost in (costs.contender_us, costs.broker_us, costs.database_us)),
            f"{standing.rss_peak_bytes / 1_000_000:,.0f}" if standing.rss_peak_bytes else "",
        ]
        rows.append([*row, f"{standing.speed.median / plain.median:.2f}{TIMES}"] if plain else row)
    yield from ("", f"### {title}", "")
    yield from table([*head, "to the plain loop"] if plain else head, rows)
    yield ""
    yield from (
        f"- {each.name}: {each.missing or each.does}{' (left out)' if each.missing else ''}" for each in standings
    )


def _latency(results: Results) -> Iterator[str]:
    head = ("contender", "load", "events/s", "events", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "p99 of each round")
    yield from ("", "### Latency, from publishing to the status event", "")
    yield from table(
        head,
        (
            (
                each.contender,
                each.load.why,
                figure(each.load.events_per_second),
                f"{each.events:,}",
                *(figure(value) for value in (each.p50_ms, each.p99_ms, each.p999_ms, each.max_ms)),
                " ".join(figure(value) for value in each.rounds_p99_ms) + (f", {each.lost} lost" if each.lost else ""),
            )
            for each in results.latencies
        ),
    )


def _memory(results: Results) -> Iterator[str]:
    memory = results.memory
    if memory is None:
        return
    yield from ("", "### Memory, while a backlog drains", "")
    row = (
        memory.contender,
        f"{memory.backlog_events:,}",
        f"{memory.rss_peak_bytes / 1_000_000:,.0f}",
        f"{memory.rss_end_bytes / 1_000_000:,.0f}",
        f"{memory.seconds:,.0f}",
        figure(memory.events_per_second),
        f"{memory.cpu_share:.0%}",
    )
    yield from table(("contender", "backlog", "peak MB", "at the end MB", "seconds", "events/s", "of a core"), [row])


def _scaling(results: Results) -> Iterator[str]:
    yield from ("", "### Throughput against partitions and key skew", "")
    yield from table(
        ("dimension", "value", "events/s", "min", "max", "events"),
        (
            (
                each.dimension,
                each.value,
                figure(each.speed.median),
                figure(each.speed.minimum),
                figure(each.speed.maximum),
                f"{each.events:,}",
            )
            for each in results.scalings
        ),
    )


def _growth(growth: Growth) -> Iterator[str]:
    yield from ("", "### The database's CPU with a large activity log", "")
    yield from table(
        ("log entries before", "database's µs/event", "min", "max", "events/s"),
        (
            (entries, *(figure(value) for value in (us.median, us.minimum, us.maximum, speed.median)))
            for entries, us, speed in (
                ("none", growth.empty_us, growth.empty_speed),
                (f"{growth.log_entries:,}", growth.large_us, growth.large_speed),
            )
        ),
    )
    yield ""
    yield f"{growth.contender}, {growth.events:,} events a round; filled in {growth.filled_seconds:,.0f} s."


def _goals(goals: Sequence[Goal]) -> Iterator[str]:
    if not any(goal.measured is not None for goal in goals):
        return
    yield from ("", "### Goals", "")
    yield from table(
        ("goal", "at least", "aim", "measured", "verdict", "basis"),
        (
            (
                goal.name,
                _bound(goal, goal.at_least),
                _bound(goal, goal.aim),
                "" if goal.measured is None else f"{figure(goal.measured)}{goal.unit}",
                goal.verdict,
                goal.basis,
            )
            for goal in goals
        ),
    )


def _bound(goal: Goal, value: float) -> str:
    return f"{'' if goal.more else '≤ '}{value:g}{goal.unit}"
