"""The tables of docs/reference/sources: a status, and what the page states that it becomes."""

import re
from pathlib import Path

_PAGES = Path(__file__).parents[4] / "docs" / "reference" / "sources"
_NAME = re.compile(r"`([^`]+)`")
NONE = "of no interest"


def documented(page: str, anchor: str, *, column: int = 1) -> dict[str, str]:
    """By status: the first name in the column, such as `deployment.started` or an activity's type, or NONE."""
    text = (_PAGES / page).read_text("utf-8")
    section = re.split(r'\n## |\n<a id="', text.partition(f'<a id="{anchor}"></a>')[2])[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")]
    found = {}
    for cells in rows:
        for status in _NAME.findall(cells[0]):
            names = _NAME.findall(cells[column])
            found[status] = names[0] if names else cells[column].partition(":")[0]
    return found
