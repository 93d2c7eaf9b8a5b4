"""How long a record takes from its publisher to its status event, measured from outside by a subscriber."""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from typing import Final

from aiokafka import AIOKafkaConsumer

from worker.demo.contract_envelope import Identity
from worker.demo.record import TopicRecord
from worker.demo.recount_topics import unpack
from worker.demo.topic_reader import record_of

POLL_TIMEOUT_MS: Final = 2
DRAIN_TIMEOUT_MS: Final = 300
NAP_SECONDS: Final = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """Milliseconds, over so many events."""

    count: int
    p50_ms: float
    p99_ms: float


class LatencyMeter:
    """Pairs each event's sending with the first status event that names it as its cause; up to a nap too long."""

    def __init__(self, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self.last_seen_at_seconds = 0.0
        self._sent: dict[Identity, tuple[str, float]] = {}
        self._taken_seconds: dict[str, list[float]] = {}

    def sent(self, identity: Identity, *, phase: str) -> None:
        """Note that an event leaves now; a repeat of it does not count."""
        self._sent.setdefault(identity, (phase, self._clock()))

    def seen(self, identity: Identity) -> None:
        """Note that a status event with this cause arrived now; only the first counts."""
        phase, sent_at = self._sent.get(identity, ("", 0.0))
        if phase:
            self.last_seen_at_seconds = self._clock()
            self._taken_seconds.setdefault(phase, []).append(self.last_seen_at_seconds - sent_at)
            self._sent[identity] = ("", 0.0)

    def quantiles(self, phase: str) -> Quantiles | None:
        taken = sorted(self._taken_seconds.get(phase, []))
        if not taken:
            return None
        return Quantiles(count=len(taken), p50_ms=_at(taken, 0.50) * 1_000, p99_ms=_at(taken, 0.99) * 1_000)

    async def listen(self, *, bootstrap_servers: str, topics: tuple[str, ...], stop: asyncio.Event) -> None:
        """Subscribe to the status topics until `stop`, then hear what is still on its way."""
        consumer = AIOKafkaConsumer(*topics, bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest")
        await consumer.start()
        try:
            heard_all = False
            while not heard_all:
                stopping = stop.is_set()
                consumer.resume(*consumer.assignment())
                batches = await consumer.getmany(timeout_ms=DRAIN_TIMEOUT_MS if stopping else POLL_TIMEOUT_MS)
                for message in chain.from_iterable(batches.values()):
                    self._heard(record_of(message))
                heard_all = stopping and not batches
                # The embedded broker answers empty fetches at once, and an unpaused consumer repeats them at once: that
                # would take a whole core from the worker whose speed is being measured.
                consumer.pause(*consumer.assignment())
                await asyncio.sleep(NAP_SECONDS)
        finally:
            await consumer.stop()

    def _heard(self, record: TopicRecord) -> None:
        cause = unpack(record)[1].get("cause") or {}
        self.seen((str(cause.get("source")), str(cause.get("id"))))


def _at(ordered: list[float], share: float) -> float:
    """Return the value that `share` of the ordered ones do not exceed (nearest rank)."""
    return ordered[math.ceil(share * len(ordered)) - 1]
