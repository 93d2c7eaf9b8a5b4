"""Error messages of a command on standard error, apart from its logs: as text, or as a line of the JSON log."""

import json
from collections.abc import Sequence


def error_lines(stderr: str) -> Sequence[str]:
    """Every line that is not a log line, and each failure and warning of the JSON log in its text form."""
    found = []
    for line in stderr.splitlines():
        if not line.startswith("{"):
            found.append(line)
        elif (logged := json.loads(line)).get("event") == "command.failed":
            found.append(f"rudder-worker: {logged.get('problem') or logged['exception']}")
        elif logged.get("event") == "command.warning":
            found.append(f"rudder-worker: warning: {logged['problem']}")
    return found
