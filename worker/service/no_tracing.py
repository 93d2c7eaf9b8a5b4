"""The tracer of a worker that is not traced."""

from contextlib import AbstractContextManager, nullcontext

from schemas.record import Headers
from worker.rules.message import Message
from worker.rules.state import Outcome


class NoSpan:
    """`worker.ports.MessageSpan` that exports nothing."""

    def set_outcome(self, outcome: Outcome) -> None:
        del outcome

    def headers(self) -> Headers:
        return ()


_NO_SPAN = nullcontext(NoSpan())


class NoTracing:
    """`worker.ports.Tracer` that exports nothing."""

    def span(self, message: Message) -> AbstractContextManager[NoSpan]:
        del message
        return _NO_SPAN
