"""The check's verdict against instances: what it lets pass breaks no publisher and no subscriber."""

from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from schemas.compatibility import Direction, incompatibilities
from tests.hypothesis_profile import examples
from tests.properties.schema_worlds import NAMES, UNKNOWN, accepts, changed, instances, schemas
from tests.unit.schemas.json_edits import opened

_SLOW = [HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=examples(100), deadline=None, suppress_health_check=_SLOW)
@given(data=st.data())
def test_events_stay_valid_where_the_check_passes(data: st.DataObject) -> None:
    """Input: what fits the old schema fits the new one, with fields that neither names."""
    old = data.draw(schemas())
    new = data.draw(changed(old))
    assume(not incompatibilities(old, new, Direction.INPUT))
    event("the schema changed" if old != new else "nothing changed")
    for _ in range(3):
        instance = data.draw(instances(old, names=(UNKNOWN,)))
        assert accepts(new, instance)


@settings(max_examples=examples(100), deadline=None, suppress_health_check=_SLOW)
@given(data=st.data())
def test_subscribers_read_what_the_check_passes(data: st.DataObject) -> None:
    """Output: what fits the new schema fits the old one as subscribers read it."""
    old = data.draw(schemas())
    new = data.draw(changed(old))
    assume(not incompatibilities(old, new, Direction.OUTPUT))
    event("the schema changed" if old != new else "nothing changed")
    for _ in range(3):
        instance = data.draw(instances(new, names=(*NAMES, UNKNOWN)))
        assert accepts(opened(old), instance)


@settings(max_examples=examples(100), deadline=None, suppress_health_check=_SLOW)
@given(schema=schemas(), direction=st.sampled_from(Direction))
def test_every_schema_is_compatible_with_itself(schema: object, direction: Direction) -> None:
    assert not incompatibilities(schema, schema, direction)  # type: ignore[arg-type]
