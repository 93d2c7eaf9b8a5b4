"""Executes a statement as a program whose log the worker has configured: `python -m MODULE FORMAT STATEMENT`.

A module and not `python -c`, so that the fork server can start it.
"""

import logging
import sys
from typing import Any

import structlog

from worker.service import log_setup

HOSTILE = (
    'a\nb\r\nc\x1b[2Jd\x9b2J\u2028e\u2029f\x85g\x00"\\\udcff\x7f\x08\x0b\x0c\x1b]0;title\x07\x1b[8mhidden'
    "\u202eright to left\u2066\u2069\u061c\u200b\ufeff\U000e0041"
    '\n2026-01-01T00:00:00Z [info     ] forged\n{"event": "forged"}'
)
"""Line ends of every script, escape sequences for the screen, the title and hidden text, characters that reverse or
hide text, and lines that look like the log's own.
"""


def execute(log_format: Any, statement: str) -> None:
    """The statement's names: `log`, `logging`, `structlog`, `log_setup` and `HOSTILE`."""
    log_setup.configure(level="info", log_format=log_format)
    log = structlog.get_logger("worker.test")
    exec(
        statement, {"log": log, "logging": logging, "structlog": structlog, "log_setup": log_setup, "HOSTILE": HOSTILE}
    )


if __name__ == "__main__":
    execute(*sys.argv[1:])
