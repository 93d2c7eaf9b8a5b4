"""One worker process: a real consumer with its executor, tracker and deliveries, on an event loop of its own.

It can stall while other members get its partitions, the group can remove it, and it can crash.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import AbstractAsyncContextManager

from tests.properties.consumer_edges import COMMIT_TIMEOUT_SECONDS, Edges
from tests.properties.consumer_ledger import Ledger
from tests.properties.consumer_outside import Outside
from tests.properties.stepped import SteppedLoop
from tests.unit.pipeline.test_breaker import an_opening
from worker.pipeline.backoff import Backoff
from worker.pipeline.breaker import Breaker
from worker.pipeline.consumer import Bounds, Consumer
from worker.pipeline.delivery import Delivery, InFlight
from worker.pipeline.dependency_monitor import DependencyMonitor, DependencyMonitors
from worker.pipeline.linked_event import LinkedEvent
from worker.pipeline.outgoing import OutgoingRecords, Topics
from worker.pipeline.retry import RetryPolicy
from worker.ports import Partition
from worker.telemetry import Metrics

POLICY = RetryPolicy(
    backoff=Backoff(initial_seconds=0.25, max_seconds=2.0),
    attempts_max=3,
    conflict_backoff=Backoff(initial_seconds=0.1, max_seconds=0.4),
    conflicts_max=4,
)
PUBLICATIONS = OutgoingRecords(
    topics=Topics(deployment_status="deployments", release_status="releases", dead_letters="dead"),
    content_mode="binary",
    source="urn:test",
    worker="test",
)


class _OneByOne(Delivery):
    """Delivers chains message by message, since the ledger knows one message for each task. Chains have properties of
    their own: `tests.properties.test_chains`.
    """

    async def commit_chain(self, chain: Sequence[InFlight], slot: AbstractAsyncContextManager[None]) -> None:
        del chain, slot


class Member:
    """Runs until it stops, crashes or fails; after a failure `turn` raises the error."""

    def __init__(self, outside: Outside, bounds: Bounds, broken: list[str]) -> None:
        self.loop = SteppedLoop(lambda: outside.now_seconds)
        self.breaker = Breaker(events=0, rejected_share_max=0.5)
        self.ledger = Ledger(bounds, broken, self.breaker)
        self.edges = Edges(outside, self.ledger, bounds)
        self.frozen = False
        self._outside = outside
        self._bounds = bounds
        self._stop = asyncio.Event()
        self._consumer = self._assembled()
        self._running = self.loop.create_task(self._run())

    def _assembled(self) -> Consumer:
        metrics, edges = Metrics(), self.edges
        monitors = DependencyMonitors(
            database=_Monitor("database", edges, self.ledger, metrics),
            broker=_Monitor("broker", edges, self.ledger, metrics),
        )
        delivery = _OneByOne(
            store=edges,
            publisher=edges,
            outgoing=PUBLICATIONS,
            policy=POLICY,
            monitors=monitors,
            breaker=self.breaker,
            tracer=self.ledger,
            clock=edges,
            metrics=metrics,
        )
        return Consumer(
            client=edges,
            delivery=delivery,
            monitors=monitors,
            breaker=self.breaker,
            bounds=self._bounds,
            clock=edges,
            metrics=metrics,
        )

    async def _run(self) -> None:
        await self._consumer.join()
        await self._consumer.run(self._stop)

    def stop(self) -> None:
        if not self._stop.is_set():
            self._stop.set()
            self.edges.stop_asked_seconds = self.edges.stopping_since_seconds = self._outside.now_seconds

    def turn(self) -> bool:
        """Run until no task can continue; return whether the member still runs."""
        self.loop.settle()
        rebalance = self.edges.rebalance
        if rebalance is not None and rebalance.done():
            self.edges.rebalance = None
            rebalance.result()
        if not self._running.done():
            self.ledger.check_at_rest(self.edges.held.values())
            self._check_alive()
            return True
        self._running.result()
        assert self._stop.is_set(), "ends without being asked to"
        left = asyncio.all_tasks(self.loop)
        assert not left, f"leaves tasks behind: {left}"
        self.loop.close()
        return False

    def _check_alive(self) -> None:
        """The member polls, gives up revoked partitions and stops in time, even if a request hangs."""
        edges, bounds = self.edges, self._bounds
        giving_up_seconds = bounds.drain_timeout_seconds + 2 * COMMIT_TIMEOUT_SECONDS  # one commit may be under way
        assert self._seconds_since(edges.revoking_since_seconds) <= giving_up_seconds, "holds up the group"
        last_round_seconds = bounds.poll_timeout_seconds * 2 + COMMIT_TIMEOUT_SECONDS
        stopping_seconds = self._seconds_since(edges.stopping_since_seconds)
        assert stopping_seconds <= last_round_seconds + giving_up_seconds, "does not stop"
        committing = any(question.kind == "commit" for question in edges.questions)
        if not committing and not self._stop.is_set():
            quiet_seconds = self._seconds_since(edges.quiet_since_seconds)
            assert quiet_seconds <= bounds.keep_alive_seconds + bounds.poll_timeout_seconds, "does not poll"

    def _seconds_since(self, since_seconds: float | None) -> float:
        return 0.0 if since_seconds is None else self._outside.now_seconds - since_seconds

    # --- the steps of a plan

    def can(self, what: str) -> bool:
        """Whether the step is possible now and would change anything."""
        edges = self.edges
        match what:
            case "take":
                return edges.joined and bool(edges.held) and not edges.untold
            case "fence":
                return bool(edges.held) and not edges.fenced
            case "tell":
                return edges.rebalance is None and (edges.fenced or bool(edges.untold))
            case "rewind":
                return any(not holding.ending for holding in edges.held.values())
            case "thaw":
                return self.frozen
            case "open" | "close":
                return self.breaker.is_open == (what == "close")
            case "freeze" | "stall":
                return not self.frozen
            case "stop":
                return not self._stop.is_set()
        return True

    def take(self, which: int) -> None:
        """An orderly revocation of some of its partitions, or of all."""
        held = list(self.edges.held)
        some = [partition for n, partition in enumerate(held) if which >> n & 1]
        self._rebalance(self.edges.revoked(some or held, rejoins=False))

    def fence(self) -> None:
        """The group revokes all partitions without a callback: the member was silent past the session timeout."""
        self.edges.fenced = True
        for holding in self.edges.held.values():
            self._outside.release(holding)

    def give(self, partition: Partition) -> None:
        self.edges.held[partition] = self._outside.assign(partition)
        self.edges.untold.append(partition)

    def tell(self) -> None:
        """Deliver the outstanding rebalance callback."""
        if self.edges.fenced:
            self.edges.untold.clear()
            self._rebalance(self.edges.revoked(list(self.edges.held), rejoins=True))
        else:
            self._rebalance(self.edges.assigned())

    def rewind(self, which: int) -> None:
        """One of its partitions begins again: the topic was truncated or created again."""
        holdings = [holding for holding in self.edges.held.values() if not holding.ending]
        holdings[which % len(holdings)].position = 0

    def open(self) -> None:
        """It reads that the group's breaker is open."""
        self.breaker.follow(an_opening())

    def close(self) -> None:
        self.breaker.follow(None)

    def _rebalance(self, work: Coroutine[None, None, None]) -> None:
        self.edges.rebalance = self.loop.create_task(work)

    def thaw(self) -> None:
        if not self.frozen:
            return
        self.frozen = False
        edges, now_seconds = self.edges, self._outside.now_seconds
        if edges.quiet_since_seconds is not None:
            edges.quiet_since_seconds = now_seconds
        if edges.revoking_since_seconds is not None:
            edges.revoking_since_seconds = now_seconds
        if edges.stopping_since_seconds is not None:
            edges.stopping_since_seconds = now_seconds

    def crash(self) -> None:
        self.edges.release()
        self.end()

    def end(self) -> None:
        """Cancel all of its tasks."""
        errors = self.loop.end()
        assert not errors, errors


class _Monitor(DependencyMonitor):
    """Records in the ledger that a delivery waits for a dependency."""

    def __init__(self, name: str, edges: Edges, ledger: Ledger, metrics: Metrics) -> None:
        backoff = Backoff(initial_seconds=0.1, max_seconds=1.0)
        super().__init__(name, edges.ping, backoff=backoff, patience_seconds=3.0, clock=edges, metrics=metrics)
        self._ledger = ledger

    async def wait_until_available(self, ended: LinkedEvent) -> bool:
        with self._ledger.active("pause"):
            return await super().wait_until_available(ended)
