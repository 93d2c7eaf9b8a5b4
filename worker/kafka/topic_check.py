"""The topics that the worker reads and writes, as a broker describes them: which are missing, and how large a record
each takes. Nothing here creates a topic.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import aiokafka.errors
from aiokafka.admin.config_resource import ConfigResourceType
from aiokafka.protocol.admin import DescribeConfigsRequest
from aiokafka.protocol.metadata import MetadataRequest

from worker.kafka import privileges
from worker.kafka.publisher import KafkaPublisher
from worker.ports import Publisher, TopicDescription, TopicFindings
from worker.rules.errors import Unavailable

_LIMIT = "max.message.bytes"
_CLEANUP, _RETENTION_MS, _RETENTION_BYTES = "cleanup.policy", "retention.ms", "retention.bytes"
_HEADER_BYTES = 16 * 1024
"""What a dead letter's headers, its detail among them, may add to its record."""

_STATUS_EVENT_BYTES = 16 * 1024
"""The longest status event without its comment."""

_USABLE_BYTES = 1024
"""The shortest status events and dead letters have about half as many."""


class KafkaTopicCheck:
    """`worker.ports.Topics`. `outputs`: each topic that is published to, by the setting that names it. `states`: the
    one of them that must be compacted, if any.
    """

    def __init__(
        self,
        publisher: Publisher,
        *,
        inputs: Sequence[str],
        outputs: Mapping[str, str],
        dead_letters: str,
        states: str | None = None,
    ) -> None:
        self._publisher = publisher
        self._inputs = dict.fromkeys(inputs, "RUDDER_INPUT_TOPICS")
        self._outputs = {topic: setting for setting, topic in outputs.items()}
        self._dead_letters = dead_letters
        self._states = states
        self.described: Mapping[str, TopicDescription] = {}

    async def check(self) -> TopicFindings:
        """As `worker.ports.Topics` says. The publisher learns the limits that are found; `described` has the topics
        that exist.
        """
        if not isinstance(self._publisher, KafkaPublisher):
            return TopicFindings()  # the deterministic tests wire a publisher that has no broker
        names = sorted({**self._inputs, **self._outputs})
        metadata = await self._publisher.request(MetadataRequest(names, allow_auto_topic_creation=False))
        problems = {name: _problem(code) for code, name, *_ in metadata.topics}
        there = [name for name in names if problems.get(name) is None]
        settings, unknown = await self._settings(self._publisher, there)
        limits = {topic: int(values[_LIMIT]) for topic, values in settings.items() if values.get(_LIMIT)}
        self._publisher.limits = limits
        partitions = {name: len(found) for _, name, _, found, *_ in metadata.topics}
        self.described = {name: _described(partitions[name], settings.get(name, {})) for name in there}
        for topic in self._outputs:
            if (limit := limits.get(topic, _USABLE_BYTES)) < _USABLE_BYTES:
                problems[topic] = (
                    f"has {_LIMIT}={limit}, and no record of the worker fits: set it to {_STATUS_EVENT_BYTES} or more"
                )
        return TopicFindings(
            inputs=tuple(_named(self._inputs, problems)),
            outputs=tuple(_named(self._outputs, problems)),
            advice=(*unknown, *self._advice(limits)),
            warnings=tuple(self._cleanup()),
        )

    async def check_privileges(self) -> Sequence[str]:
        """Which privileges could not be checked.

        Raises:
            ConfigurationError: the worker may not read an input topic, or write an output topic.
        """
        if not isinstance(self._publisher, KafkaPublisher):
            return ()
        return (
            *await privileges.topic_advice(self._publisher, privileges.READ, self._inputs),
            *await privileges.topic_advice(self._publisher, privileges.WRITE, self._outputs),
        )

    @staticmethod
    async def _settings(
        publisher: KafkaPublisher, topics: Sequence[str]
    ) -> tuple[dict[str, Mapping[str, str]], tuple[str, ...]]:
        """The settings of the topics, as far as they are known; why others are not."""
        names = [_LIMIT, _CLEANUP, _RETENTION_MS, _RETENTION_BYTES]
        resources = [(ConfigResourceType.TOPIC, topic, names) for topic in topics]
        if not resources:
            return {}, ()
        try:
            described = await publisher.request(DescribeConfigsRequest(resources))
        except (Unavailable, NotImplementedError, aiokafka.errors.KafkaError) as error:
            return {}, (f"{_LIMIT} of the topics is unknown, because the broker does not describe them: {error}",)
        settings: dict[str, Mapping[str, str]] = {}
        unknown = []
        for code, message, _, topic, found in described.resources:
            values = {name: value for name, value, *_ in found}
            if code == 0:
                settings[topic] = values
            if code != 0 or not values.get(_LIMIT):
                cause = message or aiokafka.errors.for_code(code).__name__
                unknown.append(
                    f"{_LIMIT} of topic {topic} is unknown ({cause}); grant the privilege DescribeConfigs to check it"
                )
        return settings, tuple(unknown)

    def _cleanup(self) -> Iterator[str]:
        for topic, setting in {**self._inputs, **self._outputs}.items():
            policy = self.described[topic].cleanup_policy if topic in self.described else None
            if topic == self._states:
                if policy not in {None, "compact"}:
                    yield (
                        f"{_CLEANUP} of topic {topic} ({setting}) is {policy}: states that do not change are deleted "
                        "after the retention time; set it to compact, then run rudder-worker state publish"
                    )
            elif policy is not None and "compact" in policy:
                yield (
                    f"{_CLEANUP} of topic {topic} ({setting}) is {policy}: compaction deletes all but the last record "
                    "of a release; set it to delete"
                )

    def _advice(self, limits: Mapping[str, int]) -> Iterator[str]:
        largest = max((limits[topic] for topic in self._inputs if topic in limits), default=0)
        for topic, setting in self._outputs.items():
            limit = limits.get(topic)
            if limit is None or limit < _USABLE_BYTES:
                continue
            if topic == self._dead_letters and limit < largest + _HEADER_BYTES:
                yield (
                    f"{_LIMIT} of topic {topic} ({setting}) is {limit}, and {largest} in an input topic: the dead "
                    f"letter of a record that is as large is sent without its value; set it to "
                    f"{largest + _HEADER_BYTES} or more"
                )
            elif topic != self._dead_letters and limit < _STATUS_EVENT_BYTES:
                yield (
                    f"{_LIMIT} of topic {topic} ({setting}) is {limit}: a status event may be larger even without its "
                    f"comment, and then holds up its release; set it to {_STATUS_EVENT_BYTES} or more"
                )


def _described(partitions: int, settings: Mapping[str, str]) -> TopicDescription:
    milliseconds, size = settings.get(_RETENTION_MS), settings.get(_RETENTION_BYTES)
    return TopicDescription(
        partitions=partitions,
        cleanup_policy=settings.get(_CLEANUP),
        retention_seconds=None if milliseconds is None else _unlimited(int(milliseconds)) / 1000,
        retention_bytes=None if size is None else _unlimited(int(size)),
    )


def _unlimited(value: int) -> float:
    """Infinite for Kafka's -1."""
    return math.inf if value < 0 else value


def _problem(code: int) -> str | None:
    error = aiokafka.errors.for_code(code)
    if error is aiokafka.errors.UnknownTopicOrPartitionError:
        return "does not exist: create it"
    if error is aiokafka.errors.TopicAuthorizationFailedError:
        return "does not exist, or the worker lacks the privilege Describe on it: create it or grant the privilege"
    if error in {aiokafka.errors.NoError, aiokafka.errors.LeaderNotAvailableError}:
        return None
    return f"cannot be used: {error.__name__}"


def _named(topics: Mapping[str, str], problems: Mapping[str, str | None]) -> Iterable[str]:
    for topic, setting in topics.items():
        problem = problems.get(topic, "is not described by the broker")
        if problem is not None:
            yield f"topic {topic} ({setting}) {problem}"
