"""Logs on standard error: JSON lines, or for a person at a terminal, coloured ones. Results go to standard output."""

import logging
import re
import sys
import time
from typing import Literal

import structlog

LogFormat = Literal["json", "console"]

_SILENCE_SECONDS = 60.0
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_QUIET = {
    "aiokafka": logging.WARNING,
    "uvicorn": logging.WARNING,
    "alembic": logging.WARNING,
    "asyncio": logging.WARNING,
}
"""Libraries that tell at `info` what the worker tells itself, or nobody needs."""


def configure(*, level: str, log_format: LogFormat | None) -> None:
    """Set up structlog, and the standard library's logging to end in the same place."""
    chosen = log_format or ("console" if sys.stderr.isatty() else "json")
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_nothing,
    ]
    renderers: list[structlog.typing.Processor]
    if chosen == "json":
        renderers = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]  # ASCII: some terminals and readers take U+2028 for a line's end
    else:
        renderers = [
            _on_one_line,
            # repr: a value cannot forge a line. Plain: a traceback with variables would show passwords.
            structlog.dev.ConsoleRenderer(repr_native_str=True, exception_formatter=structlog.dev.plain_traceback),
        ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    handler.addFilter(_OnceAMinute())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, quiet in _QUIET.items():
        logging.getLogger(name).setLevel(max(quiet, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


class _OnceAMinute(logging.Filter):
    """While a broker is away aiokafka says so fifty times a second; once a minute is enough of each message."""

    def __init__(self) -> None:
        super().__init__()
        self._said_at_seconds: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("aiokafka"):
            return True
        template, now_seconds = (record.name, str(record.msg)), time.monotonic()
        said_at_seconds = self._said_at_seconds.get(template)
        if said_at_seconds is not None and now_seconds - said_at_seconds < _SILENCE_SECONDS:
            return False
        self._said_at_seconds[template] = now_seconds
        return True


def _on_one_line(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A library's own words may quote what came from outside: no control character of it reaches the terminal."""
    event["event"] = _CONTROLS.sub(lambda match: f"\\x{ord(match[0]):02x}", str(event.get("event", "")))
    return event


def _without_nothing(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {name: value for name, value in event.items() if value is not None}
