"""How `publish` sends checked events: their source and ids, the producer, and the count of sent events."""

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
from worker.publishing.spelling import closest
from worker.rules.errors import ConfigurationError, Unavailable
from worker.settings import Settings

DEFAULT_SOURCE = "/rudder-worker/publish"


class InvalidEvent(Exception):
    """An event will not be sent. The message: its location, and the reason."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.location}: {problem.reason}: {problem.detail}")


class _NoSuchTopic(Exception):
    pass


@dataclass(slots=True, kw_only=True)
class Identity:
    """The source and the ids of events without their own."""

    source: str
    run: CiRun | None
    redrive: bool
    _made: int = 0

    @classmethod
    def of(cls, *, source: str | None, run: str | None, environment: Mapping[str, str], redrive: bool) -> "Identity":
        """From the flags, or else from the variables of the CI system."""
        found = ci_run(environment)
        if source is None:
            source = found.source if found else DEFAULT_SOURCE
        if run is not None:
            found = replace(found, parts=(run,)) if found else named_run(run, source=source)
        return cls(source=source, run=found, redrive=redrive)

    def id_of(self, event: Event) -> str:
        """Raises ConfigurationError for a redrive without a known id."""
        if self.run is None and self.redrive:
            raise ConfigurationError("--redrive requires the id and the source of the rejected event")
        self._made += 1
        return str(uuid4()) if self.run is None else self.run.event_id(event)

    def note(self) -> str:
        """How ids were derived, as the end of a line."""
        if not self._made:
            return ""
        events = _counted(self._made)
        if self.run is not None:
            return f"; the id of {events} was derived from the {self.run.system} run {'/'.join(self.run.parts)}"
        return (
            f"; {events} without an id got a random one, so a repeated call would send another event; "
            "use --id, or --run with the name of the pipeline run"
        )


@dataclass(slots=True, kw_only=True)
class Sending:
    """Sends events to one topic, and counts them."""

    topic: str
    mode: Literal["binary", "structured"]
    redrive: bool
    as_json: bool
    count: int = 0
    results: Results = field(default_factory=Results)
    _in_flight: str | None = None

    async def send(
        self, events: Iterator[tuple[EventInput, Event]], settings: Settings, stopped: threading.Event
    ) -> None:
        """Send each event after the previous one is acknowledged. At the end, set `stopped` for the reading thread."""
        from worker.assembly.kafka_clients import publisher

        producer = publisher(settings)
        try:
            await producer.start()
            if not await producer.has_topic(self.topic):
                raise _NoSuchTopic(self._no_such_topic(settings))
            # A thread reads standard input, which blocks: the producer's connection must stay alive.
            while (pair := await asyncio.to_thread(next, events, None)) is not None:
                event_input, event = pair
                record = outgoing_record(
                    event_input, event, topic=self.topic, content_mode=self.mode, redrive=self.redrive
                )
                self._in_flight = event.id
                partition, offset = await producer.produce(record)
                self._in_flight = None
                self.count += 1
                self._show(event, partition, offset)
        finally:
            stopped.set()  # before the loop ends, which waits for the thread
            await producer.stop()

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Around the work: append to an error how many events were sent before it."""
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
        if self._in_flight is not None:
            return f"{_counted(self.count)} sent, event {self._in_flight} possibly sent, and nothing after it"
        return f"{_counted(self.count)} sent, and nothing after it" if self.count else "nothing was sent"

    def _no_such_topic(self, settings: Settings) -> str:
        found = closest(self.topic, settings.input_topics)
        hint = f" (did you mean {found}?)" if found else " (create the topic first)"
        return f"topic {self.topic} does not exist at {settings.kafka_bootstrap_servers}{hint}"

    def _show(self, event: Event, partition: int, offset: int) -> None:
        if self.as_json:
            self.results.json({"id": event.id, "topic": self.topic, "partition": partition, "offset": offset})
        else:
            self.results.line(f"{printable(event.id)} {self.topic}/{partition}@{offset}")


def _counted(count: int) -> str:
    return f"{count:,} event" if count == 1 else f"{count:,} events"
