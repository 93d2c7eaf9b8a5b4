"""Hypothesis looks for a story on which the worker and the model of the contract differ: in an outcome, in what is
published, or in a single cell.

`RUDDER_TEST_EXAMPLES` makes the search longer: `RUDDER_TEST_EXAMPLES=20000 make test ARGS=<this file>`.
"""

import os

from hypothesis import HealthCheck, given, settings

from tests.properties.two_opinions import STORIES, Step, compare

EXAMPLES = int(os.environ.get("RUDDER_TEST_EXAMPLES", "500"))


@given(steps=STORIES)
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_story_tells_the_rules_and_the_model_apart(steps: list[Step]) -> None:
    """Records as bytes, through decoding and `decide`; the rows in memory."""
    compare(steps)
