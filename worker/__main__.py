"""`rudder-worker`, also as `python -m worker`: signals and streams are in order before anything else is imported."""

import sys

from worker.cli import signals, streams


def main() -> None:
    signals.defer()
    streams.open_missing()
    _import_structlog_without_rich()
    from worker.cli.app import main as command

    signals.end(command())


def _import_structlog_without_rich() -> None:
    """structlog imports Rich, if it is installed, for tracebacks that the worker formats itself: 5 MB of memory, and a
    tenth of the time of a start. The commands that print with Rich import it afterwards.
    """
    if "rich" in sys.modules:
        return
    sys.modules["rich"] = None  # type: ignore[assignment]  # the documented way to make an import fail
    try:
        import structlog.dev  # noqa: F401
    finally:
        del sys.modules["rich"]


if __name__ == "__main__":
    main()
