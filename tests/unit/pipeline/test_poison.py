"""A message that fails for a reason of its own, among others that do not: what it costs them, and what they cost it."""

import pytest

from tests.unit.pipeline.scripted import ScriptedStore, created
from tests.unit.pipeline.test_consumer import P0, P1, Scene, until
from worker.ports import Decider
from worker.rules.decide import decide
from worker.rules.errors import Unavailable
from worker.rules.message import Message
from worker.rules.state import Outcome, Rejected

ATTEMPTS_MAX = 3
"""As `a_delivery` has it."""


class PoisonedStore(ScriptedStore):
    """The rules fail with the record at offset 0 of the first partition, every time. Before each failure another record
    comes by the second partition, and is written and committed.
    """

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        self._scene = scene
        self.tries = 0

    async def transact(self, message: Message, decider: Decider) -> Outcome:
        if decider is decide and (message.record.partition, message.record.offset) == (P0.partition, 0):
            fine = created(f"fine {self.tries}", offset=self.tries, partition=P1.partition)
            self.tries += 1
            self._scene.source.records.append(fine)
            await until(lambda: self._scene.source.committed.get(P1) == self.tries)
            raise LookupError("a fault")
        return await super().transact(message, decider)


async def test_poison_message_has_bounded_attempts() -> None:
    """Seen in trusted systems: one partition's progress resets another's count, and the message is retried for ever."""
    scene = Scene(created("poison", offset=0), created("next", offset=1))
    store = scene.store = PoisonedStore(scene)
    scene.consumer._delivery._store = store
    async with scene.running():
        await until(lambda: scene.source.committed == {P0: 2, P1: ATTEMPTS_MAX})
    assert store.tries == ATTEMPTS_MAX
    [rejected] = [outcome for outcome in store.written if isinstance(outcome, Rejected)]
    assert rejected.rejection.reason == "processing_error"
    assert rejected.rejection.offset == 0


@pytest.mark.parametrize("fault", [Unavailable("down"), LookupError("a fault")], ids=["an outage", "a fault"])
async def test_later_event_waits_for_a_failing_earlier_one(fault: Exception) -> None:
    """Seen in trusted systems: the later one is handled meanwhile, and the earlier one then finds it done."""
    scene = Scene(created("a", offset=0), created("a", offset=1), created("b", offset=2))

    class Store(ScriptedStore):
        async def transact(self, message: Message, decider: Decider) -> Outcome:
            if message.record.offset == 0 and self.begun < ATTEMPTS_MAX:
                self.begun += 1
                await until(lambda: any(one.record.offset == 2 for one in self.loaded))
                raise fault
            return await super().transact(message, decider)

    store = scene.store = Store()
    scene.consumer._delivery._store = store
    async with scene.running():
        await until(lambda: scene.source.committed == {P0: 3})
    assert [message.record.offset for message in store.loaded] == [2, 0, 1]
