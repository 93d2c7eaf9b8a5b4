"""A message that fails for a reason of its own, among others that do not: what it costs them, and what they cost it."""

import pytest

from tests.unit.pipeline.scripted import ScriptedStore, created
from tests.unit.pipeline.test_consumer import P0, P1, Harness, until
from worker.rules.errors import Unavailable
from worker.rules.query import Query
from worker.rules.state import State

ATTEMPTS_MAX = 3
"""As `make_delivery` has it."""


class PoisonedStore(ScriptedStore):
    """The record at offset 0 of the first partition fails in its first ATTEMPTS_MAX attempts. Before each failure
    another record comes by the second partition, and is written and committed.
    """

    def __init__(self, harness: Harness) -> None:
        super().__init__()
        self._scene = harness
        self.attempts = 0

    async def load_one(self, query: Query) -> State:
        if query.identity is not None and query.identity[1].startswith("poison"):
            self.attempts += 1
            if self.attempts <= ATTEMPTS_MAX:
                number = self.attempts - 1
                self._scene.source.records.append(created(f"fine {number}", offset=number, partition=P1.partition))
                await until(lambda: self._scene.source.committed.get(P1) == number + 1)
                raise LookupError("a fault")
        return await super().load_one(query)


async def test_poison_message_has_bounded_attempts() -> None:
    """Seen in trusted systems: one partition's progress resets another's count, and the message is retried for ever."""
    harness = Harness(created("poison", offset=0), created("next", offset=1))
    store = harness.store = PoisonedStore(harness)
    harness.consumer._delivery._store = store
    async with harness.running():
        await until(lambda: harness.source.committed == {P0: 2, P1: ATTEMPTS_MAX})
    assert store.attempts == ATTEMPTS_MAX + 1, "the last one rejects it"
    [rejection] = [changes.rejection for changes in store.written if changes.rejection is not None]
    assert (rejection.reason, rejection.offset) == ("processing_error", 0)


@pytest.mark.parametrize("fault", [Unavailable("down"), LookupError("a fault")], ids=["an outage", "a fault"])
async def test_later_event_waits_for_a_failing_earlier_one(fault: Exception) -> None:
    """Seen in trusted systems: the later one is handled meanwhile, and the earlier one then finds it done."""
    harness = Harness(created("a", offset=0), created("a", offset=1), created("b", offset=2))

    class Store(ScriptedStore):
        async def load_one(self, query: Query) -> State:
            assert query.identity is not None
            if query.identity[1].endswith("@0") and self.begun < ATTEMPTS_MAX:
                self.begun += 1
                await until(lambda: 2 in self.offsets)
                raise fault
            return await super().load_one(query)

    store = harness.store = Store()
    harness.consumer._delivery._store = store
    async with harness.running():
        await until(lambda: harness.source.committed == {P0: 3})
    assert store.offsets == [2, 0, 1]
