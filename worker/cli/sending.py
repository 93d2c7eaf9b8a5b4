"""What `publish` does with events that are ready: who they are from, sending them, and the count of what was sent."""

import asyncio
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal
from uuid import uuid4

import typer

from schemas.detail import printable
from schemas.event import Event
from worker.cli.exits import EXIT_PROBLEM, complain
from worker.cli.results import Results
from worker.publishing.ci_run import CiRun, ci_run, named_run
from worker.publishing.event_input import Problem, outgoing_record
from worker.publishing.event_texts import EventInput
from worker.publishing.spelling import likely
from worker.rules.errors import ConfigurationError, Unavailable
from worker.settings import Settings

DEFAULT_SOURCE = "/rudder-worker/publish"


class InvalidEvent(Exception):
    """An event will not be sent; the message says where it stands and why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.place}: {problem.reason}: {problem.detail}")


class _NoSuchTopic(Exception):
    pass


@dataclass(slots=True, kw_only=True)
class Identity:
    """The source and the ids of events that have none of their own."""

    source: str
    run: CiRun | None
    redrive: bool
    _made: int = 0

    @classmethod
    def of(cls, *, source: str | None, run: str | None, environment: Mapping[str, str], redrive: bool) -> "Identity":
        """From the flags where they are given, else from the variables of the CI system."""
        found = ci_run(environment)
        if source is None:
            source = found.source if found else DEFAULT_SOURCE
        if run is not None:
            found = replace(found, parts=(run,)) if found else named_run(run, source=source)
        return cls(source=source, run=found, redrive=redrive)

    def id_of(self, event: Event) -> str:
        """Raises ConfigurationError where a redrive would need an invented id."""
        if self.run is None and self.redrive:
            raise ConfigurationError("--redrive needs the id under which the event was rejected, and its source")
        self._made += 1
        return str(uuid4()) if self.run is None else self.run.event_id(event)

    def note(self) -> str:
        """What to know of the ids that were made, to be added to a line."""
        if not self._made:
            return ""
        events = _counted(self._made)
        if self.run is not None:
            return f"; the id of {events} was made from the {self.run.system} run {'/'.join(self.run.parts)}"
        return (
            f"; {events} without an id got a random one, so the same call again makes another event: "
            "give an id (--id), or name the run of the pipeline (--run)"
        )


@dataclass(slots=True, kw_only=True)
class Sending:
    """Events on their way to one topic."""

    topic: str
    mode: Literal["binary", "structured"]
    redrive: bool
    as_json: bool
    count: int = 0
    results: Results = field(default_factory=Results)
    _under_way: str | None = None

    async def send(
        self, events: Iterator[tuple[EventInput, Event]], settings: Settings, stopped: threading.Event
    ) -> None:
        """Send one event after the other's acknowledgement. `stopped` is set at the end, for the thread that reads."""
        from worker.assembly import publisher

        producer = publisher(settings)
        try:
            await producer.start()
            if not await producer.has_topic(self.topic):
                raise _NoSuchTopic(self._no_such_topic(settings))
            # Standard input blocks; another thread waits for it, so that the producer's connection stays alive.
            while (pair := await asyncio.to_thread(next, events, None)) is not None:
                event_input, event = pair
                record = outgoing_record(
                    event_input, event, topic=self.topic, content_mode=self.mode, redrive=self.redrive
                )
                self._under_way = event.id
                partition, offset = await producer.produce(record)
                self._under_way = None
                self.count += 1
                self._show(event, partition, offset)
        finally:
            stopped.set()  # the thread first: the loop's end waits for it
            await producer.stop()

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Around the work: an error's line says how many events were sent before it."""
        try:
            yield
        except (InvalidEvent, _NoSuchTopic) as error:
            complain(f"{error}; {self._so_far()}")
            raise typer.Exit(EXIT_PROBLEM) from error
        except (ConfigurationError, Unavailable) as error:
            raise type(error)(f"{error}; {self._so_far()}") from error
        except KeyboardInterrupt:
            complain(f"interrupted; {self._so_far()}")
            raise

    def summary(self) -> str:
        return f"{_counted(self.count)} sent to {self.topic}"

    def _so_far(self) -> str:
        if self._under_way is not None:
            return f"{_counted(self.count)} sent, {self._under_way} perhaps too, and nothing after it was sent"
        return f"{_counted(self.count)} sent, and nothing after it was sent" if self.count else "nothing was sent"

    def _no_such_topic(self, settings: Settings) -> str:
        found = likely(self.topic, settings.input_topics)
        hint = f" (did you mean {found}?)" if found else " (topics are created by the operator)"
        return f"there is no topic {self.topic} at {settings.kafka_bootstrap_servers}{hint}"

    def _show(self, event: Event, partition: int, offset: int) -> None:
        if self.as_json:
            self.results.json({"id": event.id, "topic": self.topic, "partition": partition, "offset": offset})
        else:
            self.results.line(f"{printable(event.id)} {self.topic}/{partition}@{offset}")


def _counted(count: int) -> str:
    return f"{count:,} event" if count == 1 else f"{count:,} events"
