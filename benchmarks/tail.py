"""What the slowest events waited for: `python -m benchmarks.tail` traces a run of latency, and explains its tail.

The time of an event is divided into phases, by what the worker's edges saw of it. For the slowest events the report has
the phase that took the most time beyond its median, and what happened meanwhile: garbage collections, commits,
refreshes of the metadata, stalls of the event loop by the worker's own work or for want of a processor, checkpoints of
PostgreSQL. What covers 1 % of the time meets 1 % of the events by chance; what meets most of the slow ones is their
cause.

Tracing costs some processor time: the percentiles are for the tail's shape, not for comparisons.
"""

import bisect
import itertools
import json
import re
import statistics
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Final

import typer

from benchmarks.bench import Bench
from benchmarks.contenders.lineup import CONCURRENCY, this_worker
from benchmarks.databases import Postgres
from benchmarks.latency import WARM_UP_EVENTS, WARM_UP_SHARE, LatencyRun, Load, measure_latency
from benchmarks.program import make_history, stream_after
from benchmarks.quantiles import percentile
from benchmarks.sizes import QUICK, Sizes
from benchmarks.tables import figure, table
from worker.rules.identity import activity_id

PHASES: Final = (
    "publisher to poll",
    "poll to load",
    "load",
    "load to write",
    "write",
    "write to publish",
    "publish",
    "publish to subscriber",
)
_SLOW_MIN: Final = 10
_MEANWHILE: Final = ("gc", "commit", "metadata", "stall", "no processor", "checkpoint")
_LONG_REQUEST_SECONDS: Final = 0.02
_CHECKPOINT: Final = re.compile(r"^(\S+ \S+) UTC .*checkpoint (starting|complete)", re.MULTILINE)

Times = Mapping[str, tuple[float, float]]
"""Begin and end of each of an event's spans, by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Seconds of CLOCK_MONOTONIC. `about`: activity ids, a kind of request, a generation."""

    name: str
    began: float
    ended: float
    about: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """One event's times, in milliseconds: the whole, and its phases in order."""

    event_id: str
    due: float
    seen: float
    phases_ms: tuple[float, ...]

    @property
    def total_ms(self) -> float:
        return (self.seen - self.due) * 1_000


def main(
    *,
    rate: Annotated[float, typer.Option(help="Events per second.")] = 95.0,
    seconds: Annotated[int, typer.Option(help="Length of the run.")] = 120,
    concurrency: Annotated[int, typer.Option(min=1, help="RUDDER_CONCURRENCY.")] = CONCURRENCY,
    share: Annotated[float, typer.Option(help="The slowest part of the events.")] = 0.001,
    quick: Annotated[bool, typer.Option("--quick", help="A small history.")] = False,
) -> None:
    """Trace the worker at a load, and report what its slowest events waited for."""
    sizes, load = QUICK if quick else Sizes(), Load(events_per_second=rate, seconds=seconds, why="traced")
    with Bench(say=lambda line: typer.echo(line, err=True), database=Postgres) as bench, TemporaryDirectory() as folder:
        worker = this_worker(concurrency=concurrency)
        template = make_history(bench, worker, sizes)
        file = Path(folder) / "spans.jsonl"
        traced = replace(worker, command=(worker.command[0], "-m", "benchmarks.traced_worker", str(file), "run"))
        records = list(itertools.islice(stream_after(sizes, template), load.events + WARM_UP_EVENTS))
        run = measure_latency(bench, traced, load, records=records, template=template)
        sources = {event["id"]: event["source"] for event in (json.loads(record.value or b"") for record in records)}
        spans = [*_spans(file), *checkpoints(bench.postgres.log, monotonic_offset=time.time() - time.perf_counter())]
    typer.echo("\n".join(report(journeys(run, spans, sources), spans, share=share)))


def journeys(run: LatencyRun, spans: Sequence[Span], sources: Mapping[str, str]) -> list[Journey]:
    """Of the events that count and were answered, the slowest first. `sources`: by the event's id."""
    by_event: defaultdict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
    for span in spans:
        if span.name in {"poll", "load", "write", "publish"}:
            for activity in span.about:
                by_event[activity].setdefault(span.name, (span.began, span.ended))
    counted = list(run.due)[int(len(run.due) * WARM_UP_SHARE) :]
    found = []
    for event_id in counted:
        seen = run.seen.get(event_id)
        times = by_event.get(str(activity_id(source=sources[event_id], event_id=event_id, position=0)))
        if seen is not None and times is not None and "poll" in times and "publish" in times:
            due = run.due[event_id]
            found.append(Journey(event_id=event_id, due=due, seen=seen, phases_ms=_phases_ms(due, seen, times)))
    return sorted(found, key=lambda journey: -journey.total_ms)


def _phases_ms(due: float, seen: float, times: Times) -> tuple[float, ...]:
    """A phase that was not traced takes no time, and the one before it all of theirs."""
    polled, (publish, published) = times["poll"][1], times["publish"]
    load, loaded = times.get("load", (publish, publish))
    write, written = times.get("write", (publish, publish))
    moments = (due, polled, load, loaded, write, written, publish, published, seen)
    return tuple((end - begin) * 1_000 for begin, end in itertools.pairwise(moments))


def report(found: Sequence[Journey], spans: Sequence[Span], *, share: float) -> Iterator[str]:
    """Yield the lines. ValueError without an event."""
    totals = sorted(journey.total_ms for journey in found)
    slow = found[: max(round(len(found) * share), _SLOW_MIN)]
    medians = [statistics.median(phase) for phase in zip(*(journey.phases_ms for journey in found), strict=True)]
    percentiles = ", ".join(f"p{name} {percentile(totals, part):,.1f}" for name, part in _PERCENTILES.items())
    yield f"{len(found):,} events: {percentiles} ms; the slowest {len(slow)} follow."
    yield ""
    yield from table(
        ("phase", "median ms", "p99 ms", "median of the slowest ms", "slowest by this phase"),
        (
            (
                phase,
                figure(medians[index]),
                figure(percentile(sorted(journey.phases_ms[index] for journey in found), 0.99)),
                figure(statistics.median(journey.phases_ms[index] for journey in slow)),
                str(sum(_culprit(journey, medians) == index for journey in slow)),
            )
            for index, phase in enumerate(PHASES)
        ),
    )
    kinds = list(_kinds(spans, found))
    yield ""
    yield from table(
        ("meanwhile", "count", "median ms", "longest ms", "share of the time", "share of the events", "of the slowest"),
        (_meanwhile(name, of_kind, found, slow) for name, of_kind in kinds),
    )
    yield ""
    yield from table(
        ("event", "ms", *PHASES, "meanwhile"),
        (
            (
                journey.event_id,
                figure(journey.total_ms),
                *(figure(phase) for phase in journey.phases_ms),
                ", ".join(name for name, of_kind in kinds if _met(journey, _covered(of_kind))),
            )
            for journey in slow
        ),
    )


_PERCENTILES: Final = {"50": 0.5, "99": 0.99, "99.9": 0.999}


def _culprit(journey: Journey, medians: Sequence[float]) -> int:
    beyond = [phase - median for phase, median in zip(journey.phases_ms, medians, strict=True)]
    return beyond.index(max(beyond))


def _kinds(spans: Sequence[Span], found: Sequence[Journey]) -> Iterator[tuple[str, list[Span]]]:
    """What is looked at beside the events, between the first and the last of them."""
    begin, end = min(journey.due for journey in found), max(journey.seen for journey in found)
    within = [span for span in spans if span.ended > begin and span.began < end]
    for name in _MEANWHILE:
        of_name = [span for span in within if span.name == name]
        if name != "gc":
            yield name, of_name
            continue
        for generation in sorted({span.about for span in of_name}):
            yield f"gc {generation}", [span for span in of_name if span.about == generation]
    for kind in ("Produce", "OffsetCommit", "Heartbeat"):
        long = [span for span in within if span.name == "request" and span.about == kind]
        yield f"{kind} > 20 ms", [span for span in long if span.ended - span.began > _LONG_REQUEST_SECONDS]


def _meanwhile(
    name: str, of_kind: Sequence[Span], found: Sequence[Journey], slow: Sequence[Journey]
) -> tuple[str, ...]:
    covered = _covered(of_kind)
    if not of_kind:
        return (name, "0", "", "", "", "", "")
    lengths_ms = [(span.ended - span.began) * 1_000 for span in of_kind]
    whole_ms = (max(journey.seen for journey in found) - min(journey.due for journey in found)) * 1_000
    return (
        name,
        f"{len(of_kind):,}",
        figure(statistics.median(lengths_ms)),
        figure(max(lengths_ms)),
        f"{sum(lengths_ms) / whole_ms:.1%}",
        f"{sum(_met(journey, covered) for journey in found) / len(found):.1%}",
        f"{sum(_met(journey, covered) for journey in slow) / len(slow):.0%}",
    )


def _covered(spans: Iterable[Span]) -> list[tuple[float, float]]:
    """When at least one of them is under way, in order."""
    covered: list[tuple[float, float]] = []
    for span in sorted(spans, key=lambda span: span.began):
        if covered and span.began <= covered[-1][1]:
            covered[-1] = covered[-1][0], max(covered[-1][1], span.ended)
        else:
            covered.append((span.began, span.ended))
    return covered


def _met(journey: Journey, covered: Sequence[tuple[float, float]]) -> bool:
    position = bisect.bisect_left(covered, (journey.seen,)) - 1  # the last that began before the event was seen
    return position >= 0 and covered[position][1] > journey.due


def _spans(file: Path) -> Iterator[Span]:
    for line in file.read_text("utf-8").splitlines():
        name, began, ended, about = json.loads(line)
        yield Span(name=name, began=began, ended=ended, about=about)


def checkpoints(log: str, *, monotonic_offset: float) -> Iterator[Span]:
    """Those of PostgreSQL's log, whose times are UTC. `monotonic_offset`: from CLOCK_MONOTONIC to Unix time."""
    began: float | None = None
    for at, phase in _CHECKPOINT.findall(log):
        seconds = datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp() - monotonic_offset
        if phase == "starting":
            began = seconds
        elif began is not None:
            yield Span(name="checkpoint", began=began, ended=seconds)


if __name__ == "__main__":
    typer.run(main)
