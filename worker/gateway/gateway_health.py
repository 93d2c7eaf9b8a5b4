"""Liveness and readiness of the gateway, for an orchestrator."""

import asyncio

from worker.gateway.forwarder import Forwarder
from worker.pipeline.dependency_monitor import DependencyMonitor
from worker.service.broker_monitor import BrokerMonitor

_ANSWER_TIMEOUT_SECONDS = 2.0


class GatewayHealth:
    """`worker.service.http.Health`. Liveness depends on the event loop alone, which makes the answer."""

    def __init__(self, *, forwarder: Forwarder, broker: DependencyMonitor, topics: BrokerMonitor) -> None:
        self._forwarder = forwarder
        self._broker = broker
        self._topics = topics

    def alive(self) -> bool:
        return True

    async def unready(self) -> dict[str, str]:
        problems = {
            "broker": self._forwarder.problem or await self._broker_problem() or self._topics.refused,
            "topics": self._topics.problem,
        }
        return {name: problem for name, problem in problems.items() if problem is not None}

    async def _broker_problem(self) -> str | None:
        try:
            async with asyncio.timeout(_ANSWER_TIMEOUT_SECONDS):
                return await self._broker.problem()
        except TimeoutError:
            return "does not answer in time"
