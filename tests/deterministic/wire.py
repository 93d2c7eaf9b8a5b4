"""The way out of a process: what it asks of the database and the broker, when that happens, and when it hears of it.

Between the question and the answer the process may die, and then the question's effect has come about or it has not.
So there are two kinds of wire: on one the effect comes with the answer, on the other with the question.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

LATENCY_SECONDS = 0.001

REFUSED, ANSWER_LOST = "refused", "answer lost"

FAILURES = {
    ("database commit", 5): REFUSED,
    ("database commit", 9): ANSWER_LOST,
    ("publication", 4): REFUSED,
    ("publication", 9): ANSWER_LOST,
    ("offsets", 2): REFUSED,
    ("offsets", 4): ANSWER_LOST,
}
"""Which question of which kind fails, counted over all processes from the first join, and whether its effect comes
about. No message whose publication is refused is given up before it is published: that would show without a death that
its offset is committed too early.
"""


class Wire:
    def __init__(self, loop: asyncio.AbstractEventLoop, asked: Counter[str], *, effects_at_once: bool) -> None:
        self._loop = loop
        self._asked = asked
        self._effects_at_once = effects_at_once
        self.unanswered: list[str] = []
        """The kinds of what was asked."""
        self.effects = 0
        """How many have come about, for whoever wants to know whether anything has changed."""

    def ask(
        self,
        kind: str,
        effect: Callable[[], Any],
        *,
        fail: Callable[[], Exception],
        answer: asyncio.Future[Any] | None = None,
    ) -> asyncio.Future[Any]:
        """The answer comes a moment later, whether or not anybody still waits. `fail`: what it is in a failure."""
        future = answer or self._loop.create_future()
        self.unanswered.append(kind)
        known = self._come_about(kind, effect, fail) if self._effects_at_once else None

        def tell() -> None:
            self.unanswered.remove(kind)
            result, error = known or self._come_about(kind, effect, fail)
            if future.done():  # cancelled
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        self._loop.call_later(LATENCY_SECONDS, tell)
        return future

    def _come_about(
        self, kind: str, effect: Callable[[], Any], fail: Callable[[], Exception]
    ) -> tuple[Any, Exception | None]:
        self._asked[kind] += 1
        failure = FAILURES.get((kind, self._asked[kind]))
        if failure == REFUSED:
            return None, fail()
        self.effects += 1
        try:
            result = effect()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
            return None, error
        return result, fail() if failure == ANSWER_LOST else None
