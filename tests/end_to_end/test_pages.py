"""Every command of every page works as printed, and its output is the one that the page shows."""

import asyncio
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.end_to_end.pages import DOCS, ROOT, SHELLS, Failed, blocks, output_pattern, pages, reader
from tests.testkit.apache_kafka import ApacheKafka, ExternalKafka
from tests.testkit.postgres import SUPERUSER, PostgresServer, postgres_binaries
from tests.testkit.topics import MakeTopic
from worker.demo.broker import free_port

TUTORIALS = ["tutorials/first-event.md", "tutorials/first-subscriber.md"]
"""In reading order: the second continues the first."""

PUBLISHING = "docs/how-to/publish-events.md"
"""Run by test_publishing_page.py, which checks the rows as well."""

OPERATORS = [
    "docs/how-to/breaker.md",
    "docs/how-to/dead-letters.md",
    "docs/how-to/outages.md",
    "docs/how-to/replay.md",
    "docs/how-to/restored-database.md",
]
"""What operators do at night, run on Apache Kafka and PostgreSQL."""

NOT_RUN = {
    "README.md": [
        "tests run the demo and the suite by themselves",
        "installs packages and builds an image",
        "needs a broker with topics; docs/tutorials does this step by step, with a test",
    ],
    "docs/benchmarks.md": ["takes hours, and needs a JDK and Maven"],
    "docs/how-to/deploy.md": ["installs packages and builds an image", "needs the command-line tools of Apache Kafka"],
    "docs/how-to/privileges.md": [
        "needs the command-line tools of Apache Kafka",
        "needs the production database and broker",
    ],
    "docs/how-to/redrive.md": ["tests/end_to_end/test_redrive.py runs these commands with a worker and dead letters"],
    "docs/how-to/doctor.md": ["a fault, since the page has no worker; tests/end_to_end/test_doctor.py runs it"],
    "docs/how-to/sql-server.md": ["needs that login"],
    "docs/how-to/status.md": ["needs a release; tests/end_to_end/test_status.py runs it"],
    "docs/how-to/verify.md": ["the output of a damaged system; the findings are tested one by one"],
    "docs/reference/mapping.md": ["needs dead letters; tests/end_to_end/test_foreign_events.py redrives them"],
    "docs/promises.md": ["takes minutes; `make test` runs some plans"],
    "docs/tutorials/first-event.md": [
        "the test has the command installed",
        "the test has the command installed",
        "the test has a folder of its own",
    ],
}
"""The blocks that no test runs, with their reasons."""


GIVEN_FILES = {"docs/how-to/publish-from-ci.md": {"ci/rudder-event.sh": "integrations/rudder-event.sh"}}
"""What a page's reader copies from the repository first."""


def own_pages() -> Sequence[str]:
    """The pages whose commands need only topics at the start."""
    return [
        str(page.relative_to(ROOT))
        for page in pages()
        if str(page.relative_to(ROOT)) not in {*(f"docs/{name}" for name in TUTORIALS), PUBLISHING, *OPERATORS}
        and any(block.is_run or block.mark == "terminal" for block in blocks(page.read_text(encoding="utf-8")))
    ]


def test_shell_blocks_are_run_or_say_why_not() -> None:
    not_run: dict[str, list[str | None]] = {}
    for page in pages():
        name = str(page.relative_to(ROOT))
        for block in blocks(page.read_text(encoding="utf-8")):
            if block.mark == "not run":
                not_run.setdefault(name, []).append(block.argument)
            elif block.language in SHELLS:
                assert block.is_run or block.mark in {"terminal", "file"}, f"{name}:{block.line} is not run"
    assert not_run == NOT_RUN


@pytest.mark.parametrize("bootstrap_servers", ["embedded"], indirect=True)
@pytest.mark.parametrize("page", own_pages())
async def test_page_commands_work(page: str, bootstrap_servers: str, topics: MakeTopic, tmp_path: Path) -> None:
    for name, source in GIVEN_FILES.get(page, {}).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / source, tmp_path / name)
    async with reader(tmp_path, await settings_of(tmp_path, bootstrap_servers, topics)) as following:
        await following.follow(ROOT / page)


@pytest.mark.parametrize("bootstrap_servers", ["apache"], indirect=True)
@pytest.mark.parametrize("page", OPERATORS)
async def test_operators_page_commands_work(
    page: str,
    bootstrap_servers: str,
    postgres_url: str,
    request: pytest.FixtureRequest,
    topics: MakeTopic,
    tmp_path: Path,
) -> None:
    """The reader has PostgreSQL's programs too, with the database of the worker as their default."""
    kafka: ApacheKafka | ExternalKafka = request.getfixturevalue("apache_kafka")
    postgres: PostgresServer = request.getfixturevalue("postgres_server")
    database = make_url(postgres_url)
    assert database.database is not None
    settings = await settings_of(tmp_path, bootstrap_servers, topics) | {
        "RUDDER_DATABASE_URL": postgres_url,
        "PGHOST": "127.0.0.1",
        "PGPORT": str(postgres.port),
        "PGUSER": SUPERUSER,
        "PGDATABASE": database.database,
    }
    events = {
        "the database stops": postgres.stop,
        "the database starts": postgres.start,
        "the broker stops": kafka.stop,
        "the broker starts": kafka.start,
    }
    async with reader(tmp_path, settings, programs=[postgres_binaries()], events=events) as following:
        try:
            await following.follow(ROOT / page)
        finally:
            for server in (postgres, kafka):
                await asyncio.to_thread(server.ensure_running)  # a page that failed may have left it down


async def test_tutorials_work(tmp_path: Path) -> None:
    """The tutorials need only the command: they start the broker and create the topics themselves."""
    settings = {
        "RUDDER_KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}",
        "RUDDER_HTTP_PORT": str(free_port()),
    }
    async with reader(tmp_path, settings) as following:
        for page in TUTORIALS:
            await following.follow(DOCS / page)


SOUND_PAGE = """
<!-- event: the test begins -->

```sh
value=1
```

<!-- not run: it would fail -->
```sh
false
```

<!-- file: numbers -->
```text
one
two
```

<!-- terminal: tail -->
```sh
cat numbers
```

<!-- output: tail -->
```text
two
```

<!-- interrupt: tail -->

```sh
echo "$value"
head -1 numbers
```

<!-- output -->
```text
1
…
```
"""


@pytest.mark.parametrize(
    ("sound", "broken", "line", "problem"),
    [
        ("test begins", "test ends", 2, "no event of this name: the test ends"),
        ("value=1", "false", 4, "a command failed"),
        ("cat numbers", "cat letters", 25, "No such file"),
        ("two\n```\n\n<!-- interrupt", "six\n```\n\n<!-- interrupt", 25, "found:\none\ntwo"),
        ("1\n…", "2\n…", 37, "found:\n1\none"),
    ],
)
async def test_page_that_is_wrong_fails_with_its_line(
    tmp_path: Path, sound: str, broken: str, line: int, problem: str
) -> None:
    page = tmp_path / "page.md"
    settings = {"RUDDER_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "RUDDER_HTTP_PORT": "1"}
    happened: list[str] = []
    events = {"the test begins": lambda: happened.append("the test begins")}
    page.write_text(SOUND_PAGE, encoding="utf-8")
    async with reader(tmp_path, settings, events=events) as following:
        assert await following.follow(page) == "1\none\n"
    assert happened == ["the test begins"]
    assert SOUND_PAGE.count(sound) == 1
    page.write_text(SOUND_PAGE.replace(sound, broken), encoding="utf-8")
    async with reader(tmp_path, settings, events=events) as following:
        with pytest.raises(Failed, match=rf"(?s)^page\.md:{line}: .*{problem}"):
            await following.follow(page)


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a\nb\n", "a\nx\nb\n", False),
        ("a\n…\nb\n", "a\nb\n", True),
        ("a\n…\nb\n", "a\nx\ny\nb\n", True),
        ("a…c\n", "a b c\n", True),
        ("a…c\n", "a\nc\n", False),
        ("a.c\n", "abc\n", False),
    ],
)
def test_output_block_matches_what_it_shows(expected: str, printed: str, same: bool) -> None:
    assert (output_pattern(expected).fullmatch(printed) is not None) == same


async def settings_of(folder: Path, bootstrap_servers: str, topics: MakeTopic) -> dict[str, str]:
    """The settings of a reader whose operator has made topics; the database is in `folder`."""
    return {
        "RUDDER_KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "RUDDER_INPUT_TOPICS": await topics(name_hint="in"),
        "RUDDER_DEPLOYMENT_STATUS_TOPIC": await topics(name_hint="deployments"),
        "RUDDER_RELEASE_STATUS_TOPIC": await topics(name_hint="releases"),
        "RUDDER_DEAD_LETTER_TOPIC": await topics(name_hint="letters"),
        "RUDDER_DEPLOYMENT_STATE_TOPIC": await topics(name_hint="states", configs={"cleanup.policy": "compact"}),
        "LOST_DAY_TOPIC": await topics(name_hint="lost-day"),
        "RUDDER_GROUP_ID": f"page {folder.name}",
        "RUDDER_HTTP_PORT": str(free_port()),
        "RUDDER_GATEWAY_PORT": str(free_port()),
    }
