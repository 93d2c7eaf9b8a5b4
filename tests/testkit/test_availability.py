"""A missing server and a forgotten task are both said aloud."""

import asyncio

import pytest

from tests.testkit.availability import REQUIRE_VARIABLE, unavailable
from tests.testkit.remaining_tasks import remaining_tasks


def test_missing_server_skips_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REQUIRE_VARIABLE, "postgresql, apache")
    with pytest.raises(pytest.skip.Exception, match="mssql is not available: no driver"):
        unavailable("mssql", "no driver")


def test_missing_required_server_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """CI names what it can serve, so that a skip there cannot go unnoticed."""
    monkeypatch.setenv(REQUIRE_VARIABLE, "postgresql, apache")
    with pytest.raises(pytest.fail.Exception, match=r"apache is required .* no Java"):
        unavailable("apache", "no Java")


def test_misspelt_requirement_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REQUIRE_VARIABLE, "postgres")
    with pytest.raises(pytest.fail.Exception, match="not \\['postgres'\\]"):
        unavailable("postgresql", "any")


async def test_task_that_never_ends_is_named() -> None:
    task = asyncio.create_task(asyncio.Event().wait(), name="forgotten")
    left = await remaining_tasks(grace_seconds=0.01)
    task.cancel()
    assert [line.split(":")[0] for line in left] == ["forgotten"]


async def test_task_that_is_about_to_end_is_not_named() -> None:
    task = asyncio.create_task(asyncio.sleep(0))
    assert await remaining_tasks() == []
    await task
