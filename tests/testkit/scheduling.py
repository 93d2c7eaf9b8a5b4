"""Which tests run in the same process, one after the other, when pytest-xdist has several.

A process has its own servers, started when the first of its tests needs them. An Apache Kafka takes seconds to start
and half a gigabyte, so the tests that need one share three of them, whatever the number of processes. A module's tests
stay together for its fixtures, but for the modules whose single tests take long.
"""

from typing import Final

from xdist.scheduler.loadscope import LoadScopeScheduling
from xdist.workermanage import WorkerController

SECOND_APACHE: Final = frozenset(
    f"tests/end_to_end/test_{name}.py"
    for name in ("known_failures", "mutants", "outage", "pages", "processes", "start_and_stop")
)
THIRD_APACHE: Final = frozenset(
    f"tests/end_to_end/test_{name}.py"
    for name in (
        *("broker_faults", "foreign_events", "gateway", "redrive", "replay", "restored_database"),
        *("state_topic", "verify", "verify_past", "verify_recreated"),
    )
)
"""Each about a third of the time that tests with an Apache Kafka take."""

ONLY_APACHE: Final = frozenset({"tests/end_to_end/test_broker_faults.py"})
"""Modules whose tests do not have the broker in their names."""

FIRST: Final = ("first apache", "second apache", "third apache")
"""Groups that take longest. Started last, they would keep one process busy while the others have nothing to do."""

SPLIT: Final = ("tests/deterministic/", "tests/fault_injection/", "tests/properties/")


def group(test: str) -> str:
    """The group of a test by its node id; the tests of one group run in one process."""
    module, _, name = test.partition("::")
    if module in ONLY_APACHE or "apache" in name:
        if module in SECOND_APACHE:
            return "second apache"
        return "third apache" if module in THIRD_APACHE else "first apache"
    return test if module.startswith(SPLIT) else module


class Scheduling(LoadScopeScheduling):  # type: ignore[misc]  # xdist is untyped
    """The longest groups, then the others in the order of collection: those that need servers come first, the many
    short ones fill the end.
    """

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        for name in reversed(FIRST):
            if name in self.workqueue:
                self.workqueue.move_to_end(name, last=False)
        super()._assign_work_unit(node)
