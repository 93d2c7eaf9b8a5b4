"""Tests that need an Apache Kafka share three of them, and no test is left out."""

from collections import OrderedDict
from pathlib import Path

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling

from tests.testkit.scheduling import FIRST, ONLY_APACHE, SECOND_APACHE, SPLIT, THIRD_APACHE, Scheduling, group

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("tests/conformance/test_publisher.py::test_one[apache]", "first apache"),
        ("tests/end_to_end/test_outage.py::test_one[apache+postgresql]", "second apache"),
        ("tests/end_to_end/test_verify.py::test_one[apache+postgresql]", "third apache"),
        ("tests/end_to_end/test_broker_faults.py::test_one", "third apache"),
        ("tests/end_to_end/test_outage.py::test_one[embedded+sqlite]", "tests/end_to_end/test_outage.py"),
        ("tests/unit/rules/test_decide.py::test_one[a::b]", "tests/unit/rules/test_decide.py"),
        ("tests/properties/test_decide.py::test_one[1]", "tests/properties/test_decide.py::test_one[1]"),
    ],
)
def test_group_of_a_test(test: str, expected: str) -> None:
    assert group(test) == expected


def test_longest_groups_are_started_first() -> None:
    assigned: list[str] = []

    class Assigning(LoadScopeScheduling):  # type: ignore[misc]  # xdist is untyped
        def _assign_work_unit(self, node: object) -> None:
            assigned.append(self.workqueue.popitem(last=False)[0])

    class Ordered(Scheduling, Assigning):
        def __init__(self) -> None:
            self.workqueue = OrderedDict.fromkeys(
                ["third apache", "tests/a.py", "second apache", "tests/b.py", "first apache"]
            )

    ordered = Ordered()
    while ordered.workqueue:
        ordered._assign_work_unit(None)
    assert assigned == [*FIRST, "tests/a.py", "tests/b.py"]


def test_grouped_modules_exist() -> None:
    for name in (*SECOND_APACHE, *THIRD_APACHE, *ONLY_APACHE, *SPLIT):
        assert (REPOSITORY / name).exists(), name


def test_modules_on_apache_only_use_its_fixture() -> None:
    for name in ONLY_APACHE:
        assert "apache_kafka" in (REPOSITORY / name).read_text(encoding="utf-8")
