"""What a command says on standard error beside its logs: why it failed, as text or as a line of the JSON log."""

import json
from collections.abc import Sequence


def error_lines(stderr: str) -> Sequence[str]:
    """Every line that is no log line, and each fatal one of the JSON log as its text would be."""
    found = []
    for line in stderr.splitlines():
        if not line.startswith("{"):
            found.append(line)
        elif (logged := json.loads(line)).get("event") == "command.failed":
            found.append(f"rudder-worker: {logged.get('problem') or logged['exception']}")
        elif logged.get("event") == "command.warning":
            found.append(f"rudder-worker: warning: {logged['problem']}")
    return found
