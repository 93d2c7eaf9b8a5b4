"""Carries a process's requests to the database and the broker: when they take effect, and when they are answered.

Between the request and the response the process may die, and the request may have taken effect or not. So there are
two kinds of wire: on one the effect comes with the response, on the other with the request.
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
"""Which request of which kind fails, counted over all processes from the first join, and whether it takes effect. No
message whose publication is refused is given up before it is published: that would reveal an early commit of its offset
without the death of a process.
"""


class Wire:
    def __init__(self, loop: asyncio.AbstractEventLoop, asked: Counter[str], *, effects_at_once: bool) -> None:
        self._loop = loop
        self._asked = asked
        self._effects_at_once = effects_at_once
        self.unanswered: list[str] = []
        """The kinds of the requests without a response."""
        self.effects = 0
        """How many requests have taken effect; a reader compares two values to detect a change."""

    def ask(
        self,
        kind: str,
        effect: Callable[[], Any],
        *,
        fail: Callable[[], Exception],
        answer: asyncio.Future[Any] | None = None,
    ) -> asyncio.Future[Any]:
        """Responds after LATENCY_SECONDS, also if the caller was cancelled. `fail` makes the exception of a failure."""
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
        except Exception as error:  # noqa: BLE001 - every exception is a response
            return None, error
        return result, fail() if failure == ANSWER_LOST else None
