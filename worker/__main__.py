"""`rudder-worker`, also as `python -m worker`: signals and streams are in order before anything else is imported."""

from worker.cli import signals, streams


def main() -> None:
    signals.defer()
    streams.open_missing()
    from worker.cli.app import main as command

    signals.end(command())


if __name__ == "__main__":
    main()
