"""The test bench: one broker and one database server, and for each run its own database and topics.

A run begins on a database with a history: on empty tables a worker mostly creates releases, after two weeks it mostly
changes deployments. This worker makes the history once, and each run copies it.
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
class Template:
    """A database to copy for each run, and the records that made it."""

    database: str
    records: tuple[Record, ...] = ()
    published: Published = field(default_factory=Published)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A filled topic, on a template. `expected`: None where the expectation would not fit into memory."""

    topic: str
    partitions: int
    events: int
    status_records: int
    template: Template
    expected: Expectation | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """The topics, the database and the folder of one run."""

    name: str
    outputs: Outputs
    database: str
    database_url: str
    folder: Path
    copied: bool = True
    """Whether the database is the run's own."""
    check_url: str | None = None
    """Where the check finds the run's rows, if not at `database_url`."""


class Bench:
    """The started servers; leaving the context stops them and removes their data."""

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
        """For the measurements that need PostgreSQL."""
        if not isinstance(self.database, Postgres):
            raise TypeError("this measurement needs PostgreSQL")
        return self.database.server

    @property
    def bootstrap_servers(self) -> str:
        return self.kafka.bootstrap_servers

    @property
    def empty(self) -> Template:
        """Empty tables."""
        return Template(database=EMPTY)

    def empty_of(self, checkout: Path) -> Template:
        """Empty tables, as the migrations of another checkout make them."""
        if not isinstance(self.database, Postgres):
            raise TypeError("a baseline needs PostgreSQL")
        name = f"{EMPTY}-{next(self._numbers)}"
        self.database.create(name, self._folder, checkout=checkout)
        return Template(database=name)

    def workload(
        self, records: Iterable[ToSend], *, template: Template, partitions: int = PARTITIONS, checked: bool = True
    ) -> Workload:
        """A topic with these records. Without `checked`, the expectation is one status record per event."""
        topic = f"input-{next(self._numbers)}"
        create_input(self.bootstrap_servers, topic, partitions=partitions)
        events = fill(self.bootstrap_servers, topic, records)
        expected = None
        if checked:
            expected = expectation(itertools.chain(template.records, read_topic(self.bootstrap_servers, topic)))
        before = len(template.published.deployment_status) + len(template.published.release_status)
        return Workload(
            topic=topic,
            partitions=partitions,
            events=events,
            status_records=expected.status_records - before if expected else events,
            template=template,
            expected=expected,
        )

    def resources(self, workload: Workload, *, copied: bool = True) -> Resources:
        """New topics, a folder, and a new copy of the template, or the template itself. Returns when the disks are
        idle.
        """
        name = f"run-{next(self._numbers)}"
        folder = self._folder / name
        folder.mkdir()
        return Resources(
            name=name,
            outputs=create_outputs(self.bootstrap_servers, name, partitions=workload.partitions),
            database=name if copied else workload.template.database,
            database_url=self.database.copy(name, of=workload.template.database)
            if copied
            else self.postgres.url(workload.template.database),
            folder=folder,
            copied=copied,
        )

    def clear(self, resources: Resources) -> None:
        """Remove the run's topics, database and folder."""
        if resources.copied:
            self.database.drop(resources.database)
        delete_topics(self.bootstrap_servers, [*resources.outputs.status, resources.outputs.dead_letters])
        shutil.rmtree(resources.folder, ignore_errors=True)

    def keep_as_template(self, workload: Workload, resources: Resources, seen: Published) -> Template:
        """Make a run's database the template of later runs."""
        self.database.keep(resources.database)
        records = (*workload.template.records, *read_topic(self.bootstrap_servers, workload.topic))
        return Template(database=resources.database, records=records, published=workload.template.published + seen)

    def script(self, text: str) -> Path:
        """A file with this text, which the database server's user can read."""
        path = self._folder / f"script-{next(self._numbers)}.sql"
        path.write_text(text, "utf-8")
        self._folder.chmod(0o755)
        return path
