"""Missing topics are named until they are there; a refusal that lasts ends the worker."""

import asyncio

import pytest
from structlog.testing import capture_logs

from tests.unit.pipeline.scripted import SimulatedClock
from worker.ports import TopicFindings
from worker.rules.errors import ConfigurationError, Unavailable
from worker.service.broker_monitor import REFUSED_SECONDS_MAX, BrokerMonitor
from worker.telemetry import LogEvent

FINE = TopicFindings()
NO_INPUT = TopicFindings(inputs=("topic in does not exist",))
NO_OUTPUT = TopicFindings(outputs=("topic out does not exist",), advice=("a limit is low",))


class Topics:
    """What each look finds; behind the last, `stop` is set."""

    def __init__(self, *found: TopicFindings | Unavailable, stop: asyncio.Event | None = None) -> None:
        self._found = list(found)
        self._stop = stop or asyncio.Event()

    async def check(self) -> TopicFindings:
        found = self._found.pop(0)
        if not self._found:
            self._stop.set()
        if isinstance(found, Unavailable):
            raise found
        return found


def monitor(topics: Topics, *, refused: tuple[str, float] | None = None) -> BrokerMonitor:
    return BrokerMonitor(topics, refusal=lambda: refused, clock=SimulatedClock())


async def test_start_requires_input_topics_only() -> None:
    """Without an input topic nothing can be read; what needs no missing output topic can be handled."""
    with pytest.raises(Unavailable, match="topic in does not exist"):
        await monitor(Topics(NO_INPUT)).check()
    one = monitor(Topics(NO_OUTPUT))
    await one.check()
    assert one.problem == "topic out does not exist"


async def test_each_problem_is_logged_once_until_it_ends() -> None:
    """Between them the broker does not answer, which says nothing of a topic."""
    stop = asyncio.Event()
    seen = (NO_OUTPUT, NO_OUTPUT, Unavailable("an outage"), NO_OUTPUT, FINE, FINE, NO_OUTPUT)
    one = monitor(Topics(*seen, stop=stop))
    with capture_logs() as logs:
        await one.check()
        await one.run(stop)
    assert [log["event"] for log in logs] == [
        LogEvent.TOPIC_UNUSABLE,
        LogEvent.TOPIC_ADVICE,
        LogEvent.TOPICS_USABLE,
        LogEvent.TOPIC_UNUSABLE,
        LogEvent.TOPIC_ADVICE,
    ]
    assert one.problem == "topic out does not exist"


async def test_topic_that_loses_events_is_a_warning() -> None:
    """Once, as long as it lasts; a recommendation is none."""
    stop = asyncio.Event()
    compacted = TopicFindings(advice=("a limit is low",), warnings=("in is compacted",))
    one = monitor(Topics(compacted, compacted, stop=stop))
    with capture_logs() as logs:
        await one.check()
        await one.run(stop)
    assert [(log["log_level"], log["advice"]) for log in logs] == [
        ("info", "a limit is low"),
        ("warning", "in is compacted"),
    ]


async def test_lasting_refused_login_ends_the_worker() -> None:
    """A short one does not: a changed secret takes a while to get to its file."""
    stop = asyncio.Event()
    one = monitor(Topics(FINE, FINE, stop=stop), refused=("the login is refused", REFUSED_SECONDS_MAX - 1))
    await one.check()
    await one.run(stop)
    with pytest.raises(ConfigurationError, match=r"^the login is refused; refused for 61 s"):
        await monitor(Topics(FINE), refused=("the login is refused", REFUSED_SECONDS_MAX + 1)).run(asyncio.Event())
