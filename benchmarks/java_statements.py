"""The worker's statements as a file that the Java contender reads, so that both run the same SQL.

`python -m benchmarks.java_statements` writes it again after a change in the worker; a test fails until that was done.
JDBC knows no numbers, so a parameter that stands in a statement twice is given twice.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks.worker_statements import SESSION, activities, asks, writes_by_shape
from worker.db.statement import Statement

FILE: Final = Path(__file__).parent / "parallel_consumer" / "src" / "main" / "resources" / "statements.json"
_NUMBERED: Final = re.compile(r"\$(\d+)")


def text() -> str:
    """The file's contents."""
    contents = {
        "session": dict(SESSION),
        "asks": _all(asks()),
        "entries": _one(activities()),
        "writes": _all(writes_by_shape()),
    }
    return json.dumps(contents, indent=2) + "\n"


def _all(statements: Mapping[str, Statement]) -> dict[str, dict[str, object]]:
    return {key: _one(statement) for key, statement in statements.items()}


def _one(statement: Statement) -> dict[str, object]:
    names = [statement.names[int(number) - 1] for number in _NUMBERED.findall(statement.sql)]
    return {"sql": _NUMBERED.sub("?", statement.sql), "names": names}


if __name__ == "__main__":
    FILE.write_text(text(), "utf-8")
