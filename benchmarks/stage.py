"""Where laps are run: one broker, one database server, and for each lap a database and topics of its own.

A lap begins on a database that already has a history: a worker on empty tables mostly creates releases, one in its
second week mostly moves deployments on. The history is made once, by this worker, and copied for every lap.
"""

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from benchmarks.check import Expectation, Published, expectation
from benchmarks.databases import EMPTY, BenchmarkDatabase, Postgres
from benchmarks.servers import BenchmarkKafka, BenchmarkPostgres
from benchmarks.topics import Outputs, create_input, create_outputs, fill, read_topic
from tests.conformance.producers import ToSend
from tests.oracle.records import Record
from tests.testkit.topics import delete_topics

PARTITIONS: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """A database to copy for a lap, and how it came about."""

    database: str
    records: tuple[Record, ...] = ()
    published: Published = field(default_factory=Published)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What a lap has to get through: a filled topic, over a ground. `expected` is None where nobody could hold it."""

    topic: str
    partitions: int
    events: int
    status_records: int
    ground: Ground
    expected: Expectation | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Everything that is one lap's own."""

    name: str
    outputs: Outputs
    database: str
    database_url: str
    folder: Path


class Stage:
    """The servers, started; leaving the context ends them and removes all that they held."""

    def __init__(self, *, say: Callable[[str], None], database: Callable[[], BenchmarkDatabase]) -> None:
        self.say = say
        self._database = database
        self._folder = Path(tempfile.mkdtemp(prefix="rudder-bench-"))
        self._numbers = itertools.count(1)

    def __enter__(self) -> Self:
        try:
            self.kafka = BenchmarkKafka()
            self.kafka.start()
            self.database = self._database()
            self.database.prepare(self._folder)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in ("kafka", "database"):
            with suppress(AttributeError):  # it was never made
                getattr(self, name).close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def postgres(self) -> BenchmarkPostgres:
        """For the measurements that know PostgreSQL only."""
        if not isinstance(self.database, Postgres):
            raise TypeError("only PostgreSQL is measured so")
        return self.database.server

    @property
    def bootstrap_servers(self) -> str:
        return self.kafka.bootstrap_servers

    @property
    def empty(self) -> Ground:
        """The tables, and nothing in them."""
        return Ground(database=EMPTY)

    def course(
        self, records: Iterable[ToSend], *, ground: Ground, partitions: int = PARTITIONS, checked: bool = True
    ) -> Course:
        """A topic with these records; where they are not `checked`, only what can be counted is expected of a lap."""
        topic = f"input-{next(self._numbers)}"
        create_input(self.bootstrap_servers, topic, partitions=partitions)
        events = fill(self.bootstrap_servers, topic, records)
        expected = None
        if checked:
            expected = expectation(itertools.chain(ground.records, read_topic(self.bootstrap_servers, topic)))
        before = len(ground.published.deployment_status) + len(ground.published.release_status)
        return Course(
            topic=topic,
            partitions=partitions,
            events=events,
            status_records=expected.status_records - before if expected else events,
            ground=ground,
            expected=expected,
        )

    def place(self, course: Course) -> Place:
        """Fresh topics, a fresh copy of the ground, a folder; the disks are at rest when it returns."""
        name = f"lap-{next(self._numbers)}"
        folder = self._folder / name
        folder.mkdir()
        return Place(
            name=name,
            outputs=create_outputs(self.bootstrap_servers, name, partitions=course.partitions),
            database=name,
            database_url=self.database.copy(name, of=course.ground.database),
            folder=folder,
        )

    def clear(self, place: Place) -> None:
        """Give back what the lap took."""
        self.database.drop(place.database)
        delete_topics(self.bootstrap_servers, [*place.outputs.status, place.outputs.dead_letters])
        shutil.rmtree(place.folder, ignore_errors=True)

    def keep_as_ground(self, course: Course, place: Place, seen: Published) -> Ground:
        """Make a lap's database the ground of later ones."""
        self.database.keep(place.database)
        records = tuple(read_topic(self.bootstrap_servers, course.topic))
        return Ground(database=place.database, records=records, published=seen)

    def script(self, text: str) -> Path:
        """A file with this text, which the database server's user can read."""
        path = self._folder / f"script-{next(self._numbers)}.sql"
        path.write_text(text, "utf-8")
        self._folder.chmod(0o755)
        return path
