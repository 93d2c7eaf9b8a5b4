"""docs/how-to/sql-server.md lists the errors as the code has them."""

import re
from pathlib import Path

from worker.db.mssql.errors import NUMBERS

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "sql-server.md"
_ROW = re.compile(r"^\| ([^|]+) \| [^|]+ \| ([\d, ]+) \|$", re.MULTILINE)


def test_page_lists_every_error_by_its_kind() -> None:
    listed = {
        int(number): meaning
        for meaning, numbers in _ROW.findall(PAGE.read_text("utf-8"))
        for number in numbers.split(",")
    }
    assert listed == {number: kind.meaning for number, (kind, _) in NUMBERS.items()}
