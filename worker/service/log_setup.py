"""Logs on standard error: JSON lines, or coloured lines on a terminal. Results are on standard output.

Logs contain text of publishers and libraries, which must not forge a line. Each event is one line of printable
characters. Only a traceback on a terminal has several lines, each with a mark.
"""

import io
import json
import logging
import os
import sys
import threading
import time
from types import TracebackType
from typing import Any, Literal, TextIO

import structlog

from schemas.detail import printable
from worker.telemetry import LogEvent

LogFormat = Literal["json", "console"]

_SILENCE_SECONDS = 60.0
_TRACEBACK_MARK = "  | "
_TRACEBACK_CHARS_MAX = 20_000
"""An error may contain a whole event; the beginning and the end of the traceback are kept."""

_QUIET = {
    "aiokafka": logging.WARNING,
    "uvicorn": logging.WARNING,
    "alembic": logging.WARNING,
    "asyncio": logging.WARNING,
}
"""Libraries whose `info` lines repeat the worker's own."""


_chosen: list[LogFormat] = []
"""The format in use, once logs are configured."""


def json_chosen() -> bool:
    """Whether standard error is a stream of JSON lines."""
    return _chosen == ["json"]


def configure(*, level: str, log_format: LogFormat | None) -> None:
    """Set up structlog, and have the standard library's logging, warnings and uncaught exceptions end in the same
    place.
    """
    chosen = log_format or ("console" if sys.stderr.isatty() else "json")
    _chosen[:] = [chosen]
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
            _with_a_short_traceback,
            structlog.processors.JSONRenderer(serializer=_ascii),
        ]
    else:
        renderers = [
            _on_one_line,
            # repr: a value cannot forge a line.
            # Not sorted: a message's line begins with its outcome and its reason.
            structlog.dev.ConsoleRenderer(
                colors=_coloured(sys.stderr),
                sort_keys=False,
                repr_native_str=True,
                exception_formatter=_write_traceback,
            ),
        ]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    handler.addFilter(_KafkaClientFilter())
    handler.addFilter(_is_not_of_lost_connection)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name, quiet in _QUIET.items():
        logging.getLogger(name).setLevel(max(quiet, root.level))
    logging.getLogger("worker.command").setLevel(logging.INFO)  # a command's output, whatever the level
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
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_fault
    threading.excepthook = _log_fault_of_thread
    sys.unraisablehook = _log_ignored_fault


def log_fault(error: BaseException) -> None:
    """Log an exception that ends the command and is a bug in the worker."""
    logging.getLogger("worker.command").critical(LogEvent.COMMAND_FAILED, exc_info=error)


def _log_fault(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    log_fault(error)


def _log_fault_of_thread(arguments: threading.ExceptHookArgs) -> None:
    error = arguments.exc_value
    # A driver's thread completed after the end of the command; its result is not needed.
    late = isinstance(error, RuntimeError) and str(error) == "Event loop is closed"
    if error is not None and not late:
        logging.getLogger("worker.thread").critical("uncaught exception in a thread", exc_info=error)


def _log_ignored_fault(arguments: "sys.UnraisableHookArgs") -> None:
    message = arguments.err_msg or "exception ignored"
    logging.getLogger("worker.python").error("%s in %r", message, arguments.object, exc_info=arguments.exc_value)


def _coloured(stream: TextIO) -> bool:
    """By https://no-color.org, https://force-color.org, and the terminal's capabilities."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _is_not_of_lost_connection(record: logging.LogRecord) -> bool:
    """Whether to log the record. A library leaves futures of lost connections, whose callers already got the error."""
    error = record.exc_info[1] if record.exc_info else None
    of_lost_connection = record.name == "asyncio" and "never retrieved" in record.getMessage()
    return not (of_lost_connection and isinstance(error, ConnectionError))


class _KafkaClientFilter(logging.Filter):
    """Throttles aiokafka's lines. During an outage, which it logs seventy times a second, one line of each kind is
    written; `dependency.available` has the number of the others. At other times it is one of each kind per minute.
    """

    def __init__(self) -> None:
        super().__init__()
        self._logged_at_seconds: dict[tuple[str, str], float] = {}
        self._left_out = 0
        self._in_outage = False

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith("aiokafka"):
            self._follow(record.msg)
            return True
        if record.levelno == logging.ERROR and not record.exc_info:
            # A refused connection or a missing coordinator, as at every start: the client retries, and the worker logs
            # lasting ones. Alerts on `error` must not fire for them.
            record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
        template, now_seconds = (record.name, str(record.msg)), time.monotonic()
        logged_at_seconds = self._logged_at_seconds.get(template)
        if logged_at_seconds is not None and (self._in_outage or now_seconds - logged_at_seconds < _SILENCE_SECONDS):
            self._left_out += self._in_outage
            return False
        self._logged_at_seconds[template] = now_seconds
        return True

    def _follow(self, message: object) -> None:
        """Follow the worker's events of the broker, which arrive here before they are rendered."""
        if not isinstance(message, dict) or message.get("dependency") != "broker":
            return
        event = message.get("event")
        if event == LogEvent.DEPENDENCY_UNAVAILABLE:
            recently_seconds = time.monotonic() - _SILENCE_SECONDS  # recent lines belong to this outage
            logged = self._logged_at_seconds.items()
            self._logged_at_seconds = {kind: at_seconds for kind, at_seconds in logged if at_seconds > recently_seconds}
            self._in_outage, self._left_out = True, 0
        elif event == LogEvent.DEPENDENCY_AVAILABLE and self._in_outage:
            self._in_outage = False
            self._logged_at_seconds.clear()
            if self._left_out:
                message["lines_left_out"] = self._left_out


def _on_one_line(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A library's own words may quote what came from outside: nothing of it steers the terminal."""
    event["event"] = printable(str(event.get("event", "")))
    return event


def _with_a_short_traceback(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    if isinstance(event.get("exception"), str):
        event["exception"] = _shortened(event["exception"])
    return event


def _write_traceback(out: TextIO, exc_info: structlog.typing.ExcInfo) -> None:
    """Without variables, one of which may be a password. The error's words may have lines too: none begins like one
    of the log's own.
    """
    plain = io.StringIO()
    structlog.dev.plain_traceback(plain, exc_info)
    lines = _shortened(plain.getvalue()).strip("\n").split("\n")
    out.write("\n" + "\n".join(_TRACEBACK_MARK + printable(line) for line in lines))


def _shortened(text: str) -> str:
    if len(text) <= _TRACEBACK_CHARS_MAX:
        return text
    half = _TRACEBACK_CHARS_MAX // 2
    return f"{text[:half]}… {len(text) - 2 * half} characters left out …{text[-half:]}"


def _ascii(event: Any, **options: Any) -> str:
    """JSON in printable ASCII: some readers take U+2028 for a line's end, and JSON itself does not escape DEL."""
    return json.dumps(event, **options).replace("\x7f", "\\u007f")


def _without_nothing(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {name: value for name, value in event.items() if value is not None}
